"""Keeps the status of PodDisruptionBudgets: how many of their Pods may be evicted now.

1. Find the budget's Pods, and how many of them their controllers want.
2. Drop evictions that have happened, or that were granted and never happened.
3. Count the healthy, write the status when it differs.

Source: k8s.io/kubernetes pkg/controller/disruption/disruption.go.
"""

from collections.abc import Sequence
from typing import Any

from controllers import disruption_decisions as decisions
from controllers import ownership
from controllers.reconciler import Context, Loop, Requeue
from controllers.semantics import equal
from podpath.api.scheme import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
)
from podpath.client.event_recorder import NORMAL, WARNING
from podpath.client.informer import (
    Handlers,
    Informer,
    ObjectKey,
    Store,
    controller_of,
    key_of,
)
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import ObjectMeta, OwnerReference
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget, PodDisruptionBudgetStatus

NAME = "disruption-controller"


class OwnerUnknownError(Exception):
    """A Pod's controller is not of a kind whose wanted number of Pods can be told."""


class DisruptionController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(NAME)
        informers = context.informers
        budgets = informers.informer(PODDISRUPTIONBUDGETS)
        pods = informers.informer(PODS)
        owners: list[Informer[Any]] = [
            informers.informer(resource)
            for resource in (DEPLOYMENTS, REPLICASETS, REPLICATIONCONTROLLERS, STATEFULSETS)
        ]
        self._budgets, self._pods = budgets.store, pods.store
        self._owners: dict[str, Store[Any]] = {i.resource.kind: i.store for i in owners}
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(budgets, pods, *owners)
        )
        budgets.add_handlers(Handlers(self._enqueue, lambda _, new: self._enqueue(new)))
        pods.add_handlers(
            Handlers(self._pod_changed, lambda _, new: self._pod_changed(new), self._pod_changed)
        )
        for informer in owners:
            informer.add_handlers(Handlers(on_update=self._owner_changed))

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, budget: PodDisruptionBudget) -> None:
        self._loop.queue.add(key_of(budget))

    def _pod_changed(self, pod: Pod) -> None:
        for budget in self._budgets.list(pod.metadata.namespace):
            if _covers(budget, pod):
                self._enqueue(budget)

    def _owner_changed(self, old: Any, new: Any) -> None:
        """Another number of wanted Pods changes what a percentage of them is."""
        if old.spec.replicas != new.spec.replicas:
            for budget in self._budgets.list(new.metadata.namespace):
                if decisions.counts_owners(budget):
                    self._enqueue(budget)

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        budget = self._budgets.get(*key)
        if budget is None:
            return None
        now_s = self._clock.now().timestamp()
        # 1
        pods = [pod for pod in self._pods.list(key[0]) if _covers(budget, pod)]
        if not pods:
            self._event(budget, NORMAL, "NoPods", "No matching pods found")
        try:
            wanted = self._wanted_by_owners(budget, pods)
        except OwnerUnknownError as error:
            self._event(budget, WARNING, "CalculateExpectedPodCountFailed", str(error))
            await self._write(budget, decisions.failed_status(budget, str(error), now_s))
            return None
        expected, desired = decisions.expected_and_desired(budget, len(pods), wanted)
        # 2
        evictions = decisions.disrupted(budget, pods, now_s)
        for name in evictions.overdue:
            text = f"Pod was expected by PDB {key[0]}/{key[1]} to be deleted but it wasn't"
            self._recorder.event(
                PODS, next(p for p in pods if p.metadata.name == name), WARNING, "NotDeleted", text
            )
        # 3
        status = decisions.compute_status(
            budget,
            expected=expected,
            desired=desired,
            current=decisions.healthy(pods, evictions.pods),
            evictions=evictions,
            now_s=now_s,
        )
        await self._write(budget, status)
        return None if evictions.next_look_s is None else Requeue(evictions.next_look_s + 1)

    def _wanted_by_owners(self, budget: PodDisruptionBudget, pods: Sequence[Pod]) -> int:
        """The sum of what the Pods' controllers want, each counted once. Raises: OwnerUnknownError.

        Pods without a controller count for nothing; the budget's owner is told.
        """
        if not decisions.counts_owners(budget):
            return 0
        wanted: dict[str, int] = {}
        unmanaged = []
        for pod in pods:
            reference = controller_of(pod.metadata)
            if reference is None:
                unmanaged.append(pod.metadata.name)
                continue
            uid, replicas = self._scale_of(pod.metadata, reference)
            wanted[uid] = replicas
        if unmanaged:
            self._event(
                budget,
                WARNING,
                "UnmanagedPods",
                f"Pods without a controller are not counted, so the status may be wrong: "
                f"{', '.join(sorted(unmanaged)[:10])}; for such Pods set .spec.minAvailable to an "
                "integer",
            )
        return sum(wanted.values())

    def _scale_of(self, meta: ObjectMeta, reference: OwnerReference) -> tuple[str, int]:
        """The uid of the Pod's uppermost controller, and how many Pods it wants."""
        store = self._owners.get(reference.kind)
        owner = store.get(meta.namespace, reference.name) if store is not None else None
        if store is None or (owner is not None and owner.metadata.uid != reference.uid):
            raise OwnerUnknownError(
                f"{reference.kind} {reference.name}, the controller of pod {meta.name}, "
                "has no scale that can be told"
            )
        if owner is None:  # it is gone, and its Pods will follow
            return reference.uid, 0
        above = controller_of(owner.metadata)
        if reference.kind == REPLICASETS.kind and above is not None:
            return self._scale_of(owner.metadata, above)
        return owner.metadata.uid, owner.spec.replicas if owner.spec.HasField("replicas") else 1

    async def _write(self, budget: PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> None:
        """A Conflict is left to the next round: an eviction has just been granted."""
        if equal(status, budget.status):
            return
        changed = PodDisruptionBudget()
        changed.CopyFrom(budget)
        changed.status.CopyFrom(status)
        await self._client.update_status(PODDISRUPTIONBUDGETS, changed)

    def _event(self, budget: PodDisruptionBudget, kind: str, reason: str, text: str) -> None:
        self._recorder.event(PODDISRUPTIONBUDGETS, budget, kind, reason, text)


def _covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """A budget without a selector covers nothing, one with an empty selector everything."""
    if pod.metadata.namespace != budget.metadata.namespace or not budget.spec.HasField("selector"):
        return False
    return ownership.matcher(budget.spec.selector)(pod.metadata.labels)
