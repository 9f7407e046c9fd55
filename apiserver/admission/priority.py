"""Resolves a Pod's priority class to its number; allows one default class.

Source: k8s.io/kubernetes plugin/pkg/admission/priority/admission.go.
"""

from apiserver.admission.interface import Attributes
from apiserver.admission.pods import is_pod, pod_of
from apiserver.admission.rejection import forbidden
from apiserver.lister import Lister
from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.scheduling_v1_pb2 import PriorityClass

PREEMPT_LOWER = "PreemptLowerPriority"
_COMPUTED = "must not be provided in pod spec; priority admission controller computed"


class Priority:
    """Mutating for Pods, validating for PriorityClasses."""

    name = "Priority"

    def __init__(self, lister: Lister) -> None:
        self._lister = lister

    def handles(self, attributes: Attributes) -> bool:
        if is_pod(attributes, ("CREATE", "UPDATE")):
            return True
        target = attributes.target
        return target.resource is scheme.PRIORITYCLASSES and attributes.operation in {
            "CREATE",
            "UPDATE",
        }

    async def admit(self, attributes: Attributes) -> None:
        if attributes.target.resource is not scheme.PODS:
            return
        pod = pod_of(attributes)
        if attributes.operation == "CREATE":
            await self._resolve(attributes, pod)
        elif isinstance(attributes.old_object, Pod):
            _keep(pod, attributes.old_object)

    async def validate(self, attributes: Attributes) -> None:
        new = attributes.object
        if not isinstance(new, PriorityClass) or not new.globalDefault:
            return
        default = self._default()
        if default is not None and default.metadata.name != new.metadata.name:
            raise forbidden(
                attributes,
                f"PriorityClass {default.metadata.name} is already marked as default. "
                "Only one default can exist",
            )

    async def _resolve(self, attributes: Attributes, pod: Pod) -> None:
        spec = pod.spec
        name = spec.priorityClassName
        found = await self._find(attributes, name) if name else self._default()
        priority, policy = 0, PREEMPT_LOWER
        if found is not None:
            spec.priorityClassName = found.metadata.name
            priority, policy = found.value, found.preemptionPolicy or PREEMPT_LOWER
        if spec.HasField("priority") and spec.priority != priority:
            cause = f"the integer value of priority ({spec.priority}) {_COMPUTED} {priority}"
            raise forbidden(attributes, f"{cause} from the given PriorityClass name")
        if spec.HasField("preemptionPolicy") and spec.preemptionPolicy != policy:
            cause = f"the string value of PreemptionPolicy ({spec.preemptionPolicy})"
            cause = f"{cause} {_COMPUTED} {policy} from the given PriorityClass name"
            raise forbidden(attributes, cause)
        spec.priority = priority
        spec.preemptionPolicy = policy

    async def _find(self, attributes: Attributes, name: str) -> PriorityClass:
        found = self._lister.get(scheme.PRIORITYCLASSES, "", name)
        if found is None:
            found = await self._lister.get_live(scheme.PRIORITYCLASSES, "", name)
        if found is None:
            raise forbidden(attributes, f"no PriorityClass with name {name} was found")
        return found

    def _default(self) -> PriorityClass | None:
        """The default class; of several (a race made them) the one with the lowest value."""
        classes = [c for c in self._lister.list(scheme.PRIORITYCLASSES) if c.globalDefault]
        return min(classes, key=lambda c: c.value, default=None)


def _keep(new: Pod, old: Pod) -> None:
    """Clients that do not know the fields send updates without them."""
    if not new.spec.HasField("priority") and old.spec.HasField("priority"):
        new.spec.priority = old.spec.priority
    if not new.spec.HasField("preemptionPolicy") and old.spec.HasField("preemptionPolicy"):
        new.spec.preemptionPolicy = old.spec.preemptionPolicy
