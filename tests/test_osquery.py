"""Every shape of a result line, and every way of being none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.identity import Identities
from anomaly.osquery import Action, Parser, Skipped, SkipReason
from anomaly.tables import KNOWN, query_of

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not on this machine")

EVENT: dict[str, Any] = {
    "name": "pack_user_behavior_processes",
    "hostIdentifier": "web-01",
    "calendarTime": "Thu Aug  6 07:06:40 2026 UTC",
    "unixTime": 1786000000,
    "epoch": 0,
    "counter": 3,
    "numerics": False,
    "decorations": {"host_uuid": "4C4C4544", "username": "carol"},
    "columns": {"name": "bash", "uid": "1000", "username": "alice"},
    "action": "added",
}
ACTION = Action(
    time=1786000000,
    host="web-01",
    user="alice",
    query="processes",
    verb="added",
    columns={"name": "bash", "uid": "1000", "username": "alice"},
)


def dump(value: object) -> bytes:
    """Write JSON as osquery does: compact, and UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def event(**changes: object) -> bytes:
    """Write the sample event with some fields changed, or left out where the value is ``...``."""
    return dump({key: value for key, value in (EVENT | changes).items() if value is not ...})


def parse(line: bytes) -> list[Action] | Skipped:
    """Parse one line, without the help of the system's user database."""
    return Parser(Identities(hostname="", lookup=lambda _: None)).parse(line)


def actions(line: bytes) -> list[Action]:
    """Parse a line that must be a result."""
    found = parse(line)
    assert isinstance(found, list), found
    return found


def skipped(line: bytes) -> SkipReason:
    """Parse a line that must not be a result."""
    found = parse(line)
    assert isinstance(found, Skipped), found
    assert len(found.detail) <= 80
    assert found.detail.isascii()
    return found.reason


class TestShapes:
    """The shapes osquery itself writes."""

    def test_event(self) -> None:
        """An event line is one action with every column of it."""
        assert parse(event()) == [ACTION]

    def test_batch(self) -> None:
        """A batch is its removed rows, then its added ones, whatever the order of its keys."""
        diff = {"added": [{"a": "1"}, {"a": "2"}], "removed": [{"a": "0"}]}
        found = actions(event(diffResults=diff, columns=..., action=...))
        assert [(a.verb, a.columns["a"]) for a in found] == [("removed", "0"), ("added", "1"), ("added", "2")]
        assert {(a.time, a.host, a.user, a.query) for a in found} == {(1786000000, "web-01", "carol", "processes")}

    def test_batch_with_text_for_an_empty_list(self) -> None:
        """Old versions and AWS write an empty list as an empty string."""
        line = event(diffResults={"removed": [{"a": "0"}], "added": ""}, columns=..., action=...)
        assert [a.verb for a in actions(line)] == ["removed"]

    @pytest.mark.parametrize(
        "rows",
        [
            {"diffResults": {"removed": [], "added": []}},
            {"diffResults": {"removed": "", "added": ""}},
            {"diffResults": ""},
            {"snapshot": [], "action": "snapshot"},
            {"snapshot": "", "action": "snapshot"},
        ],
    )
    def test_no_rows(self, rows: dict[str, Any]) -> None:
        """A result without rows reports no action."""
        assert skipped(event(**({"columns": ..., "action": ...} | rows))) is SkipReason.NO_ROWS

    def test_snapshot(self) -> None:
        """A snapshot is an action a row, and never a baseline though its counter is always 0."""
        found = actions(event(snapshot=[{"a": "1"}, {"a": "2"}], action="snapshot", columns=..., counter=0))
        assert [(a.verb, a.columns, a.baseline) for a in found] == [
            ("snapshot", {"a": "1"}, False),
            ("snapshot", {"a": "2"}, False),
        ]

    def test_snapshot_as_event(self) -> None:
        """With --logger_snapshot_event_type a snapshot row is an event whose action is snapshot."""
        (found,) = actions(event(action="snapshot", counter=0))
        assert (found.verb, found.baseline) == ("snapshot", False)

    def test_aws(self) -> None:
        """The line AWS loggers send, all text and with escaped slashes, reads as the original."""
        line = event(unixTime="1786000000", epoch="0", counter="3", numerics="false", log_type="result")
        assert parse(line.replace(b"bash", b"\\/bin\\/bash")) == parse(event().replace(b"bash", b"/bin/bash"))

    def test_only_columns_and_action(self) -> None:
        """All but the columns and the action may be missing."""
        line = dump({"columns": {"a": "b"}, "action": "removed"})
        assert parse(line) == [Action(0, "", "host:-", "", "removed", {"a": "b"})]

    def test_unknown_fields_are_ignored(self) -> None:
        """Fields of later versions, of any type, change nothing."""
        assert parse(event(novelty={"deep": [1, None]})) == [ACTION]

    def test_columns_named_like_fields(self) -> None:
        """A column called action, name or columns is a column."""
        row = {"action": "connect", "name": "x", "columns": "y", "unixTime": "1"}
        (found,) = actions(event(columns=row))
        assert (found.verb, found.query, found.time, found.columns) == ("added", "processes", 1786000000, row)


