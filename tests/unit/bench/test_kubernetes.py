"""Where the real control plane's programs are looked for."""

import pytest

from bench.kubernetes import PeersMissingError, find_peers
from podpath.component_base import binaries

NAMES = ("kube-apiserver", "kwok")


@pytest.fixture(autouse=True)
def _nothing_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "_OWN", tmp_path / "none")


def put(directory, *names):
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).touch(mode=0o755)
    return directory


def test_the_directory_given_wins_over_the_path(tmp_path, monkeypatch):
    given, other = put(tmp_path / "given", *NAMES), put(tmp_path / "other", *NAMES)
    monkeypatch.setenv("PATH", str(other))
    assert find_peers(given, *NAMES) == given
    assert find_peers(None, *NAMES) == other


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        pytest.param((), "kube-apiserver, kwok not found", id="nothing"),
        pytest.param(NAMES[:1], "^kwok not found", id="one of two"),
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_what_is_missing_is_named(tmp_path, monkeypatch, there, missing, by_path):
    directory = put(tmp_path / "d", *there)
    monkeypatch.setenv("PATH", str(directory))
    with pytest.raises(PeersMissingError, match=missing) as caught:
        find_peers(None if by_path else directory, *NAMES)
    assert "--peers DIR or PODPATH_PEERS=DIR" in str(caught.value)
