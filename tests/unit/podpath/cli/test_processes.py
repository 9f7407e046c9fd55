"""The processes of a local cluster, with real ones in the places of components."""

import sys

import pytest

from podpath.cli.layout import Layout
from podpath.cli.processes import Processes, ProcessSpec


@pytest.fixture
def processes(tmp_path):
    layout = Layout(tmp_path, "t")
    layout.make_directories()
    made = Processes(layout)
    yield made
    for name in made.names():
        made.stop(name)


def program(name, code):
    return ProcessSpec(name, (sys.executable, "-c", code))


def test_one_that_lives_is_not_started_twice(processes):
    spec = program("stays", "import time; time.sleep(600)")
    assert processes.start(spec)
    pid = processes.pid("stays")
    assert not processes.start(spec)
    assert processes.pid("stays") == pid


def test_the_first_that_ends_is_named(processes):
    processes.start(program("stays", "import time; time.sleep(600)"))
    processes.start(program("ends", "print('why it ended')"))
    assert processes.wait_for_an_end() == "ends"
    assert processes.pid("ends") is None
    assert "why it ended" in str(processes.failed("ends", "ended"))


def test_one_that_has_ended_before_is_named(processes):
    processes.start(program("ends", ""))
    processes.wait_for_an_end()
    assert processes.wait_for_an_end() == "ends"


def test_stopped_ones_are_forgotten(processes):
    processes.start(program("stays", "import time; time.sleep(600)"))
    assert processes.stop("stays")
    assert processes.names() == []
    assert not processes.stop("stays")
