import os
from datetime import UTC, datetime

import pytest

from kubelet import atomic_writer
from kubelet.environment import EnvironmentInput
from kubelet.pod_dirs import DiskPodFiles
from kubelet.volume_payload import (
    FileContent,
    TokenNeed,
    VolumeError,
    VolumeObjects,
    needs_of,
    payload_of,
)
from protos.k8s import core_v1_pb2 as core
from tests.support.kubelet_objects import pod_of

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def payload(volume, **objects):
    return payload_of(volume, VolumeObjects(**objects), EnvironmentInput(pod=pod_of("a")))


def test_config_map_items_choose_and_rename():
    volume = core.Volume(name="v")
    source = volume.volumeSource.configMap
    source.localObjectReference.name = "cm"
    source.items.add(key="a", path="dir/x", mode=0o400)
    config_map = core.ConfigMap(data={"a": "1", "b": "2"})
    found = payload(volume, config_maps={"cm": config_map})
    assert found == {"dir/x": FileContent(b"1", 0o400)}
    source.items.add(key="none", path="y")
    with pytest.raises(VolumeError, match="non-existent config key: none"):
        payload(volume, config_maps={"cm": config_map})
    source.optional = True
    assert set(payload(volume, config_maps={"cm": config_map})) == {"dir/x"}


def test_missing_secret():
    volume = core.Volume(name="v")
    volume.volumeSource.secret.secretName = "s"
    with pytest.raises(VolumeError, match='secret "s" not found'):
        payload(volume)
    volume.volumeSource.secret.optional = True
    assert payload(volume) == {}


def test_service_account_volume():
    volume = core.Volume(name="kube-api-access")
    projected = volume.volumeSource.projected
    projected.defaultMode = 0o644
    token = projected.sources.add().serviceAccountToken
    token.path, token.expirationSeconds = "token", 3607
    projected.sources.add().configMap.localObjectReference.name = "kube-root-ca.crt"
    field = projected.sources.add().downwardAPI.items.add(path="namespace")
    field.fieldRef.fieldPath = "metadata.namespace"
    needs = needs_of([volume])
    assert needs.tokens == {TokenNeed("", 3607)}
    found = payload(
        volume,
        config_maps={"kube-root-ca.crt": core.ConfigMap(data={"ca.crt": "pem"})},
        tokens={TokenNeed("", 3607): "jwt"},
    )
    assert {name: content.data for name, content in found.items()} == {
        "token": b"jwt",
        "ca.crt": b"pem",
        "namespace": b"default",
    }


def test_atomic_writer_swaps_by_one_symlink(tmp_path):
    directory = tmp_path / "v"
    assert atomic_writer.write(directory, {"a": FileContent(b"1", 0o640)}, NOW)
    first = os.readlink(directory / "..data")
    assert os.readlink(directory / "a") == "..data/a"
    assert (directory / "a").read_bytes() == b"1"
    assert (directory / "a").stat().st_mode & 0o777 == 0o640
    assert not atomic_writer.write(directory, {"a": FileContent(b"1", 0o640)}, NOW)
    assert atomic_writer.write(directory, {"b/c": FileContent(b"2", 0o644)}, NOW)
    assert os.readlink(directory / "..data") != first
    assert not (directory / first).exists()
    assert not (directory / "a").is_symlink()
    assert (directory / "b" / "c").read_bytes() == b"2"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..x", ""])
def test_atomic_writer_stays_inside(tmp_path, name):
    with pytest.raises(VolumeError):
        atomic_writer.write(tmp_path / "v", {name: FileContent(b"", 0o644)}, NOW)


def test_sub_path_stays_inside(tmp_path):
    files = DiskPodFiles(str(tmp_path))
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "out").symlink_to("/etc")
    assert files.sub_path(str(tmp_path / "v"), "a/b") == str(tmp_path / "v" / "a" / "b")
    for bad in ("../x", "out/passwd"):
        with pytest.raises(VolumeError, match="must not lead outside"):
            files.sub_path(str(tmp_path / "v"), bad)


@pytest.mark.parametrize(
    ("kind", "name", "fails"),
    [
        ("Directory", "dir", False),
        ("Directory", "file", True),
        ("File", "file", False),
        ("File", "none", True),
        ("DirectoryOrCreate", "new", False),
        ("FileOrCreate", "newfile", False),
        ("", "none", False),
    ],
)
def test_host_path_types(tmp_path, kind, name, fails):
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    files = DiskPodFiles(str(tmp_path))
    if fails:
        with pytest.raises(VolumeError, match="hostPath type check failed"):
            files.check_host_path(str(tmp_path / name), kind)
    else:
        files.check_host_path(str(tmp_path / name), kind)
