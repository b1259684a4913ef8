from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anomaly.errors import ModelRefused, UnknownUser
from anomaly.fleet.models import REFRESH, Models
from anomaly.fleet.remote import Files, LocalFiles, RemoteFiles, open_files

Writer = Callable[[Path, dict[str, Any]], None]
WHY = {
    "content": "not the one that the manifest names",
    "digest": "not the one that the manifest names",
    "other": "it is of the user 'bob'",
    "gone": "is gone",
    "link": "cannot be opened",
}


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def move(self) -> None:
        """Let it be time to look again."""
        self.now += REFRESH


def changed(store: Path, change: Callable[[dict[str, Any]], object], writer: Writer) -> None:
    """Change a store's manifest."""
    manifest = json.loads((store / "manifest.json").read_text())
    change(manifest)
    writer(store, manifest)


def test_models_are_found_by_the_manifest(fleet_models: Path) -> None:
    """Who is in the manifest has a model; names of numbers are known from training."""
    models = Models(LocalFiles(fleet_models))
    stored = models.find("alice")
    assert stored is not None
    assert stored.model.card.user == "alice"
    assert stored.version == 1
    assert models.find("alice") is stored
    assert models.find("mallory") is None
    assert models.identities()[0]["ws1"]["1000"] == "alice"


def test_the_least_used_models_go(fleet_models: Path) -> None:
    """Models take no more room than they may, but for the one at hand."""
    models = Models(LocalFiles(fleet_models), room=1)
    first = models.find("alice")
    assert models.find("alice") is first
    assert models.find("bob") is not None
    assert models.find("alice") is not first


def test_a_newer_manifest_is_taken_over(fleet_models: Path, manifest_writer: Writer) -> None:
    """What the manifest says is looked at again, at most every few seconds; a broken one changes nothing."""
    clock = Clock()
    models = Models(LocalFiles(fleet_models), clock=clock)
    before = models.manifest
    changed(fleet_models, lambda manifest: manifest["models"].pop("bob"), manifest_writer)
    models.refresh()
    assert models.manifest is before
    clock.move()
    models.refresh()
    assert models.find("bob") is None
    manifest_writer(fleet_models, {"schema": 99})
    clock.move()
    models.refresh()
    assert models.stale
    assert models.find("alice") is not None
    (fleet_models / "manifest.json").unlink()
    clock.move()
    models.refresh()
    assert models.stale


@pytest.mark.parametrize("harm", ["content", "digest", "other", "gone", "link"])
def test_a_model_that_is_not_the_one_is_refused(fleet_models: Path, manifest_writer: Writer, harm: str) -> None:
    """A model must be what the manifest says, the key's own, and no link; else it is refused for good."""
    file = fleet_models / "alice" / "1.safetensors"
    sound = file.read_bytes()
    if harm == "content":
        file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    elif harm == "digest":
        changed(fleet_models, lambda m: m["models"]["alice"].update(sha256="0" * 64), manifest_writer)
    elif harm == "other":
        shutil.copy(fleet_models / "bob" / "1.safetensors", file)
        changed(
            fleet_models,
            lambda m: m["models"]["alice"].update(sha256=m["models"]["bob"]["sha256"]),
            manifest_writer,
        )
    elif harm == "gone":
        file.unlink()
    else:
        file.rename(fleet_models / "elsewhere")
        file.symlink_to(fleet_models / "elsewhere")
    models = Models(LocalFiles(fleet_models))
    assert models.find("alice") is None
    assert re.fullmatch(f"alice: .*{WHY[harm]}.*", models.refusal("alice"))
    assert models.find("bob") is not None
    file.unlink(missing_ok=True)
    file.write_bytes(sound)
    assert models.find("alice") is None


@pytest.mark.parametrize(
    "place", ["../alice/1.safetensors", "/etc/passwd", "alice/1", "bob/1.safetensors", "alice/x"]
)
def test_a_manifest_leads_nowhere_else(fleet_models: Path, manifest_writer: Writer, place: str) -> None:
    """A manifest that names a file outside its key's directory is refused."""
    changed(fleet_models, lambda manifest: manifest["models"]["alice"].update(file=place), manifest_writer)
    with pytest.raises(ModelRefused, match="not in its place"):
        Models(LocalFiles(fleet_models))


def test_a_manifest_is_no_link(fleet_models: Path) -> None:
    """Nobody is led to a manifest that lies elsewhere; one that comes to be a link later changes nothing."""
    clock = Clock()
    models = Models(LocalFiles(fleet_models), clock=clock)
    manifest = fleet_models / "manifest.json"
    manifest.rename(fleet_models / "elsewhere")
    manifest.symlink_to("elsewhere")
    with pytest.raises(ModelRefused, match="cannot be opened"):
        Models(LocalFiles(fleet_models))
    clock.move()
    models.refresh()
    assert models.stale
    assert models.find("alice") is not None


@pytest.mark.parametrize("size", [0, 1, 300])
def test_a_manifest_that_is_cut_changes_nothing(fleet_models: Path, size: int) -> None:
    """At the start it is refused, with what to do; later the one before is still good."""
    clock = Clock()
    models = Models(LocalFiles(fleet_models), clock=clock)
    manifest = fleet_models / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:size])
    with pytest.raises(ModelRefused, match="anomaly fleet train"):
        Models(LocalFiles(fleet_models))
    clock.move()
    models.refresh()
    assert models.stale
    assert models.find("alice") is not None


def test_without_a_manifest_there_are_no_models(tmp_path: Path) -> None:
    """Who names a directory without a manifest, none or a file is told which it is, and what makes one."""
    (tmp_path / "file").touch()
    for where in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(
            UnknownUser, match=rf"^{where} holds no models .* anomaly fleet train --from LOGS --models {where}$"
        ):
            Models(LocalFiles(where))


def test_a_directory_that_anybody_may_write_is_refused(fleet_models: Path) -> None:
    """What is not to be trusted locally is not to be trusted here."""
    fleet_models.chmod(0o777)
    with pytest.raises(ModelRefused, match="not to be trusted"):
        Models(LocalFiles(fleet_models))


def test_the_background_is_checked_too(
    fleet_models: Path, crowd_models: Path, publisher: Callable[..., Path], manifest_writer: Writer, tmp_path: Path
) -> None:
    """There is a background where the manifest names one that is sound."""
    changed(fleet_models, lambda manifest: manifest.update(background=None), manifest_writer)
    assert Models(LocalFiles(fleet_models)).background is None
    store = publisher(crowd_models, tmp_path / "crowd")
    models = Models(LocalFiles(store))
    assert models.background is not None
    assert models.background is models.background
    (store / "background.1.safetensors").write_bytes(b"no background")
    broken = Models(LocalFiles(store))
    assert broken.background is None
    assert broken.stale


def test_addresses(fleet_models: Path) -> None:
    """A path and a file: address are this machine's; anything else is pyarrow's, which reads the same."""
    assert isinstance(open_files(str(fleet_models)), LocalFiles)
    assert isinstance(open_files(f"file://{fleet_models}"), LocalFiles)
    remote: Files = RemoteFiles(f"file://{fleet_models}")
    assert Models(remote).find("alice") is not None
    assert remote.read("manifest.json") == open_files(str(fleet_models)).read("manifest.json")
    with pytest.raises(FileNotFoundError):
        remote.read("nothing")
