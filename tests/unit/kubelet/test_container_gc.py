from kubelet.container_gc import garbage_of
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
