"""What a hypervisor remembers, for nova's fake virt driver; runs in Python 2.7 (nova 15) and 3 (nova 34).

nova ships a virt driver that pretends to run guests, but it keeps them in a dict: a restarted nova-compute
has lost them, and in nova 15 a stopped guest goes on reporting that it runs.  `KeptGuests` is mixed into that
driver.  Its guests are written to `guests.json` in the compute's own state folder, as a hypervisor keeps its
domains on disk, and their power states follow what they are told.  Nothing above the virt driver is touched.
"""
import hashlib
import io
import json
import os
import threading

from nova.compute import power_state
from nova.compute import task_states
import nova.conf
from nova.virt import fake

SNAPSHOT_BYTES = 1024 * 1024


class GuestBook(dict):
    """{server id: fake.FakeInstance}, written through to a file."""

    def __init__(self, path):
        super(GuestBook, self).__init__()
        self._path = path
        self._lock = threading.RLock()
        if os.path.exists(path):
            with io.open(path, encoding='utf-8') as f:
                for uuid, (name, state) in json.load(f).items():
                    dict.__setitem__(self, uuid, fake.FakeInstance(name, state, uuid))

    def save(self):
        with self._lock:
            text = json.dumps({uuid: (guest.name, guest.state) for uuid, guest in self.items()})
            with io.open(self._path + '.new', 'w', encoding='utf-8') as f:
                f.write(text if isinstance(text, type(u'')) else text.decode('ascii'))
            os.rename(self._path + '.new', self._path)

    def __setitem__(self, uuid, guest):
        with self._lock:
            super(GuestBook, self).__setitem__(uuid, guest)
            self.save()

    def __delitem__(self, uuid):
        with self._lock:
            super(GuestBook, self).__delitem__(uuid)
            self.save()

    def pop(self, uuid, *default):
        with self._lock:
            guest = super(GuestBook, self).pop(uuid, *default)
            self.save()
            return guest


def disk_bytes(seed):
    """The pretended contents of a disk: the same bytes for the same seed, and not compressible."""
    numbered = ('%s %d' % (seed, n) for n in range(SNAPSHOT_BYTES // 32))
    return b''.join(hashlib.sha256(text.encode('ascii')).digest() for text in numbered)


class KeptGuests(object):
    """Mixed in before a nova fake driver."""

    # One machine of a modest rack, so that hypervisor tables look like hypervisors.
    vcpus = 16
    memory_mb = 65536
    local_gb = 2000

    def image_api(self):
        """nova's image client, which has moved between releases."""
        raise NotImplementedError

    def init_host(self, host):
        super(KeptGuests, self).init_host(host)
        folder = nova.conf.CONF.state_path
        if not os.path.isdir(folder):
            os.makedirs(folder)
        self.instances = GuestBook(os.path.join(folder, 'guests.json'))

    def put(self, instance, state):
        """The guest is here, in that power state."""
        self.instances[instance.uuid] = fake.FakeInstance(instance.name, state, instance.uuid)

    def spawn(self, context, instance, image_meta, injected_files, admin_password, *args, **kwargs):
        # Addresses are allocated meanwhile, and a real driver waits for them when it plugs the interfaces.
        list(kwargs.get('network_info') or ())
        super(KeptGuests, self).spawn(context, instance, image_meta, injected_files, admin_password,
                                      *args, **kwargs)

    def power_off(self, instance, *args, **kwargs):
        self.put(instance, power_state.SHUTDOWN)

    def power_on(self, context, instance, *args, **kwargs):
        self.put(instance, power_state.RUNNING)

    def reboot(self, context, instance, *args, **kwargs):
        self.put(instance, power_state.RUNNING)

    def pause(self, instance):
        self.put(instance, power_state.PAUSED)

    def unpause(self, instance):
        self.put(instance, power_state.RUNNING)

    def suspend(self, context, instance):
        self.put(instance, power_state.SHUTDOWN)

    def resume(self, context, instance, *args, **kwargs):
        self.put(instance, power_state.RUNNING)

    def post_live_migration(self, *args, **kwargs):
        pass

    def post_live_migration_at_source(self, context, instance, network_info):
        self.instances.pop(instance.uuid, None)

    def post_live_migration_at_destination(self, context, instance, *args, **kwargs):
        self.put(instance, power_state.RUNNING)

    def rollback_live_migration_at_destination(self, context, instance, *args, **kwargs):
        self.instances.pop(instance.uuid, None)

    def snapshot(self, context, instance, image_id, update_task_state):
        """Uploads a disk; the stock driver leaves the image without data for ever."""
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        images = self.image_api()
        image = images.get(context, image_id)
        properties = dict(image.get('properties') or {}, image_location='snapshot', image_state='available',
                          owner_id=instance.project_id)
        update_task_state(task_state=task_states.IMAGE_UPLOADING,
                          expected_state=task_states.IMAGE_PENDING_UPLOAD)
        images.update(context, image_id,
                      {'name': image['name'], 'status': 'active', 'is_public': False, 'disk_format': 'raw',
                       'container_format': 'bare', 'properties': properties},
                      io.BytesIO(disk_bytes(image_id)))
