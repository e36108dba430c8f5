"""nova-network of nova 15, started although cells v1 are off.

Nothing of the service is missing in Ocata, but its `main` declines to start it without [cells]enable, which
would make this another kind of cloud.  These are the steps that `main` takes after that check.
"""
import sys

from nova.cmd import common
import nova.cmd.network  # noqa: F401 -- its package arranges eventlet
from nova import config
from nova.conductor import rpcapi
import nova.conf
from nova import objects
from nova.objects import base
from nova import service
from nova import utils
from oslo_log import log

config.parse_args(sys.argv)
CONF = nova.conf.CONF
log.setup(CONF, 'nova')
utils.monkey_patch()
objects.register_all()
common.block_db_access('nova-network')
base.NovaObject.indirection_api = rpcapi.ConductorAPI()
service.serve(service.Service.create(binary='nova-network', topic=CONF.network_topic,
                                     manager=CONF.network_manager))
service.wait()
