"""A checkpoint and a directory of scores are of one query."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from anomaly.errors import ConfigError, StateRefused
from anomaly.fleet.claim import CLAIM, MARK, claim
from anomaly.fleet.places import LocalPlace
from anomaly.fleet.score import Asked
from anomaly.fleet.worker import Order

Taker = Callable[..., list[str]]


@pytest.fixture
def take(tmp_path: Path) -> Taker:
    """Give what asks for a query and returns what was said."""

    def ask(checkpoint: str = "checkpoint", out: str = "out", key: str = "local", **more: str) -> list[str]:
        order = Order(more.get("models", "/models"), key, adapt=True, least=0.0)
        to = more.get("to", str(tmp_path / out))
        asked = Asked(more.get("source", "/in"), to, str(tmp_path / checkpoint), order)
        said: list[str] = []
        place = LocalPlace(Path(to)) if to.startswith("/") else None
        claim(asked, LocalPlace(tmp_path / checkpoint), place, said.append)
        return said

    return ask


def test_the_same_query_goes_on(take: Taker, tmp_path: Path) -> None:
    """Who asks for the same finds all as it was, and nothing is written anew."""
    assert take() == []
    before = (tmp_path / "checkpoint" / CLAIM).stat(), (tmp_path / "out" / MARK).stat()
    (tmp_path / "out" / "_spark_metadata").mkdir()
    assert take() == []
    after = (tmp_path / "checkpoint" / CLAIM).stat(), (tmp_path / "out" / MARK).stat()
    assert [one.st_ino for one in before] == [one.st_ino for one in after]


def test_a_new_checkpoint_does_not_write_where_another_has(take: Taker, tmp_path: Path) -> None:
    """Spark would write nothing there and say nothing; so it is an error, which names the checkpoint."""
    take()
    with pytest.raises(ConfigError, match=f"the query whose checkpoint is {tmp_path / 'checkpoint'}; of another"):
        take("other")
    assert not (tmp_path / "other" / CLAIM).exists()
    assert take("other", "another") == []
    with pytest.raises(ConfigError, match="holds the scores of the query"):
        take("third", "another")


def test_what_spark_has_written_for_somebody_is_not_written_to(take: Taker, tmp_path: Path) -> None:
    """Also where nothing, or nothing that can be read, says whose it is."""
    (tmp_path / "out" / "_spark_metadata").mkdir(parents=True)
    with pytest.raises(ConfigError, match="whose checkpoint is that is not known"):
        take()
    (tmp_path / "out" / MARK).write_text("[]")
    with pytest.raises(ConfigError, match="that is not known"):
        take()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key": "user"}, r"a query with --key local, and this one has user\. .*--to one as well\.$"),
        ({"source": "/elsewhere"}, "with --from /in, and this one has /elsewhere"),
        ({"source": "kafka://a:1/osquery"}, "with --from /in, and this one has kafka topic osquery"),
        ({"to": "https://a/secret"}, r"with --to .*/out, and this one has webhook\. .* that --from holds\.$"),
    ],
)
def test_a_checkpoint_is_of_one_question(take: Taker, changed: dict[str, str], words: str) -> None:
    """Whose model judges, where from and where to stay the same; else it is said what to do."""
    take()
    with pytest.raises(ConfigError, match=words):
        take(**changed)
    assert take() == []


def test_other_models_may_judge(take: Taker) -> None:
    """Another store is taken over, and said once."""
    take()
    assert take(models="/new") == ["Users were judged by the models in /models; those in /new judge from now on."]
    assert take(models="/new") == []


def test_brokers_and_secrets_may_change(take: Taker, tmp_path: Path) -> None:
    """A topic is the same at another broker; of a webhook nothing is kept, since its address may be secret."""
    take(source="kafka://a:1/osquery", to="https://host/secret")
    assert take(source="kafka://b:2/osquery", to="https://host/other") == []
    assert "secret" not in (tmp_path / "checkpoint" / CLAIM).read_text()
    with pytest.raises(ConfigError, match="with --from kafka topic osquery"):
        take(source="kafka://b:2/other", to="https://host/other")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 100_000, b'{"query": 1}', None])
def test_a_claim_that_cannot_be_read_is_refused(take: Taker, tmp_path: Path, content: bytes | None) -> None:
    """It is not guessed what a query was asked for; None is another version's."""
    take()
    file = tmp_path / "checkpoint" / CLAIM
    newer = json.dumps(json.loads(file.read_text()) | {"schema": 2}).encode()
    file.write_bytes(newer if content is None else content)
    with pytest.raises(StateRefused, match=r"anomaly\.json cannot be read: .* new directories\."):
        take()


def test_a_checkpoint_of_something_else_is_refused(take: Taker, tmp_path: Path) -> None:
    """Where Spark has begun and we have not, it was another program."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "metadata").write_text("{}")
    with pytest.raises(StateRefused, match="a query that is none of ours"):
        take()
