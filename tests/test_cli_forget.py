"""``anomaly forget``: what is erased of a user, what stays, and what is said."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from anomaly import cli, feedback, suppression
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.sinks.spool import Entry, Spool
from anomaly.sources.checkpoint import Checkpoint
from anomaly.sources.checkpoint_file import CheckpointFile
from anomaly.store import Store
from anomaly.store_layout import encode_user

NAME = "osqueryd.results.log-0123456789abcdef"


class Place:
    """A log, models and a state directory."""

    def __init__(self, folder: Path, log: Path, models: Path) -> None:
        self.models, self.state = models, folder / "state"
        self.log = Path(shutil.copy(log, folder / log.name))

    def run(self, command: str, *words: object, answer: str | None = None) -> Result:
        """Run a command with the directories."""
        given = [command, "--models", self.models, "--state", self.state, *words]
        return CliRunner().invoke(cli.main, [str(word) for word in given], input=answer)

    def predict(self, *words: object) -> list[dict[str, Any]]:
        """Score what is new in the log, and return the scores."""
        words = (*words, "-l", self.log, "--no-follow", "--jobs", "1", "--format", "json")
        result = self.run("predict", "--all-users", *words)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def state_of(self, ending: str) -> Path:
        """Return the file of the checkpoint with an ending."""
        (lock,) = self.state.glob("*.lock")
        return lock.with_suffix(ending)

    @property
    def checkpoint(self) -> Checkpoint:
        """Return what is remembered."""
        return msgspec.json.decode(self.state_of(".json").read_bytes(), type=Checkpoint)

    def everything(self) -> dict[Path, bytes]:
        """Return all that is kept."""
        files = [*self.models.rglob("*"), *self.state.rglob("*")]
        return {path: path.read_bytes() for path in files if path.is_file() and path.suffix != ".lock"}

    @property
    def journal(self) -> Path:
        """Where alerts are kept."""
        return self.state_of(".json").with_suffix(".alerts.ndjson")

    def alerts(self, *users: str) -> Path:
        """Write the journal of alerts."""
        lines = "".join(json.dumps({"id": "x", "user": user, "host": "ws1"}) + "\n" for user in users)
        self.journal.write_text(lines)
        return self.journal


@pytest.fixture
def place(tmp_path: Path, log: Path, models: Path) -> Place:
    """Give a log of alice and bob, which has been scored from its beginning, and models of both."""
    place = Place(tmp_path, log, models)
    place.predict("--from", "start")
    return place


def test_everything_of_the_user_goes_and_everybody_elses_stays(place: Place) -> None:
    """Models, what was learned, the state, counts and alerts of alice are gone; bob's are as they were."""
    journal = place.alerts("alice", "bob", "alice")
    before = place.everything()
    bob = {path: data for path, data in before.items() if path.parent.name == "bob"}
    place_in_log, state_of_bob = place.checkpoint.position, place.checkpoint.users["bob"]
    result = place.run("forget", "alice", "--yes")
    assert result.exit_code == 0, result.output
    after = place.everything()
    assert {path: data for path, data in after.items() if path.parent.name == "bob"} == bob
    assert not (place.models / "alice").exists()
    kept = [data for path, data in after.items() if path.suffix != ".safetensors" and path.parent.name != "bob"]
    assert kept
    assert not any(b"alice" in data for data in kept)
    assert place.checkpoint.position == place_in_log
    assert bytes(place.checkpoint.users["bob"]) == bytes(state_of_bob)
    assert place.checkpoint.identities == {"ws1": {"1001": "bob"}}
    assert [json.loads(line)["user"] for line in journal.read_text().splitlines()] == ["bob"]
    for ending in (".json", ".status.json"):
        assert place.state_of(ending).stat().st_mode & 0o777 == 0o600


def test_the_words_say_what_was_erased_and_what_was_not(place: Place) -> None:
    """A line for each place on standard output; what cannot be erased, and what to do about it, for people."""
    place.alerts("alice")
    files = len(list((place.models / "alice").iterdir()))
    result = place.run("forget", "alice", "--yes")
    assert result.stdout.splitlines() == [
        f"the state of the user: {place.state_of('.json')}",
        f"counts of the user: {place.state_of('.status.json')}",
        f"1 alert: {place.journal}",
        f"{files} files of models: {place.models / 'alice'}",
    ]
    assert result.stderr == (
        "Erased: alice.\n"
        "Not erased, since anomaly does not keep it, or not by user:\n"
        "- the log and its archives: training on them again learns the user again\n"
        "- the background, and the models of others who were learned together with the\n"
        "  user: they hold values and the name. Once the log is without the user, run:\n"
        "  anomaly train --all-users, and then: anomaly models prune --keep 1\n"
        "- scores and alerts that went elsewhere (the journal, files, other machines),\n"
        "  metrics, reports and backups\n"
    )


