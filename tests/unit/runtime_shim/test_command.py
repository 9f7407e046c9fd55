"""Programs that are run: what they leave, how long they may take."""

import pytest

from podpath.component_base.clock import FakeClock
from runtime_shim import command
from runtime_shim.backends.nerdctl_images import PullProgress
from runtime_shim.errors import Code, CriError

SLOW = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.5; done"


async def test_what_a_program_leaves() -> None:
    finished = await command.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"given")
    assert (finished.code, finished.stdout, finished.complaint()) == (3, b"given", "oops")


async def test_its_environment_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    finished = await command.run(["env"], environment={"MORE": "y"})
    assert b"SECRET" not in finished.stdout
    assert b"MORE=y" in finished.stdout


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        pytest.param(["/no/such/program"], Code.UNAVAILABLE, id="missing"),
        pytest.param(["true", "x" * 200_000], Code.INVALID_ARGUMENT, id="an argument too long"),
    ],
)
async def test_what_cannot_be_started(argv: list[str], code: Code) -> None:
    with pytest.raises(CriError) as raised:
        await command.run(argv)
    assert raised.value.code is code


async def test_a_program_that_takes_too_long_is_killed() -> None:
    with pytest.raises(CriError) as raised:
        await command.run(["sleep", "100"], timeout_s=0.1)
    assert raised.value.code is Code.DEADLINE_EXCEEDED


async def test_one_that_gets_on_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LOOK_EVERY_S", 0.05)
    seen: list[bytes] = []

    def moved(said: bytes) -> bool:
        seen.append(said)
        return True

    finished = await command.run(["sh", "-c", SLOW], timeout_s=2.0, moved=moved)
    assert finished.code == 0
    assert b"1\n" in seen[-1]
    with pytest.raises(CriError):
        await command.run(["sh", "-c", SLOW], timeout_s=2.0, moved=lambda _: False)


def test_progress_of_a_pull() -> None:
    clock = FakeClock()
    progress = PullProgress("app:1", clock)
    line = "layer-sha256:b3: downloading\nelapsed: 2.8 s    total:  %s (6.7 MiB/s)   \n"
    assert not progress.moved(b"resolving")
    assert progress.moved((line % "0.0 B").encode())
    assert not progress.moved((line % "0.0 B" * 2).encode())
    assert progress.moved((line % "18.7 M").encode())


async def test_progress_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "runtime_shim")
    clock = FakeClock()
    progress = PullProgress("app:1", clock)
    for second in range(11):
        progress.moved(b"total:  %d.0 M (1 MiB/s)" % second)
        clock.step(1)
    assert [(r.image, r.come) for r in caplog.records] == [("app:1", "5.0 M"), ("app:1", "10.0 M")]
