"""nerdctl's containers, with a program in nerdctl's place that says what the test wants."""

from pathlib import Path

import pytest

from runtime_shim.backends.nerdctl_argv import Creation, NerdctlSettings
from runtime_shim.backends.nerdctl_containers import TRIES, EngineContainers
from runtime_shim.errors import CriError
from runtime_shim.turns import Turns

RUNNING = '[{"Id": "%s", "State": {"Status": "running"}}]'


class FakeNerdctl:
    """Answers the n-th call of a command with the n-th text that was given for it, the last one
    from then on. Texts are shell."""

    def __init__(self, root: Path) -> None:
        self._root = root
        program = root / "nerdctl"
        program.write_text(
            "#!/bin/sh\n"
            f"cd {root}\n"
            'for word; do case "$word" in create|start|rm|ps|inspect) command=$word; break;; esac\n'
            "done\n"
            'echo "$@" >> calls\n'
            "echo x >> count-$command\n"
            "n=$(wc -l < count-$command)\n"
            "while [ ! -e answer-$command-$n ]; do n=$((n - 1)); done\n"
            ". ./answer-$command-$n\n"
        )
        program.chmod(0o755)
        settings = NerdctlSettings(str(program), "a", "n", "d", "c", "cc", "h", str(root / "runc"))
        self.containers = EngineContainers(settings, root / "containers", "runc", Turns(1))
        self.containers.begin()

    def answers(self, command: str, *texts: str) -> None:
        for number, text in enumerate(texts, 1):
            (self._root / f"answer-{command}-{number}").write_text(text + "\n")

    def calls(self, command: str) -> int:
        path = self._root / f"count-{command}"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def nerdctl(tmp_path: Path) -> FakeNerdctl:
    return FakeNerdctl(tmp_path)


FAILS = "echo 'level=error msg=\"task is not ready\"' >&2; exit 0"
"""As `rm --force` does: it says so, and its code is 0."""


async def test_a_removal_that_fails_is_tried_again(nerdctl: FakeNerdctl) -> None:
    nerdctl.answers("rm", FAILS, "echo c1")
    nerdctl.containers.directory("c1").mkdir()
    await nerdctl.containers.remove("c1")
    assert nerdctl.calls("rm") == 2
    assert not nerdctl.containers.directory("c1").exists()


async def test_what_cannot_be_removed_keeps_its_directory(nerdctl: FakeNerdctl) -> None:
    nerdctl.answers("rm", FAILS)
    nerdctl.containers.directory("c1").mkdir()
    with pytest.raises(CriError, match="task is not ready"):
        await nerdctl.containers.remove("c1")
    assert nerdctl.calls("rm") == TRIES
    assert nerdctl.containers.directory("c1").exists()


async def test_what_is_not_there_is_removed(nerdctl: FakeNerdctl) -> None:
    nerdctl.answers("rm", "echo 'level=error msg=\"no such container c1\"' >&2; exit 0")
    await nerdctl.containers.remove("c1")
    assert nerdctl.calls("rm") == 1


async def test_orphans_are_removed_though_there_is_nothing_to_tell_of_them(
    nerdctl: FakeNerdctl,
) -> None:
    for name in ("known", "orphan", "nobody"):
        nerdctl.containers.directory(name).mkdir()
    nerdctl.answers("ps", "echo known; echo orphan", "echo known")
    nerdctl.answers("inspect", f"echo '{RUNNING % 'known'}'")
    nerdctl.answers("rm", "echo orphan")
    held = await nerdctl.containers.remove_all_but({"known"})
    assert {i: state["Status"] for i, state in held.items()} == {"known": "running"}
    assert not nerdctl.containers.directory("orphan").exists()
    assert not nerdctl.containers.directory("nobody").exists()
    assert nerdctl.containers.directory("known").exists()


async def test_a_container_that_cannot_be_prepared_is_removed(nerdctl: FakeNerdctl) -> None:
    nerdctl.answers("create", "echo c1")
    nerdctl.answers("rm", "echo c1")

    def edits(_: str) -> dict[str, object]:
        raise CriError(3, "refused late")  # type: ignore[arg-type]

    creation = Creation(name="n", labels={}, image="i", arguments=["true"])
    with pytest.raises(CriError, match="refused late"):
        await nerdctl.containers.create(creation, edits)
    assert nerdctl.calls("rm") == 1
    assert not nerdctl.containers.directory("c1").exists()
