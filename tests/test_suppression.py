"""What is suppressed, what is not, and that it cannot come back by way of the window."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from fnmatch import translate
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.alerts import Alerting
from anomaly.errors import AnomalyError, ConfigError, StateRefused
from anomaly.osquery import Action
from anomaly.records import ALARM, ModelRef, Score, Severity
from anomaly.scoring import Scorer
from anomaly.store import Store
from anomaly.suppression import LONGEST, MOST, Suppression, SuppressionFile, Suppressions, like, newest_of, parse

Later = Callable[[int, int], list[Action]]

DAY = date(2026, 10, 26)
NOON = int(datetime(2026, 10, 26, 12, tzinfo=UTC).timestamp())
NEVER = date(9999, 12, 31)


def action(**columns: str) -> Action:
    """Make an action of alice's on a day."""
    return Action(NOON, "ws1", "alice", "shell_history", "added", {"command": "make all", **columns})


def one_of(scope: dict[str, str], expires: date = NEVER) -> Suppression:
    """Make a suppression."""
    return msgspec.convert({"id": "x", "expires": expires, **scope}, Suppression)


def fine(expires: date = NEVER, **scope: str) -> Suppressions:
    """Suppress one thing."""
    return Suppressions([one_of(scope, expires)])


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        ({"user": "alice"}, True),
        ({"user": "alice@ws1"}, True),
        ({"user": "alice@ws2"}, False),
        ({"user": "bob"}, False),
        ({"query": "shell_history"}, True),
        ({"query": "processes"}, False),
        ({"field": "command", "value": "make all"}, True),
        ({"field": "command", "value": "make"}, False),
        ({"field": "path", "value": ""}, False),
        ({"field": "command", "pattern": "make *"}, True),
        ({"field": "command", "pattern": "make"}, False),
        ({"field": "path", "pattern": "*"}, False),
        ({"user": "alice", "query": "shell_history", "field": "command", "value": "make all"}, True),
        ({"user": "alice", "query": "processes", "field": "command", "value": "make all"}, False),
        ({"user": "bob", "query": "shell_history", "field": "command", "value": "make all"}, False),
    ],
)
def test_all_that_is_given_must_hold(scope: dict[str, str], holds: bool) -> None:  # noqa: FBT001 - a parameter
    """A suppression holds for an action where its user, its query and its value are the action's."""
    assert one_of(scope).fault() is None
    assert Suppressions([one_of(scope)]).silences(action()) is holds


def test_of_many_the_one_that_holds_is_found() -> None:
    """Values of one user and query are looked up, and any of them is found among thousands."""
    entries = [Suppression(f"v{n}", NEVER, user="alice", field="command", value=f"make {n}") for n in range(1000)]
    many = Suppressions([*entries, Suppression("p", NEVER, query="shell_history", field="command", pattern="*q")])
    assert many.match(action(command="make 613")) == entries[613]
    assert many.match(action(command="make q")) == many.entries[-1]
    assert many.match(action(command="make 1000")) is None
    assert Suppressions().match(action()) is None


def test_it_expires_by_the_day_of_the_log() -> None:
    """From the day on that it names it does not apply, by the log; without a day in the log the clock's counts."""
    assert fine(date(2026, 10, 27), user="alice").silences(action())
    assert not fine(DAY, user="alice").silences(action())
    timeless = msgspec.structs.replace(action(), time=0)
    today = datetime.fromtimestamp(time.time(), UTC).date()
    assert fine(date.fromordinal(today.toordinal() + 2), user="alice").silences(timeless)
    assert not fine(today, user="alice").silences(timeless)
    beyond = msgspec.structs.replace(action(), time=10**15)
    assert not fine(NEVER, user="alice").silences(beyond)


def test_no_date_of_a_line_brings_back_what_has_expired() -> None:
    """A line dated back alarms once the log has passed the day; one dated far ahead expires nothing."""
    nmap = fine(DAY, user="alice")
    score = Score("f1:0", action(), 60.0, 60.0, 1.0, ModelRef("LSTM", 1, "ready"))
    back = msgspec.structs.replace(score, action=msgspec.structs.replace(action(), time=1000))
    ahead = msgspec.structs.replace(
        score, risk=1.0, action=msgspec.structs.replace(action(), time=253_000_000_000)
    )
    alerting = Alerting.by(Severity.WARNING, None, nmap.silences)
    assert alerting.take([back, ahead, back]) == []
    assert newest_of(0, ahead.action) == 0
    alerting.take([msgspec.structs.replace(score, risk=1.0)])
    again = Alerting.by(Severity.WARNING, None, nmap.silences)
    again.restore(alerting.export())
    for one in (alerting, again):
        assert [alert.worst.action.time for alert in one.take([back])] == [1000]
        assert one.excuse(nmap.silences) == []


