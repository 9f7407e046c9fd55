"""States are derived from moments."""

import pytest

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError
from runtime_shim.state import State
from tests.support.shims import container, sandbox


@pytest.mark.parametrize(
    ("moments", "state"),
    [
        pytest.param({}, cri.CONTAINER_CREATED, id="created"),
        pytest.param({"started_at": 2}, cri.CONTAINER_RUNNING, id="started"),
        pytest.param({"started_at": 2, "finished_at": 3}, cri.CONTAINER_EXITED, id="finished"),
        pytest.param({"started_at": 2, "lost": True}, cri.CONTAINER_UNKNOWN, id="lost"),
    ],
)
def test_state_of_a_container(moments: dict[str, object], state: int) -> None:
    assert container(**moments).state == state


def test_an_end_is_recorded_once() -> None:
    record = container(started_at=2)
    assert record.finish(5, 3, "", "")
    assert not record.finish(9, 0, "", "")
    assert (record.finished_at, record.exit_code, record.reason) == (5, 3, "Error")
    assert record.exited.is_set()


def test_the_listed_form_follows_the_state() -> None:
    record = container(started_at=2)
    assert record.listed().state == cri.CONTAINER_RUNNING
    record.finish(5, 0, "", "")
    assert record.listed().state == cri.CONTAINER_EXITED


def test_an_ambiguous_beginning_is_not_found() -> None:
    state = State()
    for name in ("abc1", "abc2"):
        state.add_container(container(name))
    assert state.container("abc1").id == "abc1"
    for given in ("abc", "", "zzz"):
        with pytest.raises(CriError) as raised:
            state.container(given)
        assert raised.value.code is Code.NOT_FOUND


def test_a_reserved_name_is_free_again_after_its_record_is_dropped() -> None:
    state = State()
    record = sandbox()
    state.add_sandbox(record)
    name = "s1_default_uid-s1_0"
    with pytest.raises(CriError):
        state.reserve(name)
    state.drop_sandbox(record)
    state.reserve(name)
