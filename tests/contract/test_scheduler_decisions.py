"""Decisions of a real kube-scheduler 1.32.4, replayed: ours have to agree with every one.

`tests/differential/README.md` tells how they were recorded, and which differences are listed.
"""

import orjson
import pytest

from tests.differential.__main__ import RECORDED
from tests.differential.compare import differences
from tests.differential.ours import decide
from tests.differential.scenarios import IN_TREE, KINDS, kind_of, scenario

DECISIONS = [orjson.loads(line) for line in RECORDED.read_bytes().splitlines()]


def test_enough_was_recorded():
    assert len(DECISIONS) >= 500
    assert {kind_of(d["seed"]) for d in DECISIONS} == {*KINDS, IN_TREE}


@pytest.mark.parametrize("vectorised", [False, True], ids=["plain", "vectorised"])
@pytest.mark.parametrize("kind", [*KINDS, IN_TREE])
def test_decisions_agree(kind, vectorised):
    found = {}
    for recorded in DECISIONS:
        if kind_of(recorded["seed"]) == kind:
            made = scenario(recorded["seed"])
            ours = decide(made, vectorised=vectorised)
            real = {**recorded, "parts": {}}
            if differing := differences(real, ours):
                found[recorded["seed"]] = differing
    assert found == {}
