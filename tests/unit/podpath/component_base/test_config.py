from dataclasses import dataclass
from pathlib import Path

import pytest

from podpath.component_base.config import ConfigError, load, option
from podpath.component_base.durations import Duration


@dataclass(frozen=True)
class Section:
    """Settings of their own."""

    end_point: str = option("here", help="where")
    rate: int = option(0, help="how many")

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ConfigError(f"rate {self.rate}: expected 0 or more")


@dataclass(frozen=True)
class Config:
    node_ip: str = option(help="address")
    port: int = option(10250, help="port")
    fast: bool = option(False, help="be quick")
    labels: tuple[str, ...] = option((), help="labels")
    root: Path = option(Path("/x"), help="directory", flag="root-dir")
    sync_frequency_s: Duration = option(60.0, help="time between rounds")
    tracing: Section = option(Section(), help="a section", flag="tracing-config-file")


def read(argv: list[str], environ: dict[str, str] | None = None) -> Config:
    return load(Config, argv, prog="kubelet", description="d", environ=environ or {})


def test_flags_win_over_environment_over_file_over_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("nodeIp: 10.0.0.1\nport: 1\nfast: true\nsyncFrequency: 1h\n")
    config = read(
        ["--config", str(file), "--port", "3"],
        {"KUBELET_PORT": "2", "KUBELET_FAST": "false", "KUBELET_SYNC_FREQUENCY": "5s"},
    )
    assert config == Config("10.0.0.1", port=3, fast=False, sync_frequency_s=Duration(5))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(["--fast"], Config("a", fast=True), id="bare bool"),
        pytest.param(["--fast=false"], Config("a"), id="bool with value"),
        pytest.param(
            ["--labels", "a=1,b=2", "--labels=c="],
            Config("a", labels=("a=1", "b=2", "c=")),
            id="list",
        ),
        pytest.param(["--root-dir", "/y"], Config("a", root=Path("/y")), id="renamed"),
        pytest.param(
            ["--sync-frequency=1m30s"], Config("a", sync_frequency_s=Duration(90)), id="duration"
        ),
    ],
)
def test_kinds_of_flags(argv, expected):
    assert read(["--node-ip", "a", *argv]) == expected


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param([], "required: --node-ip", id="missing"),
        pytest.param(
            ["--node-ip=a", "--port=x"], "port: 'x' is not of type int", id="not a number"
        ),
        pytest.param(
            ["--node-ip=a", "--nope"], "unrecognized arguments: --nope", id="unknown flag"
        ),
        pytest.param(
            ["--node-ip=a", "--sync-frequency=20"],
            '--sync-frequency: time: missing unit in duration "20"',
            id="duration without a unit",
        ),
        pytest.param(["--node-ip=a", "--config=/nonexistent"], "No such file", id="no file"),
    ],
)
def test_bad_command_lines_exit_with_2_and_say_why(argv, said, capsys):
    with pytest.raises(SystemExit) as exit_info:
        read(argv)
    assert exit_info.value.code == 2
    assert said in capsys.readouterr().err


def test_unknown_keys_of_a_file_are_refused(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text("nodeIp: a\nprot: 1\n")
    with pytest.raises(SystemExit):
        read(["--config", str(file)])
    assert "unknown field 'prot'" in capsys.readouterr().err


def test_a_section_is_a_mapping_in_the_file_or_a_file_of_its_own(tmp_path):
    file, own = tmp_path / "c.yaml", tmp_path / "own.yaml"
    file.write_text("nodeIp: a\ntracing: {endPoint: there, rate: 3}\n")
    own.write_text("apiVersion: v1\nkind: Section\nrate: 4\n")
    assert read(["--config", str(file)]).tracing == Section("there", 3)
    assert read(["--node-ip=a", f"--tracing-config-file={own}"]).tracing == Section(rate=4)
    assert read(["--node-ip=a"], {"KUBELET_TRACING": str(own)}).tracing == Section(rate=4)
    assert read(["--node-ip=a"]).tracing == Section()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("rat: 1", "unknown field 'rat'", id="unknown field"),
        pytest.param("rate: x", "rate: 'x' is not of type int", id="not a number"),
        pytest.param("rate: -1", "rate -1: expected 0 or more", id="what the section refuses"),
        pytest.param("[1]", "expected a mapping", id="a list"),
        pytest.param(None, "No such file", id="no file"),
    ],
)
def test_bad_sections_are_told(text, said, tmp_path, capsys):
    own = tmp_path / "own.yaml"
    if text is not None:
        own.write_text(text)
    with pytest.raises(SystemExit):
        read(["--node-ip=a", f"--tracing-config-file={own}"])
    told = capsys.readouterr().err
    assert said in told
    assert str(own) in told
