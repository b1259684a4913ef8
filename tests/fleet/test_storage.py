"""A store's files are written whole, in its directory alone, here and through Hadoop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.errors import ConfigError, ModelRefused, StoreUnwritable
from anomaly.fleet.storage import FolderStorage, HadoopStorage, Storage, folder, storage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Maker = Callable[[Path], Storage]


@pytest.fixture(params=["folder", "hadoop"])
def make(request: pytest.FixtureRequest) -> Maker:
    """Give the maker of each kind of storage in turn."""
    if request.param == "folder":
        return FolderStorage
    spark: SparkSession = request.getfixturevalue("spark")
    return lambda path: HadoopStorage(path.as_uri(), spark)


def test_what_is_written_is_read(make: Maker, tmp_path: Path) -> None:
    """A file is replaced as a whole, and nothing temporary is left."""
    store = make(tmp_path / "models" / "fleet")
    assert store.read("manifest.json") is None
    for data in (b"one", bytes(range(256)) * 300):
        store.write("manifest.json", data)
        store.write("alice%40ws1/1.safetensors", data)
        assert store.read("manifest.json") == store.read("alice%40ws1/1.safetensors") == data
    assert store.read("bob/1.safetensors") is None
    assert store.read("alice%40ws1/2.safetensors") is None
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".crc"}
    assert left == {"models/fleet/manifest.json", "models/fleet/alice%40ws1/1.safetensors"}


def test_what_cannot_be_written_is_an_error_that_says_so(make: Maker, tmp_path: Path) -> None:
    """A file in the place of the directory is in the way."""
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises((StoreUnwritable, ModelRefused), match="models"):
        make(tmp_path / "models").write("alice/1.safetensors", b"x")


def test_what_others_may_write_is_not_believed(tmp_path: Path) -> None:
    """A directory of this machine is trusted as the local store is."""
    store = FolderStorage(tmp_path / "models")
    store.write("manifest.json", b"{}")
    assert (tmp_path / "models").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "models" / "manifest.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "models").chmod(0o777)
    with pytest.raises(ModelRefused, match="everybody may write it"):
        store.read("manifest.json")


def test_no_link_leads_out_of_a_store(tmp_path: Path) -> None:
    """Neither a file nor a directory in it may be a link."""
    store = FolderStorage(tmp_path / "models")
    store.write("manifest.json", b"{}")
    (tmp_path / "out").mkdir()
    (tmp_path / "models" / "alice").symlink_to(tmp_path / "out")
    (tmp_path / "models" / "background.1.safetensors").symlink_to("manifest.json")
    with pytest.raises(ModelRefused):
        store.write("alice/1.safetensors", b"x")
    with pytest.raises(ModelRefused):
        store.read("background.1.safetensors")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("/srv/models", Path("/srv/models")),
        ("models", Path.cwd() / "models"),
        ("file:/srv/a%20b", Path("/srv/a b")),
        ("file:///srv/models", Path("/srv/models")),
        ("s3a://bucket/models", None),
        ("hdfs:///models", None),
    ],
)
def test_only_directories_of_this_machine_are_paths(uri: str, place: Path | None) -> None:
    """Everything else goes through Hadoop."""
    assert folder(uri) == place


def test_connect_has_no_way_to_hadoop() -> None:
    """What cannot be done by Spark Connect is said with what can."""
    with pytest.raises(ConfigError, match=r"^s3a://b/m can only be written by a driver that runs Spark itself"):
        storage("s3a://b/m", object())


def test_a_file_system_that_hadoop_does_not_know_is_an_error(spark: SparkSession) -> None:
    """Its name is in the sentence."""
    with pytest.raises(StoreUnwritable, match=r"^Spark cannot use nosuch://x/models: .*nosuch"):
        storage("nosuch://x/models", spark)
