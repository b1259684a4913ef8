"""A file written in one step: whoever reads it finds the old content or the new, whole."""

from __future__ import annotations

import os
from contextlib import suppress


def replace(folder: int, name: str, data: bytes, *, temporary: str, lasting: bool) -> None:
    """Write a file beside its place and rename it there, for its owner alone; raises OSError.

    Parameters
    ----------
    folder
        Descriptor of the directory that both names are in: nothing that is put in its way leads elsewhere.
    name, data
        The file's name and content.
    temporary
        Name to write under; what a process that was killed has left under it goes.
    lasting
        Whether to wait until the content is on the disk. Else, after a power failure, the file may be empty.
    """
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(descriptor)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
