"""Whatever a writer, a rotator and a killer do in turn, each line is handed on: a model says which must be."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anomaly.sources.interface import Position
from anomaly.sources.tail import LogSource

PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd.compress}


class Log:
    """A log as its writer and its rotator see it; lines are numbers, none of which comes twice."""

    def __init__(self, folder: Path, naming: str, pack: str) -> None:
        self.path = folder / "X"
        self.olddir = folder / "old" if naming == "olddir" else None
        self.naming, self.pack = naming, pack
        self.written = 0
        self.generation = 0
        self.slow: tuple[int, bytes] | None = None
        """A descriptor, and the rest of a line that is half written to it."""
        if self.olddir:
            self.olddir.mkdir()
        self.create()

    def create(self) -> None:
        """Make the log where it is missing, as the next write would."""
        if self.naming == "symlink" and not self.path.is_symlink():
            self.turn()
        self.path.touch()

    def write(self, count: int) -> None:
        """Append whole lines, each opened for anew, as osquery does."""
        self.finish()
        for _ in range(count):
            self.create()
            with self.path.open("ab") as file:
                file.write(self.line())

    def line(self) -> bytes:
        """Give the next line."""
        self.written += 1
        return f"{self.written:06}\n".encode()

    def halve(self, cut: int) -> None:
        """Write a part of a line, and keep the file open."""
        self.finish()
        self.create()
        line = self.line()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, line[:cut])
        self.slow = descriptor, line[cut:]

    def finish(self) -> None:
        """Write the rest of it, into whatever the file is called now."""
        if self.slow is not None:
            descriptor, rest = self.slow
            os.write(descriptor, rest)
            os.close(descriptor)
            self.slow = None

    def rename(self) -> None:
        """Rotate by renaming; the next write creates the log."""
        self.generation += 1
        if self.naming == "symlink":
            self.turn()
        elif self.path.exists():
            self.path.rename(self.destination())

    def copy_and_truncate(self) -> None:
        """Rotate as copytruncate does."""
        self.finish()
        self.generation += 1
        shutil.copyfile(self.path, self.destination())
        os.truncate(self.path, 0)

    def turn(self) -> None:
        """Point the link to a new file."""
        target = self.path.with_name(f"X.gen{self.generation}")
        target.touch()
        link = self.path.with_name("link")
        link.symlink_to(target.name)
        link.rename(self.path)

    def destination(self) -> Path:
        """Make room for an archive, and give its path."""
        folder = self.olddir or self.path.parent
        if self.naming == "date":
            return folder / f"X-20261101-{self.generation}"
        archives = {int(path.name.split(".")[1]): path for path in folder.glob("X.[0-9]*")}
        for number in sorted(archives, reverse=True):
            old, suffix = archives[number], "" if number == 0 else f".{self.pack}"
            new = folder / f"X.{number + 1}{suffix}"
            if old.suffix != suffix:  # osquery's own way: X.1 is compressed into X.2.zst, and stays until then
                new.write_bytes(PACK[self.pack](old.read_bytes()))
                if self.slow is None:
                    old.unlink()
                else:  # a compressor that knows nothing of a slow writer would lose his line
                    new.unlink()
                    old.rename(folder / f"X.{number + 1}")
            else:
                old.rename(new)
        return folder / "X.1"

    def content(self) -> set[int]:
        """Give the whole lines in the live log."""
        return {int(line) for line in self.path.read_bytes().split(b"\n")[:-1]} if self.path.exists() else set()


class Following(RuleBasedStateMachine):
    """Writes, rotates, reads, stops and kills in any order."""

    @initialize(naming=st.sampled_from(["shift", "date", "olddir", "symlink"]), pack=st.sampled_from(sorted(PACK)))
    def begin(self, naming: str, pack: str) -> None:
        """Start with an empty log."""
        self.folder = Path(tempfile.mkdtemp())
        self.log = Log(self.folder, naming, pack)
        self.seen: Counter[int] = Counter()
        self.torn: list[bytes] = []
        self.repeatable: Counter[int] = Counter()
        self.lost: set[int] = set()
        self.since: list[int] = []
        self.saved = Position()
        self.start(self.saved)

    def start(self, position: Position) -> None:
        """Open the source where a checkpoint says."""
        self.source = LogSource(self.log.path, start=position, follow=True, olddir=self.log.olddir)

    def take(self, limit: int) -> int:
        """Read once."""
        lines = self.source.read(limit, 0)
        for line in lines:
            if line.data.isdigit() and len(line.data) == 6:
                self.seen[int(line.data)] += 1
                self.since.append(int(line.data))
            else:
                self.torn.append(line.data)
        return len(lines)

    @rule(count=st.integers(1, 400))
    def write(self, count: int) -> None:
        """Write whole lines."""
        self.log.write(count)

    @rule(cut=st.integers(1, 6))
    def write_half(self, cut: int) -> None:
        """Write a line's beginning."""
        self.log.halve(cut)

    @rule()
    def rename(self) -> None:
        """Rotate by renaming."""
        self.log.rename()

    @rule()
    def rename_and_create(self) -> None:
        """Rotate by renaming, and create the log at once."""
        self.log.rename()
        self.log.create()

    @precondition(lambda self: self.log.path.exists() and self.log.naming != "symlink")
    @rule()
    def copytruncate(self) -> None:
        """Rotate by copying."""
        self.log.copy_and_truncate()

    @precondition(lambda self: self.log.path.exists())
    @rule(again=st.booleans())
    def truncate(self, *, again: bool) -> None:
        """Cut the log; what was not read may be lost, and no more than that."""
        self.log.finish()
        self.lost |= self.log.content() - self.seen.keys()
        os.truncate(self.log.path, 0)
        if again:
            self.log.write(40)

    @precondition(lambda self: self.log.path.exists() and self.log.naming != "symlink")
    @rule()
    def delete(self) -> None:
        """Delete the log; the same."""
        self.log.finish()
        self.lost |= self.log.content() - self.seen.keys()
        self.log.path.unlink()

    @rule(limit=st.integers(1, 600))
    def read(self, limit: int) -> None:
        """Read something, and do not say so."""
        self.take(limit)

    @rule()
    def read_all(self) -> None:
        """Read what there is."""
        while self.take(100):
            pass

    @rule()
    def checkpoint(self) -> None:
        """Remember how far it came."""
        self.saved, self.since = self.source.position, []

    @rule()
    def stop(self) -> None:
        """Stop cleanly and start again."""
        self.checkpoint()
        self.source.close()
        self.start(self.saved)

    @rule()
    def kill(self) -> None:
        """Start again at the last checkpoint: what came after it may come again, and nothing else."""
        self.repeatable.update(self.since)
        self.since = []
        self.source.close()
        self.start(self.saved)

    @invariant()
    def nothing_is_torn(self) -> None:
        """Let no part of a line be handed on."""
        assert self.torn == []

    @invariant()
    def nothing_is_repeated_needlessly(self) -> None:
        """Let a line come again only where a kill forgot it."""
        assert all(count <= 1 + self.repeatable[line] for line, count in self.seen.items())

    def teardown(self) -> None:
        """Let the writer finish and read to the end: everything that was not destroyed has come."""
        if not hasattr(self, "folder"):
            return
        try:
            self.log.finish()
            self.log.create()
            for _ in range(20):
                self.read_all()
            expected = set(range(1, self.log.written + 1))
            assert expected - self.seen.keys() <= self.lost
            self.nothing_is_torn()
            self.nothing_is_repeated_needlessly()
        finally:
            self.source.close()
            shutil.rmtree(self.folder)


Following.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.usefixtures("_no_leaked_thread")
class TestFollowing(Following.TestCase):  # type: ignore[misc, valid-type]
    """Each line once, whatever happens."""