def test_the_window_goes_by_the_newest_day_too(lstm_models: Path, later: Later) -> None:
    """What is dated back to before a suppression's end comes into the window, after a restart as well."""
    own = [one for one in later(420, 1) if one.user == "alice" and not one.baseline][:40]
    day = datetime.fromtimestamp(own[0].time, UTC).date()
    back = [msgspec.structs.replace(one, time=1000) for one in own]
    over = Suppressions([Suppression("x", day, user="alice")])
    assert figures(scored(lstm_models, [own[0], *back], over, [1, 9])) == figures(
        scored(lstm_models, [own[0], *back], None, [])
    )


@given(st.text("ab*?", max_size=8), st.text("ab*?", max_size=10))
def test_patterns_are_globs(pattern: str, text: str) -> None:
    """A pattern of stars and question marks means what it means in a shell."""
    assert like(pattern, text) is bool(re.match(translate(pattern), text))


def test_patterns_take_all_else_for_itself() -> None:
    """Brackets, dots and backslashes are no more than they are, and a pattern is held against the whole value."""
    assert like("[a].\\", "[a].\\")
    assert not like("[a]", "a")
    assert not like("a.c", "abc")
    assert not like("make", "make all")


def test_no_pattern_takes_long() -> None:
    """What would be catastrophic for a regular expression is some steps a character; huge values match nothing."""
    begin = time.process_time()
    assert not like("*a" * 128, "a" * 120 + "b" * (LONGEST - 120))
    assert not like("?*" * 127 + "x", "a" * LONGEST)
    assert time.process_time() - begin < 5.0
    assert not like("*", "a" * (LONGEST + 1))


def read(text: str) -> list[Suppression]:
    """Read a file's content."""
    return parse(text.encode("utf-8", "surrogateescape"), Path("s.toml"))


GOOD = '[[suppression]]\nid = "x"\nexpires = 2026-12-01\nuser = "alice"\n'


