"""nova 15's databases and cells from nothing: four nova-manage commands for the price of one import.

usage: nova_databases.py NOVA_CONF CELL0_DATABASE_URL
"""
from __future__ import print_function

import sys

from nova.cmd import manage
from nova import config
from nova import objects

conf_file, cell0_url = sys.argv[1:]
config.parse_args(['nova-manage', '--config-file', conf_file])
objects.register_all()

cells = manage.CellV2Commands()
for title, action in (
        ('api_db sync', manage.ApiDbCommands().sync),
        ('map_cell0', lambda: cells.map_cell0(database_connection=cell0_url)),
        ('db sync', manage.DbCommands().sync),
        ('create_cell', lambda: cells.create_cell(name='cell1'))):
    print(title)
    sys.stdout.flush()
    if action():
        sys.exit(title + ' failed')
