"""What a hostile host, or a broken one, may ship: the query goes on, and says what it did not read."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from anomaly.cli_fleet_score import score

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.conftest import Event

NAMES = ["../../etc/passwd", "a/b", "nul\0nul", "x" * (1 << 20), "\ud800", "", "m:alice", "\x1b[2J"]


def ship(folder: Path, lines: list[bytes], event: Event) -> int:
    """Write files of every kind, and return how many lines can be scored, but for those of cut archives."""
    folder.mkdir()
    plain = b"".join(line + b"\n" for line in lines[:50])
    (folder / "sound.log").write_bytes(plain)
    for suffix, pack in ((".gz", gzip.compress), (".zst", zstd.compress)):
        (folder / f"whole.log{suffix}").write_bytes(pack(plain))
        packed = pack(b"\n".join(lines[50:]))
        (folder / f"cut.log{suffix}").write_bytes(packed[: len(packed) // 2])
    (folder / "no.log.gz").write_bytes(plain)
    (folder / "empty.log").touch()
    (folder / "empty.log.gz").touch()
    os.mkfifo(folder / "pipe.log")
    (folder / "nowhere.log").symlink_to(folder / "nothing")
    (folder / "x.log" / "y.log.gz").mkdir(parents=True)
    (folder / "x.log" / "y.log.gz" / "a %41#?b.log").write_bytes(plain)
    (folder / "names.log").write_bytes(b"\n".join(event(name, command="id") for name in NAMES))
    long = event(command="x" * ((1 << 20) - 400)), event(command="x" * (1 << 20)), b"x" * (3 << 20)
    broken = b"\xff\xfe\x00", b'{"name": ', b"[" * 100_000, b"null", b"\0" * 1000
    (folder / "lines.log").write_bytes(b"\n".join([*long, *broken, event(command="\udcff")]))
    return 4 * 50 + len(NAMES) - 1 + 2


def forget(checkpoint: Path, out: Path) -> None:
    """Leave the first batch as a kill before its commit does."""
    for folder in (checkpoint / "commits", out / "_spark_metadata"):
        for name in ("0", ".0.crc"):
            (folder / name).unlink()


def test_no_file_ends_the_query(
    spark: SparkSession, fleet_models: Path, lines: list[bytes], event: Event, tmp_path: Path
) -> None:
    """What is readable is scored, and the rest is counted, and named; a file that has vanished ends nothing."""
    expected = ship(tmp_path / "in", lines, event)
    words = ["--from", tmp_path / "in", "--models", fleet_models, "--to", tmp_path / "out"]
    words += [
        "--checkpoint",
        tmp_path / "checkpoint",
        "--metrics",
        tmp_path / "metrics",
        "--trigger",
        "available-now",
    ]
    ended = CliRunner().invoke(score, list(map(str, words)))
    assert ended.exit_code == 0, ended.output
    found = [json.loads(row.value) for row in spark.read.text(str(tmp_path / "out")).collect()]
    (row,) = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    cut = hashlib.sha256(lines[50]).hexdigest()[:16]
    read = Counter(score["id"].partition(":")[0] == cut for score in found)
    assert read[False] == expected
    assert read[True] > 100  # lines of both
    assert row["actions"] == len(found)
    assert row["skipped"] == {
        "empty": 1,
        "not_json": 2,
        "truncated": 3,
        "not_a_result": 1,
        "too_long": 3,
        "broken_archive": 3,
    }
    names = ["cut.log.gz", "cut.log.zst", "no.log.gz"]
    assert row["files"] == [f"broken_archive file:{tmp_path}/in/{name}" for name in names]
    said = ended.output
    for name in names:
        assert f"Batch 0: file:{tmp_path}/in/{name} is cut or broken: it was read up to there\n" in said

    forget(tmp_path / "checkpoint", tmp_path / "out")
    (tmp_path / "in" / "sound.log").unlink()
    ended = CliRunner().invoke(score, list(map(str, words)))
    assert ended.exit_code == 0, ended.output
    again = json.loads((tmp_path / "metrics").read_text().splitlines()[1])
    assert (again["batch"], again["actions"]) == (0, row["actions"] - 50)
