"""Decisions of a real kube-scheduler 1.32.4, replayed: ours have to agree with every one.

`tests/differential/README.md` tells how they were recorded, and which differences are listed.
"""

import orjson
import pytest

from tests.differential.__main__ import RECORDED
from tests.differential.compare import differences
from tests.differential.ours import decide
from tests.differential.scenarios import KINDS, scenario

DECISIONS = [orjson.loads(line) for line in RECORDED.read_bytes().splitlines()]


def test_enough_was_recorded():
    assert len(DECISIONS) >= 500
    assert {KINDS[d["seed"] % len(KINDS)] for d in DECISIONS} == set(KINDS)


@pytest.mark.parametrize("vectorised", [False, True], ids=["plain", "vectorised"])
@pytest.mark.parametrize("kind", KINDS)
def test_decisions_agree(kind, vectorised):
    found = {}
    for recorded in DECISIONS:
        made = scenario(recorded["seed"])
        if made.kind == kind:
            ours = decide(made, vectorised=vectorised)
            real = {**recorded, "parts": {}}
            if differing := differences(real, ours):
                found[recorded["seed"]] = differing
    assert found == {}
