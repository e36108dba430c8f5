"""The destination computes' virt driver (nova 34)."""

from kept_guests import KeptGuests
from nova.image import glance
from nova.virt import fake


class Driver(KeptGuests, fake.FakeDriverWithoutFakeNodes):
    def image_api(self):
        return glance.API()

    def migrate_disk_and_power_off(self, context, instance, *args, **kwargs):
        self.power_off(instance)
        return "[]"