class TestValues:
    """Columns are text, whatever the line writes."""

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("1000", b'"1000"'),
            ("1000", b"1000"),
            ("-1", b"-1"),
            ("18446744073709551615", b"18446744073709551615"),
            ("2.0", b"2.0"),
            ("0.1", b"0.1"),
            ("true", b"true"),
            ("", b"null"),
            ("", b'""'),
            ('{"a":[1,"é",null]}', '{"a": [1, "é", null]}'.encode()),
            ("[]", b"[]"),
            ("9" * 5000, b"9" * 5000),
            ("inf", b"1e400"),
            ("NaN", b"NaN"),
            ("\0", b'"\\u0000"'),
            ("a\0\x01b", b'"a\0\x01b"'),
            ("\ufffd", b'"\xff"'),
            ("\ufffd!", b'"\\ud800!"'),
            ("\U0001f600", b'"\\ud83d\\ude00"'),
            (" x ", b'" x "'),
        ],
    )
    def test_value(self, value: str, text: bytes) -> None:
        """A value is the text osquery would have written without --logger_numerics."""
        (found,) = actions(event(columns={"v": "@"}).replace(b'"@"', text))
        assert found.columns == {"v": value}

    def test_broken_column_name(self) -> None:
        """Bytes that are no UTF-8 are replaced in the name of a column too."""
        (found,) = actions(event(columns={"@": "1"}).replace(b"@", b"\xff\\udfff"))
        assert found.columns == {"\ufffd\ufffd": "1"}

    def test_many_columns(self) -> None:
        """There may be any number of columns."""
        row = {f"c{i}": str(i) for i in range(20_000)}
        assert actions(event(columns=row))[0].columns == row

    def test_host_and_name_of_other_types(self) -> None:
        """A host or name that is no text becomes text."""
        (found,) = actions(event(name=7, hostIdentifier=42, decorations=None))
        assert (found.query, found.host) == ("7", "42")

    def test_what_all_rows_share_is_short(self) -> None:
        """A line of many rows does not become many times as long by what it says of all of them."""
        long = event(name="q" * 100_000, hostIdentifier="h" * 100_000)
        (found,) = actions(long)
        assert (len(found.query), len(found.host), len(found.user)) == (256, 256, 5)
        (other,) = actions(event(name="q" * 100_000, hostIdentifier="h" * 100_001))
        assert (other.query, other.host) == (found.query, other.host)
        assert other.host != found.host

    @pytest.mark.parametrize("host", [..., "", None])
    def test_hostname_of_the_documentation(self, host: object) -> None:
        """The key hostname stands in where hostIdentifier does not name the host."""
        assert actions(event(hostIdentifier=host, hostname="h.local"))[0].host == "h.local"

    @pytest.mark.parametrize("columns", [[1], "text", 7, True])
    def test_columns_that_are_no_object(self, columns: object) -> None:
        """Columns that are not an object make a bad record."""
        assert skipped(event(columns=columns)) is SkipReason.BAD_RECORD

    @pytest.mark.parametrize("verb", ["deleted", "", None, 1, "x" * 1000, "\N{SNOWMAN}\n"])
    def test_unknown_action(self, verb: object) -> None:
        """An action that is neither added, removed nor snapshot makes a bad record."""
        assert skipped(event(action=verb)) is SkipReason.BAD_RECORD

    @pytest.mark.parametrize("diff", [[1], "text", {"added": "text"}, {"added": [1]}, {"added": {"a": 1}}])
    def test_bad_batch(self, diff: object) -> None:
        """A batch whose rows are not rows is a bad record."""
        assert skipped(event(diffResults=diff, columns=..., action=...)) is SkipReason.BAD_RECORD

    def test_one_bad_row(self) -> None:
        """A bad row costs only itself."""
        line = event(snapshot=[{"a": "1"}, 7, {"a": "2"}], action="snapshot", columns=...)
        assert [a.columns["a"] for a in actions(line)] == ["1", "2"]