def test_alerts_that_a_webhook_did_not_take_go(place: Place) -> None:
    """What waits for a webhook, or was refused by it, is erased; while somebody delivers it, nothing is."""
    where = place.state / "spool" / "stdin" / "0123456789abcdef"
    bodies = [json.dumps({"user": user, "host": "ws1"}) for user in ("alice", "bob", "alice")]
    with closing(Spool(where)) as spool:
        spool.append([Entry(str(number), body) for number, body in enumerate(bodies)])
        assert spool.head()
        spool.bury("HTTP 403")
        before = place.everything()
        refused = place.run("forget", "alice", "--yes")
        assert (refused.exit_code, refused.stdout) == (10, "")
        assert place.everything() == before
    result = place.run("forget", "alice", "--yes")
    assert f"3 alerts to a webhook: {where}\n" in result.stdout
    assert not any(b"alice" in path.read_bytes() for path in where.iterdir())
    with closing(Spool(where)) as spool:
        assert (spool.head(), spool.waiting) == (Entry("1", bodies[1]), 1)


def test_the_page_tells_what_is_kept_and_said(place: Place) -> None:
    """Every file that a watch leaves has its row on the page, and the example has the words of the command."""
    page = (Path(__file__).parents[1] / "docs" / "privacy.md").read_text()
    place.alerts("alice")
    ends = {path.name.partition("-")[2].partition(".")[2] for path in place.state.glob("*-*")} - {"lock"}
    assert {"json", "status.json", "alerts.ndjson"} <= ends
    rows = [f"`state/NAME.{end}`" for end in ends]
    rows += [f"`state/{feedback.FILE}`", f"`state/{suppression.FILE}`", "`state/spool/*/*/`"]
    assert [row for row in rows if f"| {row} |" not in page] == []
    assert place.run("forget", "alice", answer="y\n").stderr.replace(": y\n", ": ") in page.replace(": y\n", ": ")


def test_it_asks_and_takes_no_for_an_answer(place: Place) -> None:
    """Without --yes it asks; no, and no answer at all, leave everything."""
    before = place.everything()
    for answer in ("n\n", ""):
        result = place.run("forget", "alice", answer=answer)
        assert result.exit_code == 1
        assert result.stderr.startswith("Erase this? It cannot be undone. [y/N]: ")
        assert result.stderr.endswith("Aborted!\n")
    assert place.everything() == before
    assert place.run("forget", "alice", answer="y\n").exit_code == 0
    assert place.everything() != before


def test_a_dry_run_says_the_same_and_leaves_it(place: Place) -> None:
    """--dry-run lists what would be erased, also while a watch runs."""
    before = place.everything()
    with CheckpointFile(place.state, place.state_of(".lock").stem):
        told = place.run("forget", "alice", "--dry-run")
    assert (told.exit_code, told.stderr) == (0, "")
    assert place.everything() == before
    assert place.run("forget", "alice", "--yes").stdout == told.stdout


def test_a_running_watch_would_write_it_back(place: Place) -> None:
    """While a watch holds the state, nothing is erased: exit code 10, and what to do."""
    before = place.everything()
    with CheckpointFile(place.state, place.state_of(".lock").stem):
        result = place.run("forget", "alice", "--yes")
    assert (result.exit_code, result.stdout) == (10, "")
    assert result.stderr == (
        f"Error: A watch works with {place.state}, and would write back what is erased. Stop it first.\n"
    )
    assert place.everything() == before


def test_a_second_time_there_is_nothing(place: Place) -> None:
    """Nobody is erased twice, and a misspelt name is met with the nearest: exit code 7."""
    result = place.run("forget", "alcie", "--yes")
    assert (result.exit_code, result.stderr) == (
        7,
        "Error: Nothing is kept of 'alcie' here. Did you mean 'alice'?\n",
    )
    assert place.run("forget", "alice", "--yes").exit_code == 0
    result = place.run("forget", "alice", "--yes")
    assert (result.exit_code, result.stderr) == (7, "Error: Nothing is kept of 'alice' here. There is: bob.\n")


def test_the_watch_goes_on_where_it_was(place: Place, lines: list[bytes]) -> None:
    """The next run scores what is new, nothing twice; of alice there is no model any more."""
    place.run("forget", "alice", "--yes")
    with place.log.open("ab") as file:
        file.writelines(line + b"\n" for line in lines[-4:])
    scores = place.predict()
    assert len(scores) == 4
    assert {(score["user"], score["model"]["state"]) for score in scores} == {
        ("alice", "learning"),
        ("bob", "ready"),
    }