def test_what_a_file_says() -> None:
    """A file is a list of suppressions; an empty one is none."""
    assert read("") == read("# nothing\n") == []
    assert read(GOOD) == [Suppression("x", date(2026, 12, 1), user="alice")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "s.toml has an unknown key 'x'. There is: suppression."),
        ("suppresion = []\n", "unknown key 'suppresion'. Did you mean 'suppression'?"),
        ("suppression = 3\n", "'suppression' is to be a list of tables; begin each with [[suppression]]."),
        ("suppression = [3]\n", "is to be a list of tables"),
        (GOOD + 'feild = "a"\n', "suppression 1 has an unknown key 'feild'. Did you mean 'field'?"),
        (GOOD + GOOD, "suppression 2 has the 'id' of an earlier one, 'x'."),
        (GOOD.replace('user = "alice"', ""), "it has no scope: give 'user', 'query' or 'field'."),
        (GOOD.replace("alice", ""), "an empty 'user', 'query' or 'field' is to be left out."),
        (GOOD + 'value = "a"\n', "'value' and 'pattern' need a 'field'."),
        (GOOD + 'field = "a"\n', "'field' needs either 'value' or 'pattern'."),
        (GOOD + 'field = "a"\nvalue = "a"\npattern = "b"\n', "'field' needs either 'value' or 'pattern'."),
        (GOOD + 'field = "a"\npattern = ""\n', "'pattern' is to be 1 to 256 characters."),
        (GOOD + f'field = "a"\npattern = "{"a" * 257}"\n', "'pattern' is to be 1 to 256 characters."),
        (GOOD.replace('"x"', '""'), "'id' is to be 1 to 64 characters."),
        (GOOD.replace("2026-12-01", '"soon"'), "`$.expires`"),
        (GOOD.replace("2026-12-01", "3"), "`$.expires`"),
        (GOOD.replace("expires = 2026-12-01\n", ""), "missing required field `expires`"),
        (GOOD.replace('"alice"', "['alice']"), "`$.user`"),
        ("[[suppression]\n", "s.toml is not valid TOML:"),
        ('id = "\udcff"', "s.toml is not valid TOML:"),
        ("a = " + "[" * 5000, "s.toml is not valid TOML:"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(text: str, words: str) -> None:
    """An unknown key, an empty scope, or a value that does not fit is an error that names the file and the key."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert words in str(caught.value)
    assert "s.toml" in str(caught.value)


def test_a_file_holds_so_many() -> None:
    """Nobody reviews more than some thousands."""
    text = "".join(GOOD.replace('"x"', f'"x{n}"') for n in range(MOST + 1))
    with pytest.raises(ConfigError, match="2,001 suppressions, of 2,000 at most"):
        read(text)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: GOOD.encode() + text.encode()))
def test_whatever_a_file_holds_is_read_or_refused(data: bytes) -> None:
    """Nothing in a file raises anything else."""
    try:
        entries = parse(data, Path("s.toml"))
    except AnomalyError:
        return
    assert all(entry.fault() is None for entry in entries)


def test_a_file_is_taken_over_when_it_changes(tmp_path: Path) -> None:
    """A new file is in force after it was looked at; one that does not fit changes nothing, and is said once."""
    path = tmp_path / "s.toml"
    file = SuppressionFile(path)
    assert not file.silences(action())
    assert not file.refresh()
    path.write_text(GOOD)
    assert file.refresh()
    assert file.silences(action())
    path.write_text("nonsense")
    with pytest.raises(ConfigError):
        file.refresh()
    assert not file.refresh()
    assert file.silences(action())
    path.unlink()
    assert file.refresh()
    assert not file.silences(action())


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Who could write the file could hide himself: it is believed as a model is."""
    path = tmp_path / "s.toml"
    path.write_text(GOOD)
    path.chmod(0o666)
    with pytest.raises(StateRefused, match="everybody may write it"):
        SuppressionFile(path)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with pytest.raises(StateRefused, match="symbolic link"):
        SuppressionFile(link)
    with pytest.raises(StateRefused, match="not a regular file"):
        SuppressionFile(tmp_path)


def scored(models: Path, actions: list[Action], silenced: Suppressions | None, cuts: list[int]) -> list[Score]:
    """Score actions in batches."""
    scorer = Scorer(Store(models).load)
    scorer.silences = silenced.silences if silenced is not None else None
    batch = [(str(number), one) for number, one in enumerate(actions)]
    places = [0, *cuts, len(batch)]
    return [s for i in range(len(places) - 1) for s in scorer.score_all(batch[places[i] : places[i + 1]])]


def figures(scores: list[Score]) -> list[tuple[float | None, float | None, float | None]]:
    """Return what was made of actions."""
    return [(score.score, score.risk, score.surprise) for score in scores]


@pytest.mark.parametrize("kind", ["ocsvm", "lstm", "both"])
def test_what_is_suppressed_does_not_come_back_by_the_window(
    kind: str, request: pytest.FixtureRequest, later: Later
) -> None:
    """The scores of all else are those of a log without it, so nothing alarms for its sake; by any batches."""
    models: Path = request.getfixturevalue(f"{kind}_models")
    own = [one for one in later(420, 5) if one.user == "alice"]
    strange = {"command": "nmap -sS 10.9.9.9"}
    mixed: list[Action] = []
    for number, one in enumerate(own):
        mixed.append(one)
        if 150 <= number < 250:  # as much as the user's own: enough to alarm by the window
            mixed.append(Action(one.time, "ws1", "alice", "shell_history", "added", strange | {"n": str(number)}))
    nmap = Suppressions([Suppression("x", NEVER, user="alice", field="command", pattern="nmap *")])
    found = scored(models, mixed, nmap, [])
    rest = [score for score in found if not nmap.silences(score.action)]
    assert figures(rest) == figures(scored(models, own, None, []))
    draw = random.Random(3)  # noqa: S311 - places to cut at
    for _ in range(3):
        cuts = sorted(draw.sample(range(len(mixed)), 30))
        assert figures(scored(models, mixed, nmap, cuts)) == figures(found)
    without = scored(models, mixed, None, [])
    assert max(score.risk or 0.0 for score in without[250:]) >= ALARM
    loud, quiet = Alerting.by(Severity.WARNING, None), Alerting.by(Severity.WARNING, None, nmap.silences)
    assert any(one.worst.action.columns.get("command") == strange["command"] for one in loud.take(without))
    own_alerts = Alerting.by(Severity.WARNING, None).take(scored(models, own, None, []))
    assert [one.worst.action for one in quiet.take(found)] == [one.worst.action for one in own_alerts]
    assert len([score for score in found if nmap.silences(score.action) and score.score is not None]) == 100
