"""USB devices and kernel modules."""

from __future__ import annotations

from pathlib import Path

from anomaly.recording.devices import modules, usb


def test_a_usb_device_tells_of_itself(tmp_path: Path) -> None:
    """What it leaves out is empty, what it makes up is escaped, and an interface is no device."""
    stick = tmp_path / "sys/bus/usb/devices/1-2"
    stick.mkdir(parents=True)
    (stick.parent / "1-2:1.0").mkdir()
    said = {"idVendor": b"0781\n", "idProduct": b"5567\n", "product": b"Blade\x1b[0m \xff\n", "serial": b"4C53\n"}
    for name, value in said.items():
        (stick / name).write_bytes(value)
    assert [dict(row) for row in usb(tmp_path)] == [
        {"model": "Blade\\x1B[0m \\xFF", "model_id": "5567", "serial": "4C53", "vendor": "", "vendor_id": "0781"}
    ]


def test_modules_are_named(tmp_path: Path) -> None:
    """The first word of each line is a module."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/modules").write_text("dm_crypt 65536 0 - Live 0x0\n\nnvme 61440 2 - Live 0x0\n")
    assert [dict(row) for row in modules(tmp_path)] == [{"name": "dm_crypt"}, {"name": "nvme"}]


def test_a_machine_without_either_has_no_rows(tmp_path: Path) -> None:
    """A kernel without USB or modules is no error."""
    assert list(usb(tmp_path)) == []
    assert list(modules(tmp_path)) == []
