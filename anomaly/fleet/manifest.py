"""What a fleet's model store holds: one file that is replaced as a whole, after all files that it names.

A store of a fleet is a directory of any file system that Hadoop knows. Who reads it believes the manifest alone:
a model file that it does not name is no model yet, or none any more.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec

from anomaly.errors import ModelRefused
from anomaly.resultjson import MAX_TIME
from anomaly.store_layout import SUFFIX, encode_user

MANIFEST = "manifest.json"
SCHEMA = 1

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Version = Annotated[int, msgspec.Meta(ge=1, lt=10**9)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_NUMBER = "([1-9][0-9]{0,8})"


class Common(msgspec.Struct, frozen=True):
    """The background model: what everyone does."""

    file: str
    """Relative to the store, with ``/``."""
    sha256: _Digest


class Entry(Common, frozen=True):
    """The model of one key."""

    actions: _Count
    last: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME)]
    """Time of the last action learned from, in seconds since 1970 UTC."""


class Manifest(msgspec.Struct, frozen=True):
    """Which models there are.

    Examples
    --------
    >>> Manifest.from_bytes(Manifest(3, "OCSVM").to_bytes(), "it").version
    3
    """

    version: _Version
    """One more with each training."""
    algorithm: str
    models: dict[str, Entry] = {}
    """By key: ``alice``, or ``alice@web``; also those that earlier trainings made and the last one did not."""
    background: Common | None = None
    failed: dict[str, str] = {}
    """Keys that the last training could not learn, and why; they may have an earlier model."""
    too_few: dict[str, str] = {}
    """Keys whose actions did not suffice for the last training; they may have an earlier model."""
    schema: int = SCHEMA

    def to_bytes(self) -> bytes:
        """Return the file's content; equal manifests give equal bytes."""
        # Not msgspec's own: a name from a log may hold half a surrogate pair, which only escapes can carry.
        return (json.dumps(msgspec.to_builtins(self), sort_keys=True, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Manifest:
        """Read the content; ``name`` is what to call it in an error.

        Raises
        ------
        ModelRefused
            Where it is no manifest, of another schema, or names a file that is not in its key's place.
        """
        try:
            found: Any = json.loads(data)
            if not isinstance(found, dict) or found.get("schema") != SCHEMA:
                raise ValueError(f"this program reads manifests of schema {SCHEMA}")
            manifest = msgspec.convert(found, cls)
            _check(manifest)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise ModelRefused(f"{name} is refused: {error}. Make a new one with: anomaly fleet train") from error
        return manifest


def model_file(key: str, version: int) -> str:
    """Give the place of a model in its store.

    >>> model_file("alice@web", 3)
    'alice%40web/3.safetensors'
    """
    return f"{encode_user(key)}/{version}{SUFFIX}"


def background_file(version: int) -> str:
    """Give the place of a background model in its store; no directory of a user is called like that.

    >>> background_file(3)
    'background.3.safetensors'
    """
    return f"background.{version}{SUFFIX}"


def _check(manifest: Manifest) -> None:
    """Raise ValueError where a file is named that is not where it belongs: it might be anywhere."""
    suffix = re.escape(SUFFIX)
    for key, entry in manifest.models.items():
        if not re.fullmatch(f"{re.escape(encode_user(key))}/{_NUMBER}{suffix}", entry.file):
            raise ValueError(f"the file of the model {key[:80]!a} is not in its place")
    common = manifest.background
    if common is not None and not re.fullmatch(rf"background\.{_NUMBER}{suffix}", common.file):
        raise ValueError("the file of the background is not in its place")
