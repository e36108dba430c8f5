"""Two real OpenStack clouds on loopback, for tests that a simulation cannot settle.

`python -m tests.real up` starts them, `tests.real.cloud` is what tests import, README.md tells the rest.
`base` holds what both launchers share; `source` and `destination` each start one cloud, with their
configuration in `source_config` and `destination_config`; `populate` fills the source through its public
APIs.  `py27` and `plugin` run inside the clouds' own processes, not in the tests'.
"""
