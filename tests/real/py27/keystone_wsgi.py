"""Both faces of keystone 12 in one process: the port a request came in by picks the application.

The v2.0 API to manage tenants and users exists on the admin port only, as it did on a 2014 cloud; two
processes would cost another 100 MiB.
"""
import os
import sys

from keystone.server import wsgi
from keystone.version import service

sys.argv[1:] = []  # gunicorn's options; keystone would take them for its own
_public = wsgi.initialize_application('main', config_files=[os.environ['PUMPHOUSE_KEYSTONE_CONF']])
_admin = service.loadapp('config:' + wsgi.find_paste_config(), 'admin')
_by_port = {os.environ['PUMPHOUSE_KEYSTONE_ADMIN_PORT']: _admin}


def application(environ, start_response):
    return _by_port.get(environ['SERVER_PORT'], _public)(environ, start_response)
