"""Files that are waiting to be read, held open: who falls behind must not lose what is deleted meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anomaly.errors import LogError
from anomaly.sources.archive import Member
from anomaly.sources.logfile import LogFile, open_log

MOST = 32
"""Files held at most: each keeps its blocks on disk."""


class Held:
    """The files that have stood at a log's path since the one that is being read, oldest first."""

    def __init__(self) -> None:
        self._files: list[LogFile] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    def hold(self, log: Path, device: int, inode: int) -> None:
        """Open what stands at the log's path, unless it is held already."""
        if len(self._files) >= MOST or any((f.device, f.inode) == (device, inode) for f in self._files):
            return
        try:
            self._files.append(open_log(log))
        except LogError:
            return  # whoever reads it counts that it could not be read

    def next_deleted(self, members: Sequence[Member]) -> LogFile | None:
        """Give away the oldest file, if it has been deleted and nothing on disk holds what was in it."""
        while self._files and self._files[0].deleted:
            file = self._files.pop(0)
            file.rewind()  # it may have been empty when it was opened
            if file.size and not any(_begins_alike(member, file) for member in members):
                return file
            file.close()
        return None

    def release(self, device: int, inode: int) -> None:
        """Close a file that is now read by its name, and those before it, which have been read."""
        places = [(file.device, file.inode) for file in self._files]
        if (device, inode) in places:
            for _ in range(places.index((device, inode)) + 1):
                self._files.pop(0).close()

    def close(self) -> None:
        """Close them all."""
        while self._files:
            self._files.pop().close()


def _begins_alike(member: Member, file: LogFile) -> bool:
    """Whether a deleted file lies there compressed."""
    return member.fingerprint == file.fingerprint != "" and member.head.startswith(file.head)
