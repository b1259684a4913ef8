"""The demo, as README shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from anomaly import demonstration
from anomaly.cli import main
from anomaly.demonstration import NORMAL, Intrusion, Judged, findings, own_alarms
from anomaly.osquery import Action
from anomaly.records import ModelRef, Score

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def output() -> str:
    """Return what ``anomaly demo`` prints."""
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0, result.output
    return result.stdout


def judged(risk: float, *, foreign: bool, user: str = "alice") -> Judged:
    """Make one judged action."""
    action = Action(time=0, host="h", user=user, query="q", verb="added", columns={})
    return Judged(Score("f:0", action, 1.0, risk, 1.0, ModelRef("OCSVM", 1, "ready")), foreign)


def test_readme_shows_what_the_demo_prints(output: str) -> None:
    """Every line of README's excerpt is a line of the real output, in its order.

    Figures are left out: another processor may round another way.
    """
    match = re.search(r"From its output:\n\n```\n(.*?)\n```", README.read_text(), re.DOTALL)
    assert match is not None
    printed = iter(re.sub(r"\d+", "#", output).splitlines())
    shown = [re.sub(r"\d+", "#", line) for line in match[1].splitlines() if line != "[...]"]
    missing = [line for line in shown if line not in printed]
    assert not missing


def test_the_demo_fits_eighty_columns_and_says_that_it_is_simulated(output: str) -> None:
    """No line is longer than 80 characters, and each log is called simulated."""
    assert max(map(len, output.splitlines())) <= 80
    assert output.count("SIMULATED") == 3


def test_demo_finds_both_intruders(output: str) -> None:
    """The risk of both accounts reaches the alarm after the intruder began, and is higher than the user's own."""
    assert len(re.findall(r"The risk of \w+ reached 25, which alarms", output)) == 2
    aucs = [float(figure) for figure in re.findall(r"AUC (\d\.\d+)", output)]
    assert len(aucs) == 2
    assert min(aucs) >= 0.95


def test_a_demo_without_the_checkouts_data_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed elsewhere, the same sample logs are simulated anew."""
    monkeypatch.setattr(demonstration, "checkout", lambda: None)
    logs = demonstration.sample_logs(tmp_path)
    assert logs.parent == tmp_path
    assert (logs / NORMAL).is_file()


def test_findings_of_an_intruder_who_was_not_noticed_say_so() -> None:
    """Where the risk never reached the alarm, the demo says so and gives its highest."""
    entries = [judged(5.0, foreign=False)] * 100 + [judged(12.5, foreign=True)] * 100
    text = "\n".join(findings(entries, Intrusion("x", "alice", "")))
    assert "The risk of alice never reached 25; its highest was 12.5." in text


def test_an_owners_alarms_are_told_apart_by_what_is_in_the_window() -> None:
    """Own actions at an alarming risk are counted, and so are those within 100 of an intruder's."""
    entries = [judged(40.0, foreign=False), judged(40.0, foreign=True), judged(40.0, foreign=False)]
    assert list(own_alarms(entries, "alice")) == [
        "  alice's own 2 actions: 2 at a risk of 25 or more,",
        "    1 of them while the intruder's were among the last 100.",
    ]
