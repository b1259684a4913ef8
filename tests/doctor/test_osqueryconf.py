"""What osquery is told, read as osquery reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.doctor.osqueryconf import LARGEST, flags_of, look, parse

ROOT = Path(__file__).parents[2]


def test_the_shipped_files_are_understood() -> None:
    """Comments, continued lines and flags of conf/ are read; the pack has its place in /etc."""
    osquery = look(ROOT / "conf/osquery.conf", ROOT / "conf/osquery.flags")
    assert (osquery.conf, osquery.flags, osquery.misplaced) == (None, None, ())
    assert osquery.settings["logger_path"] == "/var/log/osquery"
    assert osquery.on("audit_allow_config", default=False)
    assert not osquery.on("disable_audit", default=True)
    assert len(parse((ROOT / "conf/user-behavior.conf").read_bytes())["queries"]) == 12


def test_packs_are_read_wherever_they_are(tmp_path: Path) -> None:
    """A pack within the configuration, a file, a pattern, and files beside it, all give their queries."""
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.pack").write_text(
            json.dumps({"queries": {name: {"query": "SELECT 1", "interval": "60"}}})
        )
    conf = tmp_path / "osquery.conf"
    conf.write_text(
        '{"schedule": {"own": {"query": "SELECT 1", "interval": 10, "snapshot": true}}, "packs": {'
        f'"a": "{tmp_path}/one.pack", "*": "{tmp_path}/t*.pack", "gone": "{tmp_path}/gone.pack",'
        '"b": {"queries": {"within": {"query": "SELECT 1"}}}}}'
    )
    (tmp_path / "osquery.conf.d").mkdir()
    (tmp_path / "osquery.conf.d/more.conf").write_text('{"schedule": {"beside": {"query": "SELECT 2"}}}')
    osquery = look(conf, tmp_path / "none")
    assert {(query.name, query.interval, query.snapshot) for query in osquery.queries} == {
        ("own", 10.0, True),
        ("one", 60.0, False),
        ("two", 60.0, False),
        ("three", 60.0, False),
        ("within", None, False),
        ("beside", None, False),
    }
    assert osquery.broken == (f"{tmp_path}/gone.pack is left out: there is no such file.",)


def test_queries_of_other_systems_are_left_out(tmp_path: Path) -> None:
    """A platform that is not this one's, of a pack or of a query, is not asked here."""
    conf = tmp_path / "osquery.conf"
    conf.write_text(
        '{"schedule": {"a": {"query": "SELECT 1", "platform": "darwin"},'
        ' "b": {"query": "SELECT 1", "platform": "darwin,linux"}},'
        ' "packs": {"p": {"platform": "windows", "queries": {"c": {"query": "SELECT 1"}}}}}'
    )
    assert look(conf, conf).scheduled() == {"b"}


def test_options_win_over_flags_but_for_those_of_the_command_line(tmp_path: Path) -> None:
    """Options are laid over the flags; those that osquery takes from the flags alone are named."""
    conf, flags = tmp_path / "c", tmp_path / "f"
    conf.write_text('{"options": {"logger_plugin": "tls", "disable_audit": false}}')
    flags.write_text("--logger_plugin=filesystem\n--disable_audit=true\n# --no\nnothing\n")
    osquery = look(conf, flags)
    assert osquery.settings == {"logger_plugin": "filesystem", "disable_audit": "false"}
    assert osquery.misplaced == ("logger_plugin",)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is no JSON: "),
        (b"[1]", "it is no JSON object"),
        (b"[" * 100_000, "it is nested too deep"),
        (b"\xff\xfe\x00", "it is no JSON: "),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_what_is_no_configuration_is_said(tmp_path: Path, content: bytes, why: str) -> None:
    """Broken, binary and endlessly nested files are told, and never raise."""
    conf = tmp_path / "osquery.conf"
    conf.write_bytes(content)
    (reason,) = look(conf, tmp_path / "none").broken
    assert reason.startswith(f"{conf} is left out: {why}")


def test_pipes_devices_loops_and_floods_are_not_read(tmp_path: Path) -> None:
    """What is no regular file of a decent size is left alone, and nothing waits for it."""
    places = {name: tmp_path / name for name in ("pipe", "device", "loop", "large", "folder")}
    os.mkfifo(places["pipe"])
    places["device"].symlink_to("/dev/zero")
    places["loop"].symlink_to(places["loop"])
    places["folder"].mkdir()
    with places["large"].open("wb") as file:
        file.truncate(LARGEST + 1)
    reasons = {}
    for name, path in places.items():
        osquery = look(path, path)
        assert osquery.conf is not None
        assert osquery.conf == osquery.flags
        reasons[name] = osquery.conf.reason
    assert reasons == {
        "pipe": "it is no regular file",
        "device": "it is no regular file",
        "loop": "it cannot be opened: Too many levels of symbolic links",
        "large": "it is larger than 4,096 KiB",
        "folder": "it is no regular file",
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("options", "packs", "schedule", "queries", "query", "interval", "platform", "*", "a")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@given(_JSON)
def test_any_json_is_looked_at(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    """Whatever types stand where, what is understood is taken and nothing raises."""
    conf = tmp_path_factory.getbasetemp() / "any.conf"
    conf.write_text(json.dumps(content))
    for query in look(conf, conf).queries:
        assert isinstance(query.sql, str)


@given(st.binary(max_size=300))
def test_any_bytes_are_flags(data: bytes) -> None:
    """Flags are read from any bytes; each has a name without its dashes."""
    assert all(not name.startswith(" ") for name in flags_of(data))
