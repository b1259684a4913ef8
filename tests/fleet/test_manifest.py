"""Manifests come back as they were, and none of them leads out of its store."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import ModelRefused
from anomaly.fleet.manifest import Common, Entry, Manifest, background_file, model_file

DIGEST = "ab" * 32
NAMES = st.text(st.characters(codec=None), max_size=200)


def entry(key: str, **changes: object) -> dict[str, object]:
    """Give a manifest with one model, as JSON has it, and some things in it otherwise."""
    model = {"file": model_file(key, 1), "sha256": DIGEST, "actions": 500, "last": 7, **changes}
    return {"schema": 1, "version": 1, "algorithm": "OCSVM", "models": {key: model}}


@given(NAMES, st.integers(1, 10**9 - 1), st.text(max_size=50))
def test_a_manifest_comes_back_as_it_was(key: str, version: int, reason: str) -> None:
    """Whatever a user is called, half a surrogate pair included."""
    manifest = Manifest(
        version,
        "OCSVM",
        {key: Entry(model_file(key, version), DIGEST, 500, 1_793_000_000)},
        Common(background_file(version), DIGEST),
        {key: reason},
    )
    assert Manifest.from_bytes(manifest.to_bytes(), "it") == manifest


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "../alice/1.safetensors",
        "alice/../../1.safetensors",
        "bob/1.safetensors",
        "alice/0.safetensors",
        "alice/1.safetensors\n",
        "file:/alice/1.safetensors",
        "",
    ],
)
def test_a_file_out_of_its_place_is_refused(file: str) -> None:
    """A model lies in its key's directory, or nowhere."""
    with pytest.raises(ModelRefused, match="the file of the model 'alice' is not in its place"):
        Manifest.from_bytes(json.dumps(entry("alice", file=file)).encode(), "it")


@pytest.mark.parametrize("file", ["../background.1.safetensors", "background.safetensors", "alice/1.safetensors"])
def test_a_background_out_of_its_place_is_refused(file: str) -> None:
    """So does the background."""
    data = entry("alice") | {"background": {"file": file, "sha256": DIGEST}}
    with pytest.raises(ModelRefused, match="the file of the background is not in its place"):
        Manifest.from_bytes(json.dumps(data).encode(), "it")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b'{"schema": 2, "version": 1, "algorithm": "OCSVM"}',
        b'{"schema": 1, "algorithm": "OCSVM"}',
        b'{"schema": 1, "version": 0, "algorithm": "OCSVM"}',
        json.dumps(entry("alice", sha256="ab")).encode(),
        json.dumps(entry("alice", actions=-1)).encode(),
        json.dumps(entry("alice", last=10**30)).encode(),
        json.dumps(entry("alice") | {"failed": {"bob": 7}}).encode(),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    """It is one error, with what to do."""
    with pytest.raises(ModelRefused, match=r"^it is refused: .*anomaly fleet train$"):
        Manifest.from_bytes(data, "it")


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    """Anything is a manifest or refused."""
    with pytest.raises(ModelRefused):
        Manifest.from_bytes(data, "it")
