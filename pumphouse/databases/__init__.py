"""What no API of OpenStack shows or takes: password hashes, everybody's keypairs, ``user_data``.

Read from Keystone's and Nova's own databases, and written in one place only: the hash of a user that pumphouse made at
the destination. ``site.yaml`` names the databases; without them pumphouse does what the APIs allow and tells what is
lost.
A hash or ``user_data`` read here goes straight to where it is needed: plans, journal, records and errors hold digests.
"""

from pumphouse.databases.abilities import Verdict, remove_left_behind, try_schemes
from pumphouse.databases.access import Databases
from pumphouse.databases.facts import DatabaseFacts, UserData, read_facts, unusable
from pumphouse.databases.hashes import PasswordHash, scheme_name
from pumphouse.databases.keystone import KeystoneDatabase
from pumphouse.databases.nova import NovaDatabase

__all__ = [
    "DatabaseFacts",
    "Databases",
    "KeystoneDatabase",
    "NovaDatabase",
    "PasswordHash",
    "UserData",
    "Verdict",
    "read_facts",
    "remove_left_behind",
    "scheme_name",
    "try_schemes",
    "unusable",
]
