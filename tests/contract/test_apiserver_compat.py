"""podpath's own contract only grows: nothing recorded is removed, renumbered or retyped.

After a change on purpose record it anew: `python -m tests.contract.record_protos`.
"""

import importlib
from pathlib import Path

from tests.support.descriptor_lines import lines_of

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).parent / "data" / "podpath-protos.txt"


def present() -> list[str]:
    lines: list[str] = []
    for path in sorted((ROOT / "protos" / "podpath").glob("*_pb2.py")):
        module = importlib.import_module(f"protos.podpath.{path.stem}")
        lines += lines_of(module.DESCRIPTOR)
    return sorted(lines)


def recorded() -> list[str]:
    return [line for line in SNAPSHOT.read_text().splitlines() if not line.startswith("#")]


def numbers(lines: list[str]) -> dict[str, str]:
    """`message#number` to the line, for fields and enum values."""
    found: dict[str, str] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind in {"field", "value"}:
            name, _, form = rest.partition(" = ")
            found[f"{kind} {name.rpartition('.')[0]}#{form.split(' ')[0]}"] = line
    return found


def test_nothing_was_removed_or_retyped():
    assert set(recorded()) - set(present()) == set()


def test_no_number_was_reused():
    before, now = numbers(recorded()), numbers(present())
    assert {key: (before[key], now.get(key)) for key in before if now.get(key) != before[key]} == {}


def test_what_is_new_is_recorded():
    added = set(present()) - set(recorded())
    assert added == set(), "record it: python -m tests.contract.record_protos"


def test_the_check_sees_a_reused_number():
    lines = recorded()
    (old,) = [line for line in lines if line.startswith("field podpath.apiserver.v1.BindRequest.b")]
    changed = [line.replace("binding = 1", "other = 1") if line == old else line for line in lines]
    assert numbers(changed) != numbers(lines)
