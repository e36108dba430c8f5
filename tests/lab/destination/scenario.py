"""One long conversation with a current OpenStack cloud, written down as shapes.

The same requests go to a real cloud (``tools/record_current_shapes.py`` keeps what it answered in
``data/current.json``) and to the lab's destination (``test_shapes.py`` compares). Kept of every answer: status,
content type, keys and types of the JSON body; of refusals the wording too, with ids, addresses and times masked.
Everything made is named ``labcmp-…`` and removed at the end, whatever happens in between.
"""

from __future__ import annotations

from .scenario_edges import boots, hosts, readers, strangers
from .scenario_flavors import flavors, quotas
from .scenario_identity import discovery, identity
from .scenario_images import images
from .scenario_network import network
from .scenario_servers import servers
from .talk import Conversation, Exchange


def hold(conversation: Conversation) -> dict[str, Exchange]:
    """Have the whole conversation; returns the exchanges by name."""
    with conversation.undo:
        admin = conversation.login(conversation.username, conversation.password, conversation.project, "auth.password")
        discovery(conversation, admin)
        tenant = identity(conversation, admin)
        readers(conversation, admin, tenant)
        strangers(conversation, admin)
        hosts(conversation, admin)
        image = images(conversation, admin, tenant)
        flavor = flavors(conversation, admin)
        net = network(conversation, admin, tenant)
        boots(conversation, admin, tenant, image, flavor, net.network)
        servers(conversation, admin, tenant, image, flavor, net)
        quotas(admin, tenant, image, net.network)
    return conversation.exchanges
