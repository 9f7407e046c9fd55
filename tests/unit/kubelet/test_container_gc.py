from dataclasses import replace

from kubelet.container_gc import ContainerGc, garbage_of
from kubelet.pod_dirs import DiskPodFiles
from protos.cri import runtime_v1_pb2 as cri
from tests.support.kubelet_objects import record, runtime, sandbox


def test_one_dead_container_is_kept_beside_the_running_one():
    status = runtime(
        record("a", "exited"), record("a", "exited", attempt=1), record("a", "running", attempt=2)
    )
    assert garbage_of(status, {}).containers == ("a-0",)


def test_the_newest_dead_container_is_kept():
    status = runtime(record("a", "exited"), record("a", "exited", attempt=1))
    assert garbage_of(status, {}).containers == ("a-0",)


def test_what_was_made_but_never_ran_goes():
    status = runtime(
        record("a", "created"),
        record("a", "exited", attempt=1),
        record("a", "running", attempt=2),
    )
    assert garbage_of(status, {}).containers == ("a-0",)


def test_old_empty_sandboxes_go():
    old, new = sandbox(ready=False), sandbox(attempt=1)
    status = runtime(sandboxes=[old, new])
    assert garbage_of(status, {"s0": ()}).sandboxes == ("s0",)
    holding = runtime(record("a", "exited"), sandboxes=[old, new])
    assert garbage_of(holding, {"s0": (record("a", "exited"),)}).sandboxes == ()


class Pods:
    """A PLEG that knows one Pod."""

    def __init__(self, status):
        self.status = status

    def get(self, _):
        return self.status

    def inside(self, _):
        return {}


class Engine:
    def __init__(self):
        self.removed = []

    async def RemoveContainer(self, request):
        self.removed.append(request.container_id)
        return cri.RemoveContainerResponse()


async def test_a_removed_containers_logs_go_with_it(tmp_path):
    old, kept = record("a", "exited"), record("a", "exited", attempt=1)
    for container in (old, kept):
        container.log_path = str(tmp_path / f"{container.metadata.attempt}.log")
        for ending in ("", ".20260101-000000", ".20250101-000000.gz"):
            (tmp_path / (container.log_path + ending)).write_text("said")
    status = replace(
        runtime(old, kept, record("a", "running", attempt=2)), name="web", namespace="ns"
    )
    links = tmp_path / "links"
    links.mkdir()
    for container in (old, kept):
        (links / f"web_ns_a-{container.id}.log").symlink_to(container.log_path)
    engine = Engine()
    gc = ContainerGc(engine, Pods(status), DiskPodFiles(str(tmp_path / "root")), str(links))
    await gc.collect(["u1"])
    assert engine.removed == [old.id]
    assert {p.name for p in tmp_path.glob("*.log*")} == {
        "1.log",
        "1.log.20260101-000000",
        "1.log.20250101-000000.gz",
    }
    assert [p.name for p in links.iterdir()] == [f"web_ns_a-{kept.id}.log"]
