"""torture.py with the one rotation it cannot do: osquery's own, whose archives are zstd.

    python -m benchmarks.osquery_rotation torture.py [its arguments]

Its arguments and its result are torture.py's. What is exchanged is how its writer rotates, and how it opens
the files in which it looks afterwards for the lines that are still on disk.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path
from typing import IO, Any

from backports import zstd

_ARCHIVE = re.compile(r"\.([0-9]+)\.zst")


def main() -> None:
    """Run the script named first with the rest of the arguments."""
    script, *words = sys.argv[1:]
    torture = loaded(Path(script))
    torture.Writer.rotate = rotate
    torture.open = opened  # the script's functions find it before the built-in one
    sys.argv = [script, *words]
    torture.main()


def loaded(script: Path) -> Any:  # noqa: ANN401 - a module that no type checker can know
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location("torture", script)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{script} is no Python script.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rotate(writer: Any) -> None:  # noqa: ANN401 - torture.py's Writer
    """Rotate as osquery does; the next line creates the log (plugins/logger/logrotate.cpp).

    The compressed archives go up by one, ``X.1`` becomes ``X.2.zst``, and the log is renamed over ``X.1``: from
    the end of the compression to that moment the same lines are there twice.
    """
    os.close(writer.fd)
    writer.fd = None
    log = Path(writer.log)
    for number in sorted(_archives(log), reverse=True):
        _numbered(log, number).rename(_numbered(log, number + 1))
    newest = log.with_name(f"{log.name}.1")
    if newest.exists():
        with newest.open("rb") as plain, zstd.open(_numbered(log, 2), "wb") as packed:
            shutil.copyfileobj(plain, packed)
    log.replace(newest)


def opened(path: str, mode: str = "r") -> IO[Any]:
    """Open a file as the built-in function does, an archive of zstd uncompressed."""
    if path.endswith(".zst"):
        return zstd.open(path, mode)  # type: ignore[no-any-return, call-overload]
    return builtins.open(path, mode)  # noqa: PTH123 - this is what it stands in for


def _archives(log: Path) -> list[int]:
    rests = (path.name.removeprefix(log.name) for path in log.parent.iterdir())
    return [int(found[1]) for rest in rests if (found := _ARCHIVE.fullmatch(rest))]


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}.zst")


if __name__ == "__main__":
    main()