class TestTime:
    """When a query ran."""

    @pytest.mark.parametrize("unix", [1786000000, "1786000000", 1786000000.0, "1786000000.25"])
    def test_unix_time(self, unix: object) -> None:
        """The time may be an integer, a float or text."""
        assert actions(event(unixTime=unix, calendarTime="x"))[0].time == 1786000000

    @pytest.mark.parametrize(
        "unix",
        [
            ...,
            None,
            "",
            "collision",
            -1,
            "-1",
            253402300800,
            True,
            [1],
            "1_0",
            "\N{ARABIC-INDIC DIGIT ONE}",
            10**30,
            1e300,
        ],
    )
    def test_calendar_time(self, unix: object) -> None:
        """The calendar time stands in for a time that is none, or out of range."""
        assert actions(event(unixTime=unix))[0].time == 1786000000

    @pytest.mark.parametrize(
        ("calendar", "seconds"),
        [
            ("Mon May  2 22:27:32 2016 UTC", 1462228052),
            ("Mon May 2 22:27:32 2016", 1462228052),
            ("May  2 22:27:32 2016 UTC", 1462228052),
            ("Mon Foo  2 22:27:32 2016 UTC", 0),
            ("Sun Feb 31 22:27:32 2016 UTC", 0),
            ("Mon May  2 25:61:61 2016 UTC", 0),
            ("Mon May  2 22:27:32 0000 UTC", 0),
            ("Mon May  2 22:27:32 1916 UTC", 0),
            ("no_time", 0),
            ("", 0),
        ],
    )
    def test_calendar_formats(self, calendar: str, seconds: int) -> None:
        """The calendar time is asctime's, with or without UTC; anything else tells no time."""
        assert actions(event(unixTime="", calendarTime=calendar))[0].time == seconds

    def test_bounds(self) -> None:
        """The first and the last second are times."""
        assert [actions(event(unixTime=t))[0].time for t in (0, 253402300799)] == [0, 253402300799]


class TestBaseline:
    """The first run of a differential query is state."""

    @pytest.mark.parametrize("counter", [0, "0"])
    @pytest.mark.parametrize("rows", [{}, {"columns": ..., "action": ..., "diffResults": {"added": [{"a": "1"}]}}])
    def test_counter_0(self, counter: object, rows: dict[str, Any]) -> None:
        """Counter 0 marks a baseline, in events and batches."""
        assert [a.baseline for a in actions(event(counter=counter, **rows))] == [True]

    @pytest.mark.parametrize("counter", [1, "1", ..., None, "", False, "00", -1])
    def test_other_counters(self, counter: object) -> None:
        """Any other counter, and none at all, is no baseline."""
        assert not actions(event(counter=counter))[0].baseline

    @pytest.mark.parametrize("query", ["process_events", "pack/a/yara_events", "pack_a_syslog", "syslog"])
    def test_evented(self, query: str) -> None:
        """Queries of event tables have no baseline: before 5.8 their counter was 0 for ever."""
        assert not actions(event(counter=0, name=query))[0].baseline


