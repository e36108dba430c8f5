"""What is said before anything is done: of a site, of a plan, of the state that the old cloud is in.

Checks read tables, plans and, where only the cloud can tell, the cloud; they return findings and change nothing.
"""

from pumphouse.checks.images import check_images, check_records
from pumphouse.checks.network_quotas import check_network_quotas
from pumphouse.checks.releases import check_clouds
from pumphouse.checks.site import check_plan, check_site

__all__ = [
    "check_clouds",
    "check_images",
    "check_network_quotas",
    "check_plan",
    "check_records",
    "check_site",
]
