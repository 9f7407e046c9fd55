import base64
import stat

import pytest
import yaml

from podpath.client import kubeconfig
from podpath.client.kubeconfig import KubeConfig, KubeConfigError

FULL = KubeConfig(
    server="https://127.0.0.1:6443",
    grpc_address="127.0.0.1:6444",
    ca=b"CA",
    cert=b"CERT",
    key=b"KEY",
)


def _document(**changes):
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://h:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    return document | changes


def _write(path, document):
    path.write_text(yaml.safe_dump(document))
    return path


def test_what_is_written_is_loaded(tmp_path):
    path = tmp_path / "dir" / "config"
    kubeconfig.write(path, FULL, "podpath")
    loaded = kubeconfig.load(path)
    assert (loaded.server, loaded.grpc_address) == (FULL.server, FULL.grpc_address)
    assert (loaded.ca, loaded.cert, loaded.key) == (b"CA", b"CERT", b"KEY")
    assert loaded.context == "podpath"


def test_the_file_is_private(tmp_path):
    path = tmp_path / "config"
    path.write_text("{}")
    path.chmod(0o644)
    kubeconfig.merge_context(path, FULL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_are_relative_to_the_kubeconfig(tmp_path):
    (tmp_path / "ca.pem").write_bytes(b"from file")
    cluster = {"server": "https://h:1", "certificate-authority": "ca.pem"}
    path = _write(tmp_path / "config", _document(clusters=[{"name": "k", "cluster": cluster}]))
    assert kubeconfig.load(path).ca == b"from file"


def test_data_wins_over_file(tmp_path):
    cluster = {
        "server": "https://h:1",
        "certificate-authority": "absent.pem",
        "certificate-authority-data": base64.b64encode(b"data").decode(),
    }
    path = _write(tmp_path / "config", _document(clusters=[{"name": "k", "cluster": cluster}]))
    assert kubeconfig.load(path).ca == b"data"


def test_a_token_file_is_read_anew(tmp_path):
    token = tmp_path / "token"
    token.write_text("one\n")
    path = _write(
        tmp_path / "config", _document(users=[{"name": "u", "user": {"tokenFile": "token"}}])
    )
    config = kubeconfig.load(path)
    assert config.bearer_token() == "one"
    token.write_text("two\n")
    assert config.bearer_token() == "two"


def test_another_context_can_be_asked_for(tmp_path):
    path = _write(tmp_path / "config", _document())
    kubeconfig.merge_context(path, FULL, "mine", make_current=False)
    assert kubeconfig.load(path).server == "https://h:1"
    assert kubeconfig.load(path, "mine").server == FULL.server


def test_merging_keeps_others_and_replaces_its_own(tmp_path):
    path = _write(tmp_path / "config", _document(extra={"kept": True}))
    kubeconfig.merge_context(path, FULL, "mine")
    kubeconfig.merge_context(path, FULL, "mine")
    document = yaml.safe_load(path.read_text())
    assert [c["name"] for c in document["clusters"]] == ["k", "mine"]
    assert document["current-context"] == "mine"
    assert document["extra"] == {"kept": True}
    kubeconfig.remove_context(path, "mine")
    assert yaml.safe_load(path.read_text())["users"] == [{"name": "u", "user": {"token": "t"}}]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param("[", "not valid YAML", id="broken"),
        pytest.param([1], "a mapping was expected", id="list"),
        pytest.param({}, "current-context: not set", id="no context"),
        pytest.param(_document(contexts=[]), "contexts: there is none named 'c'", id="dangling"),
        pytest.param(
            _document(clusters=[]), "clusters: there is none named 'k'", id="no such cluster"
        ),
        pytest.param(
            _document(clusters=[{"name": "k", "cluster": {}}]),
            "clusters[k].cluster.server: missing",
            id="no server",
        ),
        pytest.param(
            _document(users=[{"name": "u", "user": {"client-key-data": "!"}}]),
            "users[u].user.client-key-data: not valid base64",
            id="base64",
        ),
        pytest.param(
            _document(users=[{"name": "u", "user": {"client-certificate": "none.pem"}}]),
            "users[u].user.client-certificate",
            id="missing file",
        ),
        pytest.param(
            _document(users=[{"name": "u", "user": {"client-certificate-data": "QQ=="}}]),
            "users[u].user.client-key: missing",
            id="half a pair",
        ),
        pytest.param(
            _document(
                clusters=[
                    {
                        "name": "k",
                        "cluster": {
                            "server": "s",
                            "extensions": [{"name": "podpath.io/grpc", "extension": {}}],
                        },
                    }
                ]
            ),
            "extensions[podpath.io/grpc].server: missing",
            id="empty extension",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, document, expected):
    path = tmp_path / "config"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    with pytest.raises(KubeConfigError) as caught:
        kubeconfig.load(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KubeConfigError, match="No such file"):
        kubeconfig.load(tmp_path / "absent")


def test_a_broken_file_is_not_overwritten(tmp_path):
    path = tmp_path / "config"
    path.write_text("[")
    with pytest.raises(KubeConfigError):
        kubeconfig.merge_context(path, FULL)
    assert path.read_text() == "["
