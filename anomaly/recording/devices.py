"""What is plugged in, and what the kernel has loaded: ``usb_devices`` and ``kernel_modules``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anomaly.recording.rows import Row, row

_USB = {
    "vendor_id": "idVendor",
    "model_id": "idProduct",
    "vendor": "manufacturer",
    "model": "product",
    "serial": "serial",
}


def usb(root: Path = Path("/")) -> Iterator[Row]:
    """Give a row for each USB device. What a device says of itself is its maker's word, or an attacker's."""
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        columns = {column: _said(device / file) for column, file in _USB.items()}
        if columns["vendor_id"]:  # an interface has none
            yield row(**columns)


def modules(root: Path = Path("/")) -> Iterator[Row]:
    """Give a row for each module; a kernel without modules has none."""
    try:
        text = (root / "proc/modules").read_bytes()
    except FileNotFoundError:
        return
    for line in text.splitlines():
        if words := line.split(maxsplit=1):
            yield row(name=words[0].decode("utf-8", "surrogateescape"))


def _said(path: Path) -> str:
    with suppress(OSError):  # not every device says everything, and it may be pulled out just now
        return path.read_bytes().decode("utf-8", "surrogateescape").strip()
    return ""
