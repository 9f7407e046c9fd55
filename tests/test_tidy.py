"""Rules about the tree that no linter has."""

import re
import subprocess
from pathlib import Path

import pytest

from podpath.component_base.pod_trace import PodStep

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("podpath", "apiserver", "scheduler", "kubelet", "runtime_shim", "controllers")


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


@pytest.mark.parametrize("step", list(PodStep), ids=lambda step: step.name)
def test_every_step_of_the_path_is_stamped_at_exactly_one_place(step):
    stamped = re.compile(rf"stamp\(\s*(\w+\.)*PodStep\.{step.name}\b")
    places = [
        f"{path}:{text[: found.start()].count(chr(10)) + 1}"
        for path, text in sources().items()
        for found in stamped.finditer(text)
    ]
    assert len(places) == 1, places


def test_architecture_names_only_files_that_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|proto|md|sh))`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_module_says_what_it_is_for():
    silent = [
        path
        for path, text in sources().items()
        if text.strip() and not re.match(r'\s*(#[^\n]*\n)*\s*[ru]?"""', text)
    ]
    assert silent == []


def test_no_stray_files_are_tracked():
    tracked = subprocess.run(
        ("git", "ls-files"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    stray = re.compile(r"(\.orig|\.rej|\.swp|\.pyc|~|\.log|\.tmp)$|(^|/)(nohup\.out|core)$")
    assert [path for path in tracked if stray.search(path)] == []
    large = [
        path
        for path in tracked
        if (ROOT / path).is_file() and (ROOT / path).stat().st_size > 1 << 20
    ]
    assert large == []
