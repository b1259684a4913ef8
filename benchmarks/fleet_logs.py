"""What the fleet is measured on: a simulated user's life given to many users of many hosts, and models of them.

    python -m benchmarks.fleet_logs MODELS OUT NUMBER

stores the models of the simulated users once more, by turns, for users ``u0``, ``u1`` and so on, as a fleet's.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

PEOPLE = ("alice", "bob", "carol")
"""Of the simulated log."""


def lives(log: Path, skip: int) -> dict[str, list[bytes]]:
    """Return what each person does in the log after its first so many lines."""
    found: dict[str, list[bytes]] = {person: [] for person in PEOPLE}
    with log.open("rb") as file:
        for line in islice(file, skip, None):
            if (person := _person(line)) is not None:
                found[person].append(line)
    return found


def learned(log: Path, out: Path, most: int) -> None:
    """Write what the people do in the log's first so many lines, as the first users."""
    with log.open("rb") as file, out.open("wb") as written:
        for line in islice(file, most):
            if (person := _person(line)) is not None:
                written.write(_given(line, PEOPLE.index(person), 0))


def slices(log: Path, skip: int, users: int, each: int, heavy: int = 1) -> Iterator[tuple[str, bytes]]:
    """Give, in turn, what each user's host ships: file name and content, of so many actions each.

    The first user does so many times as much (``heavy``). Who is through with the log begins anew, a year later.
    """
    lived = lives(log, skip)
    for turn in range(1_000_000):
        for user in range(users):
            own = lived[PEOPLE[user % len(PEOPLE)]]
            count = each * (heavy if not user else 1)
            lines = [
                (place // len(own), own[place % len(own)]) for place in range(turn * count, (turn + 1) * count)
            ]
            yield f"{turn:05d}-u{user}.log", b"".join(_given(line, user, year) for year, line in lines)


def _person(line: bytes) -> str | None:
    return next((person for person in PEOPLE if b'"username":"%s"' % person.encode() in line), None)


def _given(line: bytes, user: int, year: int) -> bytes:
    """Return a line as another user's, on the user's own host."""
    record = json.loads(line)
    record["hostIdentifier"] = f"h{user}"
    record["unixTime"] = int(record["unixTime"]) + year * 365 * 86_400
    record["columns"]["username"] = f"u{user}"
    record["columns"].pop("uid", None)
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def arrive(folder: Path, name: str, content: bytes) -> None:
    """Let a file arrive by renaming."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f".{name}").write_bytes(content)
    (folder / f".{name}").rename(folder / name)


def clone(models: Path, out: Path, number: int) -> None:
    """Store the people's models for many users, with a manifest; the same directory is a local store, too."""
    from msgspec.structs import replace  # noqa: PLC0415 - only here

    from anomaly.store import Store  # noqa: PLC0415 - the same
    from anomaly.store_layout import encode_user  # noqa: PLC0415 - the same

    store, entries = Store(models), {}
    out.mkdir(mode=0o700, parents=True)
    for place in range(number):
        stored = store.load(f"u{place % len(PEOPLE)}")
        assert stored is not None  # noqa: S101 - they were trained
        stored.model.card = replace(stored.model.card, user=f"u{place}")
        data = stored.model.to_bytes()
        folder = out / encode_user(f"u{place}")
        folder.mkdir(mode=0o700)
        (folder / "1.safetensors").write_bytes(data)
        (folder / "current").write_text("1\n")
        digest = hashlib.sha256(data).hexdigest()
        entries[f"u{place}"] = {"file": f"u{place}/1.safetensors", "sha256": digest, "actions": 1, "last": 1}
    manifest = {"schema": 1, "version": 1, "algorithm": "OCSVM", "models": entries}
    (out / "manifest.json").write_text(json.dumps(manifest))


if __name__ == "__main__":
    os.umask(0o077)
    clone(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
