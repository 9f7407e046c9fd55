"""The journal gives back what was put, whatever happened to its end."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime_shim.checkpoint import JournalCheckpoints
from tests.support.shims import container, sandbox


def reopened(path: Path) -> JournalCheckpoints:
    journal = JournalCheckpoints(path)
    journal.load()
    return journal


def ids(path: Path) -> list[str]:
    journal = JournalCheckpoints(path)
    try:
        return [record.id for record in journal.load()]
    finally:
        journal.close()


def test_records_come_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = reopened(path)
    record = container(started_at=2, engine={"pid": "7"}, reason="Error", finished_at=9)
    pod = sandbox()
    pod.ips = ("10.0.0.1", "fd00::1")
    journal.put(record)
    journal.put(pod)
    journal.note("pod-cidr", "10.0.0.0/24")
    journal.close()
    again = JournalCheckpoints(path)
    read_pod, read = again.load()
    assert (read_pod.config, read_pod.ips) == (pod.config, pod.ips)
    assert (read.config, read.engine, read.state) == (record.config, record.engine, record.state)
    assert read.exited.is_set()
    assert again.notes() == {"pod-cidr": "10.0.0.0/24"}
    again.close()


def test_the_last_state_counts_and_deleted_records_are_gone(tmp_path: Path) -> None:
    journal = reopened(tmp_path / "journal")
    record = container()
    journal.put(record)
    record.started_at = 5
    journal.put(record)
    journal.put(container("gone"))
    journal.delete("gone")
    journal.delete("never there")
    journal.close()
    again = JournalCheckpoints(tmp_path / "journal")
    (read,) = again.load()
    assert read.started_at == 5
    again.close()


@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_torn_end_loses_only_itself(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal"
    journal = reopened(path)
    journal.put(container("first"))
    journal.put(container("second"))
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])
    journal = reopened(path)
    journal.put(container("third"))
    journal.close()
    assert ids(path) == ["first", "third"]


def test_a_damaged_entry_ends_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = reopened(path)
    journal.put(container("first"))
    size = path.stat().st_size
    journal.put(container("second"))
    journal.close()
    content = bytearray(path.read_bytes())
    content[size + 20] ^= 0xFF
    path.write_bytes(content)
    assert ids(path) == ["first"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=200))
def test_compaction_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]
) -> None:
    path = tmp_path_factory.mktemp("compacted") / "journal"
    journal = JournalCheckpoints(path, compact_at_bytes=2000)
    journal.load()
    expected: set[str] = set()
    for put, number in steps:
        name = f"c{number}"
        if put:
            journal.put(container(name))
            expected.add(name)
        else:
            journal.delete(name)
            expected.discard(name)
    journal.note("key", "value")
    journal.close()
    assert set(ids(path)) == expected
    assert path.stat().st_size < 2000 + 4 * 10 * 400


def test_it_does_not_grow_with_use(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = JournalCheckpoints(path, compact_at_bytes=10_000)
    journal.load()
    for _ in range(2000):
        journal.put(container())
        journal.delete("c1")
    journal.close()
    assert path.stat().st_size < 20_000