def test_an_interrupted_erasure_is_finished_by_the_next(place: Place) -> None:
    """What is left of a user in any one place is found."""
    shutil.rmtree(place.models / "alice")
    result = place.run("forget", "alice", "--yes")
    assert result.exit_code == 0
    assert "models" not in result.stdout.replace(str(place.models), "")
    assert "alice" not in place.checkpoint.users


@pytest.mark.parametrize("user", ["../../x", "a/b", "\x1b[31m", "", "~", "a b\n", "日本", "x" * 200])
def test_hostile_names_erase_nothing_but_themselves(place: Place, models: Path, user: str) -> None:
    """A name is never a path, and is shown escaped."""
    store = Store(models)
    stored = store.load("alice")
    assert stored is not None
    model, before = stored.model, place.everything()
    card = msgspec.structs.replace(model.card, user=user)
    store.save(user, UserModel(model.tokenizer, model.detector, model.fusion, model.calibration, card))
    result = place.run("forget", "--yes", "--", user)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert not (models / encode_user(user)).exists()
    assert place.everything() == before


def test_the_same_name_on_a_host_may_be_somebody_else(place: Place, models: Path) -> None:
    """alice@corp is left alone, and said."""
    shutil.copytree(models / "bob", models / encode_user("alice@corp"))
    result = place.run("forget", "alice", "--yes")
    assert result.stderr.startswith("'alice@corp' is left alone; if that is the same person, erase it too.\n")
    assert (models / encode_user("alice@corp")).exists()


def test_what_was_set_aside_or_torn_goes_if_it_names_the_user(place: Place) -> None:
    """Broken files cannot be cut: they are removed whole, and those without the name stay."""
    bad, other = place.state_of(".bad"), place.state / f"{NAME}.bad"
    bad.write_bytes(b'{"users":{"alice":{"sta')
    other.write_bytes(b'{"users":{"bob":{"sta')
    torn = place.state_of(".status.json")
    torn.write_bytes(b'{"rows":[{"user":"alice"')
    result = place.run("forget", "alice", "--yes")
    assert f"a file that was set aside: {bad}\n" in result.stdout
    assert f"a status file that cannot be read: {torn}\n" in result.stdout
    assert (bad.exists(), torn.exists(), other.exists()) == (False, False, True)


def test_torn_lines_of_the_journal_go_if_they_name_the_user(place: Place) -> None:
    """A line that is no JSON is kept unless the name stands in it."""
    journal = place.alerts("bob")
    rest = b'{"user":"bob"\n[]\n\xff\n'
    journal.write_bytes(journal.read_bytes() + b'{"user":"alice","host\n' + rest)
    assert "1 alert:" in place.run("forget", "alice", "--yes").stdout
    assert journal.read_bytes().endswith(b"}\n" + rest)


def test_an_alert_of_many_hosts_is_of_the_user_whose_action_it_shows(place: Place) -> None:
    """Such an alert names no host, but its worst action does, and that is erased with the user of that host."""
    journal = place.alerts("bob")
    line = '{"user":"alice","host":"","worst":{"action":{"host":"%s"}}}\n'
    journal.write_text(line % "ws9" + line % "ws8" + '{"user":"alice","worst":3}\n')
    assert "1 alert:" in place.run("forget", "alice@ws9", "--yes").stdout
    assert journal.read_text() == line % "ws8" + '{"user":"alice","worst":3}\n'


def test_a_file_that_cannot_be_searched_stops_it_before_anything_is_erased(place: Place) -> None:
    """A link in the journal's place is not followed, and nothing is erased by half."""
    place.journal.unlink(missing_ok=True)
    place.journal.symlink_to(place.log)
    before = place.everything()
    result = place.run("forget", "alice", "--yes")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {place.journal} cannot be searched: it cannot be opened")
    assert place.everything() == before


def test_identities_of_the_user_alone_are_forgotten() -> None:
    """What a checkpoint that is rewritten holds can still be read as identities."""
    from anomaly.forgetting import _without  # noqa: PLC0415 - one private rule

    known = {"ws1": {"1000": "alice", "1001": "bob"}, "db": {"1000": "alice"}, "odd": 3}
    assert _without(known, "alice") == {"ws1": {"1001": "bob"}, "db": {}, "odd": 3}
    assert _without(known, "alice@db") == {"ws1": {"1000": "alice", "1001": "bob"}, "db": {}, "odd": 3}
    assert Identities.from_dict(_without(known, "alice")).to_dict() == {"ws1": {"1001": "bob"}}