class TestNames:
    """Queries go by their own name, without their pack's."""

    @pytest.mark.parametrize(
        ("full", "name"),
        [
            ("processes", "processes"),
            ("package_receipts", "package_receipts"),
            ("packages", "packages"),
            ("packet_events", "packet_events"),
            ("pack", "pack"),
            ("pack_size", "pack_size"),
            ("pack_a_", "pack_a_"),
            ("packInstallInfo", "packInstallInfo"),
            ("pack_user_behavior_shell_history", "shell_history"),
            ("pack_user_behavior_odd_one", "odd_one"),
            ("pack_external_pack_usb_devices", "usb_devices"),
            ("pack_it-compliance_alf_explicit_auths", "alf_explicit_auths"),
            ("pack_my_own_process_file_events", "process_file_events"),
            ("pack_ossec-rootkit_adore_worm", "adore_worm"),
            ("pack/myPack1/chrome processes", "chrome processes"),
            ("pack/team-1/a/b", "a/b"),
            ("pack::ir::odd::one", "odd::one"),
            ("packFOOBARGlobalFOOBARget_odd", "get_odd"),
            ("packFOOBARGlobalFOOBARQuery_28", "Query_28"),
            ("custom/process_open_sockets", "custom/process_open_sockets"),
            ("pack_é_processes", "processes"),
        ],
    )
    def test_name(self, full: str, name: str) -> None:
        """The prefix of a pack goes, whatever its delimiter; a name that merely starts with pack stays."""
        assert query_of(full).name == name

    @pytest.mark.parametrize("pack", ["ir", "my_pack", "user_behavior", "a-b", "process"])
    @pytest.mark.parametrize("delimiter", ["_", "/", "::", "XX"])
    def test_tables(self, pack: str, delimiter: str) -> None:
        """A query named after a table is found in any pack, with any delimiter."""
        longer = {name for name in KNOWN if f"{pack}{delimiter}{name}" not in KNOWN}
        named = {name: query_of(f"pack{delimiter}{pack}{delimiter}{name}").name for name in longer}
        assert {name: short for name, short in named.items() if short != name} == {}

    def test_long_names(self) -> None:
        """A name too long to be a query's is kept whole, and not in the cache."""
        name = "pack_a_" + "x" * 10_000
        assert query_of(name).name == name


