"""Neutron plugins for a cloud without agents: what an agent would report is true at once.

Everything else (address management, security groups, routers, notifications to nova) is neutron's own.
"""

from neutron.services.l3_router import l3_router_plugin
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class AgentlessMechanism(api.MechanismDriver):
    """Binds any port on any host and reports it ACTIVE, as an Open vSwitch agent would after plugging it."""

    VIF_DETAILS = {
        portbindings.CAP_PORT_FILTER: True,
        portbindings.OVS_HYBRID_PLUG: False,
        portbindings.VIF_DETAILS_CONNECTIVITY: portbindings.CONNECTIVITY_L2,
        "bridge_name": "br-int",
        "datapath_type": "system",
    }

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def initialize(self):
        pass

    def bind_port(self, context):
        if context.segments_to_bind:
            context.set_binding(
                context.segments_to_bind[0][api.ID],
                portbindings.VIF_TYPE_OVS,
                dict(self.VIF_DETAILS),
                status=constants.PORT_STATUS_ACTIVE,
            )


class AgentlessRouters(l3_router_plugin.L3RouterPlugin):
    """Neutron's router plugin whose floating IPs are ACTIVE while they point at a port and DOWN otherwise."""

    def create_floatingip(self, context, floatingip):
        return self._reported(context, super().create_floatingip(context, floatingip))

    def update_floatingip(self, context, id, floatingip):
        return self._reported(context, super().update_floatingip(context, id, floatingip))

    def _reported(self, context, floatingip):
        active, down = constants.FLOATINGIP_STATUS_ACTIVE, constants.FLOATINGIP_STATUS_DOWN
        wanted = active if floatingip["port_id"] else down
        if floatingip["status"] == wanted:
            return floatingip
        self.update_floatingip_status(context.elevated(), floatingip["id"], wanted)
        return {**floatingip, "status": wanted}
