"""Our descriptors against upstream's field tables, in both directions."""

import importlib
from pathlib import Path

import pytest

from tests.support.descriptor_lines import lines_of

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[2]


def described(folder: str) -> set[str]:
    lines: set[str] = set()
    for path in (ROOT / "protos" / folder).glob("*_pb2.py"):
        module = importlib.import_module(f"protos.{folder}.{path.stem}")
        if module.DESCRIPTOR.package != "podpath.k8s":
            lines.update(lines_of(module.DESCRIPTOR))
    return lines


def recorded(name: str) -> set[str]:
    text = (DATA / f"{name}-fields.txt").read_text()
    return {line for line in text.splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize("name", ["k8s", "cri", "etcd"])
def test_everything_upstream_has_is_described(name):
    assert recorded(name) - described(name) == set()


@pytest.mark.parametrize("name", ["k8s", "cri", "etcd"])
def test_nothing_is_described_that_upstream_has_not(name):
    assert described(name) - recorded(name) == set()


@pytest.mark.parametrize(("name", "at_least"), [("k8s", 2500), ("cri", 700), ("etcd", 400)])
def test_the_tables_are_whole(name, at_least):
    assert len(recorded(name)) > at_least