class TestEnvelopes:
    """What carries a line may wrap it."""

    @pytest.mark.parametrize(
        "envelope",
        [
            {"data": [EVENT], "log_type": "result", "node_key": "k"},
            {"records": [{"value": EVENT}]},
            {"event": EVENT, "time": 1},
            [EVENT],
            {"event": {"data": [EVENT], "log_type": "result"}},
        ],
        ids=["tls", "kafka", "splunk", "list", "tls in splunk"],
    )
    def test_envelope(self, envelope: object) -> None:
        """TLS bodies, Kafka REST, Splunk and lists are opened."""
        assert parse(dump(envelope)) == [ACTION]

    def test_several(self) -> None:
        """An envelope's results are read in their order; what is none of them is passed over."""
        line = dump({"data": [EVENT, {"unknown": 1}, 7, EVENT | {"action": "removed"}]})
        assert [a.verb for a in actions(line)] == ["added", "removed"]

    @pytest.mark.parametrize("empty", [[], {"data": []}, {"records": []}])
    def test_empty(self, empty: object) -> None:
        """An empty envelope has no rows."""
        assert skipped(dump(empty)) is SkipReason.NO_ROWS

    def test_too_many(self) -> None:
        """Envelopes in envelopes in envelopes come to an end."""
        assert skipped(dump([[[[EVENT]]]])) is SkipReason.TOO_DEEP

    @pytest.mark.parametrize(
        "prefix",
        [
            b"@cee:",
            b"@cee: ",
            b"result=",
            b"Jun 12 18:12:24 web osqueryd[86786]: result=",
            b"<158>1 2026-08-06T07:06:40Z web osqueryd 1 - [x@1 a={b}] ",
            b"\0" * 64,
            b"\xef\xbb\xbf",
            b"\xff\xfe",
        ],
    )
    def test_prefix(self, prefix: bytes) -> None:
        """Text before a record is passed over."""
        assert parse(prefix + event()) == [ACTION]

    @pytest.mark.parametrize("end", [b"\r", b"\r\n", b" ", b"\0", b"\0" * 100, b" trailing"])
    def test_suffix(self, end: bytes) -> None:
        """What follows a record is passed over."""
        assert parse(event() + end) == [ACTION]

    def test_glued_half(self) -> None:
        """A record that follows half a record, as after a full disk, is read."""
        line = event(name="pack_ir_mounts")
        found = {cut: parse(line[:cut] + event()) for cut in range(1, len(line))}
        assert {cut: result for cut, result in found.items() if result != [ACTION]} == {}

    def test_glued_half_batch(self) -> None:
        """A record is found even after half of a batch whose thousands of rows look like its beginning."""
        batch = dump({"diffResults": {"added": [{"name": f"p{i}"} for i in range(5000)]}, "name": "x"})
        assert parse(batch[:-40] + event()) == [ACTION]

    def test_glued_whole(self) -> None:
        """Records without newlines between them, as from Kinesis, are all read."""
        status = dump({"severity": 0, "message": "m"})
        assert parse(event() * 100 + status + event() * 100) == [ACTION] * 200


