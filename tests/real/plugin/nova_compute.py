"""nova-compute that also finds virt drivers beside this file and on PYTHONPATH; for nova 15 and nova 34.

nova only loads drivers by the name nova.virt.SOMETHING, so these folders are added to that package's path.
"""
import os
import sys

import nova.cmd.compute  # before anything else of nova: it decides how threads work
import nova.virt

nova.virt.__path__.extend(p for p in os.environ['PYTHONPATH'].split(os.pathsep) if p)

if __name__ == '__main__':
    sys.exit(nova.cmd.compute.main())
