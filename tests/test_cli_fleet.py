"""``anomaly fleet`` as a person meets it: exit codes and exact words."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from click.testing import CliRunner, Result

from anomaly import cli
from anomaly.detectors.interface import Algorithm
from anomaly.fleet import session
from anomaly.harvest import Period

WORDS = ("--from", "/logs", "--models", "/models", "-a", "OCSVM")
DIGEST = "ab" * 32
needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pyspark", "pyarrow")), reason="the extra 'fleet' is not installed"
)


def run(*words: str) -> Result:
    """Run ``anomaly fleet train`` with some words."""
    return CliRunner().invoke(cli.main, ["fleet", "train", *words])


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, before anything of Spark is imported."""
    monkeypatch.setattr(session, "find_spec", lambda name: None if name in ("pyspark", "pyarrow") else name)
    result = run(*WORDS)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: A fleet needs pyspark, pyarrow. Install it, on the driver and on the workers, with: pip install"
        " 'osquery-anomaly[fleet]' (some 450 MB; it also needs Java 17).\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "/models"), "Missing option '--from'"),
        (("--from", "/logs"), "Missing option '--models'"),
        ((*WORDS, "--users-at-least", "100"), "100 is not in the range x>=500"),
        ((*WORDS, "--key", "both"), "'both' is not one of 'local', 'host', 'user'"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    """The word that does not fit is named."""
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr


@needs_extra
@pytest.mark.parametrize("lost", [{}, {"root": "MemoryError: "}])
def test_what_came_of_it_is_a_row_and_reasons(monkeypatch: pytest.MonkeyPatch, lost: dict[str, str]) -> None:
    """Who could have been learned is named first, and then the exit code says that not all was well."""
    from anomaly.fleet import train as room  # noqa: PLC0415 - only with the extra
    from anomaly.fleet.keys import Rule  # noqa: PLC0415 - the same
    from anomaly.fleet.manifest import Entry, Manifest  # noqa: PLC0415 - the same

    short = {f"u{number}": "3 actions to learn from, and 500 are needed" for number in range(7)}
    models = {"alice": Entry("alice/2.safetensors", DIGEST, 900, 7)}
    manifest = Manifest(2, "OCSVM", models, None, {**short, **lost})
    asked = []

    def train(request: room.Request, *_: object) -> room.Outcome:
        asked.append(request)
        return room.Outcome(manifest, 1, lost, 910, {"empty": 3}, {"alice": 1.0})

    monkeypatch.setattr(room, "train", train)
    monkeypatch.setattr(session, "session", lambda _: None)
    result = run(*WORDS, "--key", "host", "--since", "2026-10-05", "--format", "json")
    assert asked == [
        room.Request(
            ("/logs",),
            "/models",
            Algorithm.OCSVM,
            Rule.HOST,
            Period(1_791_158_400, None),
        )
    ]
    assert json.loads(result.stdout) == {
        "version": 2,
        "new": 1,
        "failed": 7 + len(lost),
        "models": 1,
        "background": False,
        "lines": 910,
        "skipped": 3,
    }
    first = [f"{key}: no new model: {reason}" for key, reason in [*lost.items(), *short.items()]][:5]
    said = result.stderr.splitlines()
    assert [line.rstrip() for line in said[:5]] == [line.rstrip() for line in first]
    assert said[5] == f"{2 + len(lost)} more have no new model; why is in /models/manifest.json"
    assert result.exit_code == (12 if lost else 0)
    end = "Error: 1 users could not be learned, 1 have new models. Why is said above, and in the manifest."
    assert said[6:] == ([end] if lost else [])