class TestSkipped:
    """Why a line is no result."""

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"", SkipReason.EMPTY),
            (b" \t\r\n", SkipReason.EMPTY),
            (b"\0" * 4096, SkipReason.EMPTY),
            (b"\xef\xbb\xbf", SkipReason.EMPTY),
            (b"not json at all", SkipReason.NOT_JSON),
            (b"# a { comment", SkipReason.NOT_JSON),
            (b"{not json}", SkipReason.NOT_JSON),
            (b'{"name":"a" "b"}' + b" " * 20, SkipReason.NOT_JSON),
            (b"\xff\xfe\xfd", SkipReason.NOT_JSON),
            (b"9" * 5000, SkipReason.NOT_JSON),
            (b'{"na', SkipReason.TRUNCATED),
            (b'{"name":"a","hostIdent', SkipReason.TRUNCATED),
            (b'Jun 12 18:12:24 web osqueryd: {"name":"a","columns":{"a":"1"', SkipReason.TRUNCATED),
            (b'{"snapshot":[{"a":"1"},', SkipReason.TRUNCATED),
            (b'{"a":' * 100_000, SkipReason.TOO_DEEP),
            (b'{"columns":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b'},"action":"added"}', SkipReason.TOO_DEEP),
            (b"severity=0 location=init.cpp:190 message=hello {world}", SkipReason.STATUS),
            (b"Jun 12 web osqueryd[1]: severity=1 location=a.cpp:1 message=m", SkipReason.STATUS),
            (dump({"severity": 0, "message": "m", "filename": "tls.cpp"}), SkipReason.STATUS),
            (dump({"severity": "0", "message": "m", "log_type": "status"}), SkipReason.STATUS),
            (dump({"data": [{"severity": "0", "message": "m"}], "log_type": "status"}), SkipReason.STATUS),
            (dump({"data": [{"severity": "0", "message": "m"}]}), SkipReason.STATUS),
            (dump({"unknown": {"foo": []}}), SkipReason.NOT_A_RESULT),
            (dump({"columns": {"a": "b"}}), SkipReason.NOT_A_RESULT),
            (dump({"\ud800\n" * 100: 1}), SkipReason.NOT_A_RESULT),
            (dump({"data": "text", "records": {}, "event": []}), SkipReason.NOT_A_RESULT),
            (b"{}", SkipReason.NOT_A_RESULT),
            (b'"text"', SkipReason.NOT_A_RESULT),
            (b"17", SkipReason.NOT_A_RESULT),
            (b"null", SkipReason.NOT_A_RESULT),
        ],
    )
    def test_reason(self, line: bytes, reason: SkipReason) -> None:
        """Each kind of line that is no result has its reason."""
        assert skipped(line) is reason

    @pytest.mark.parametrize("cut", range(10, len(event()), 7))
    def test_cut_anywhere(self, cut: int) -> None:
        """A record is told to be cut wherever it is."""
        assert skipped(event()[:cut]) is SkipReason.TRUNCATED

    @pytest.mark.parametrize(
        "part",
        [
            b"{",
            b"{ ",
            b"{}",
            b'{"name":',
            b'{"name":"',
            b'{"name":1},',
            b'{"name":"\\"',
            b"[",
            b'"',
            b"\\ud800",
            b"9",
        ],
    )
    def test_hostile(self, part: bytes) -> None:
        """A hostile line of 1 MiB costs about as much as another of its length, however it is built."""
        line = part * ((1 << 20) // len(part))
        begin = time.process_time()
        parse(line)
        parse(b'{"name":"' + line)
        assert time.process_time() - begin < 5  # far above what it takes, far below what a square would


WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
ROWS = st.dictionaries(WORDS, WORDS, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*EVENT, "hostname", "diffResults", "snapshot", "data", "records", "event", "log_type", "username"]


def check(found: list[Action] | Skipped) -> None:
    """Whatever was parsed is well formed: no output can choke on it."""
    if isinstance(found, Skipped):
        assert found.detail.isascii()
        return
    assert found
    for action in found:
        assert isinstance(action.time, int)
        assert isinstance(action.baseline, bool)
        texts = [action.host, action.user, action.query, action.verb, *action.columns, *action.columns.values()]
        assert all(isinstance(text, str) and text.encode() is not None for text in texts)
        assert action.user
        assert len(action.user) <= 256


class TestProperties:
    """What holds of any line."""

    @settings(deadline=None)
    @given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_any_bytes(self, line: bytes) -> None:
        """No bytes raise."""
        check(parse(line))

    @settings(deadline=None)
    @given(st.binary(max_size=8), st.integers(0, len(event())), st.integers(0, 20))
    def test_damaged_line(self, junk: bytes, place: int, lost: int) -> None:
        """No damage to a line raises."""
        check(parse(event()[:place] + junk + event()[place + lost :]))

    @settings(deadline=None)
    @given(st.dictionaries(st.sampled_from(FIELDS), JSON))
    def test_any_types(self, changes: dict[str, Any]) -> None:
        """No type of any field raises."""
        check(parse(event(**changes)))

    @settings(deadline=None)
    @given(ROWS, st.sampled_from(["added", "removed", "snapshot"]))
    def test_round_trip(self, row: dict[str, str], verb: str) -> None:
        """Columns come out as they were written."""
        (found,) = actions(event(columns=row, action=verb))
        assert (found.columns, found.verb) == (row, verb)

    @settings(deadline=None)
    @given(ROWS | st.fixed_dictionaries({"uid": st.integers(-1, 9).map(str), "user": WORDS, "auid": WORDS}))
    def test_shapes_agree(self, row: dict[str, str]) -> None:
        """One row makes the same action as an event, in a batch, from AWS, in an envelope and behind a prefix."""
        plain = event(columns=row)
        forms = [
            event(diffResults={"added": [row]}, columns=..., action=...),
            event(columns=row, unixTime="1786000000", counter="3", epoch="0", numerics="false", log_type="result"),
            dump({"data": [EVENT | {"columns": row}]}),
            b"@cee:" + plain,
            plain.replace(b'"epoch":0', b'"epoch":NaN'),
        ]
        assert [parse(form) for form in forms] == [parse(plain)] * len(forms)

    @settings(deadline=None)
    @given(ROWS, st.data())
    def test_glued(self, row: dict[str, str], data: st.DataObject) -> None:
        """The record after a half one is recovered, whatever is in its columns."""
        line = event(columns=row)
        cut = data.draw(st.integers(1, len(line) - 1))
        found = actions(line[:cut] + event())
        assert found[-1] == ACTION


OUTCOMES: dict[str, tuple[int, dict[int, int | SkipReason]]] = {
    "osquery-examples.jsonl": (
        47,
        {
            3: 4,
            4: 2,
            8: 2,
            9: 2,
            10: 10,
            11: 10,
            16: SkipReason.NO_ROWS,
            17: SkipReason.NO_ROWS,
            24: SkipReason.NOT_A_RESULT,
            47: SkipReason.STATUS,
        },
    ),
    "osquery-derived.jsonl": (29, {16: 3, 17: SkipReason.NO_ROWS, 18: 2}),
    "osquery-noisy.txt": (
        11,
        {
            **dict.fromkeys((1, 2, 4, 6, 8, 10), SkipReason.NOT_JSON),
            **dict.fromkeys((3, 11), SkipReason.TRUNCATED),
            9: SkipReason.STATUS,
        },
    ),
}
LOGS = {
    "beats-darwin.results.log": 1652,
    "beats-rootkit.results.log": 60,
    "beats-sample.results.log": 500,
    "thesis-2017-03-26.results.log": 5941,
}


@needs_shared_data
class TestSharedData:
    """Lines that other people published."""

    @pytest.mark.parametrize("name", OUTCOMES)
    def test_every_line(self, name: str) -> None:
        """Each published line gives the actions it should, one unless said otherwise, or the right reason."""
        count, special = OUTCOMES[name]
        found = [parse(line) for line in (SHARED / name).read_bytes().splitlines()]
        outcomes = [len(f) if isinstance(f, list) else f.reason for f in found]
        assert outcomes == [special.get(number, 1) for number in range(1, count + 1)]

    def test_users(self) -> None:
        """In the lines built from osquery's code, each user is the one its kind says."""
        parser = Parser(Identities(hostname="", lookup=lambda _: None))
        lines = (SHARED / "osquery-derived.jsonl").read_bytes().splitlines()
        found = [parser.parse(line) for line in lines]
        users = {n: [a.user for a in f] for n, f in enumerate(found, 1) if isinstance(f, list)}
        assert [users[n][0] for n in range(1, 12)] == [
            *("alice", "bob", "alice", "alice", "alice", "алиса"),
            *("alice", "root", "alice", "alice", "uid:165536"),
        ]
        assert users[16] == ["bob", "alice", "alice"]  # numbers, named by the lines before
        assert users[18] == ["alice", "root"]
        assert {users[n][0] for n in range(20, 30)} == {"host:xubuntu"}

    @pytest.mark.parametrize("name", LOGS)
    def test_whole_logs(self, name: str) -> None:
        """Every line of a published log is one action, whose time and query are known."""
        parser = Parser(Identities(hostname="", lookup=lambda _: None))
        lines = (SHARED / "osquery-real" / name).read_bytes().splitlines()
        found = [parser.parse(line) for line in lines]
        assert sum(len(f) for f in found if isinstance(f, list)) == LOGS[name] == len(lines)
        every = [action for f in found if isinstance(f, list) for action in f]
        assert all(action.time > 1_400_000_000 for action in every)
        assert not any(action.query.startswith("pack") and "_pack_" in action.query for action in every)

    def test_accounts_that_are_no_users(self) -> None:
        """In the log of 2017 reboots, runlevels and gettys act for the host, and madpc for himself."""
        parser = Parser(Identities(hostname="", lookup=lambda _: None))
        log = SHARED / "osquery-real" / "thesis-2017-03-26.results.log"
        found = [parser.parse(line) for line in log.read_bytes().splitlines()]
        users = {a.user for f in found if isinstance(f, list) for a in f if a.query in ("last", "logged_in_users")}
        assert users == {"madpc", "host:madpc"}
