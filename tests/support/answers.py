"""What a running kube-apiserver (1.32.4) and Go's packages answered, recorded once."""

import json
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parents[1] / "contract" / "data"


def answers(name: str) -> Any:
    return json.loads((_DATA / f"answers-{name}.json").read_text())
