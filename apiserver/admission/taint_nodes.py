"""New Nodes are tainted not-ready until the node controller has seen them ready.

Source: k8s.io/kubernetes plugin/pkg/admission/nodetaint/admission.go.
"""

from apiserver.admission.interface import Attributes
from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Node, Taint

NOT_READY = "node.kubernetes.io/not-ready"
NO_SCHEDULE = "NoSchedule"


class TaintNodesByCondition:
    """Mutating."""

    name = "TaintNodesByCondition"

    def handles(self, attributes: Attributes) -> bool:
        target = attributes.target
        return (
            target.resource is scheme.NODES
            and not target.subresource
            and attributes.operation == "CREATE"
        )

    async def admit(self, attributes: Attributes) -> None:
        node = attributes.object
        assert isinstance(node, Node)
        if not any(t.key == NOT_READY and t.effect == NO_SCHEDULE for t in node.spec.taints):
            node.spec.taints.append(Taint(key=NOT_READY, effect=NO_SCHEDULE))
