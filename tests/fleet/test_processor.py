from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="without the extra: pip install '.[fleet]'")
import pandas as pd
import pyarrow as pa
from pyspark.sql.streaming.tws_tester import TwsTester

from anomaly.fleet import processor
from anomaly.fleet.parcel import Entry, Parcel, pack
from anomaly.fleet.processor import COUNTS, Processor, ReadFiles, tables
from anomaly.fleet.reading import Row
from anomaly.fleet.worker import Order, worker
from anomaly.osquery import Action
from anomaly.scoring import Scorer
from anomaly.sinks.ndjson import encode
from anomaly.store import Store

Later = Callable[[int, int], list[Action]]


def order(store: Path, least: float = 0.0) -> Order:
    """Return what a worker is told."""
    return Order(str(store), "local", adapt=True, least=least)


def rows(actions: list[Action], start: int = 0) -> pd.DataFrame:
    """Return actions as Spark hands them over: as parcels, here two of them, the later one first."""
    entries = [Entry(action.time, place, 0, action) for place, action in enumerate(actions, start)]
    halves = entries[len(entries) // 2 :], entries[: len(entries) // 2]
    return pd.DataFrame({"parcel": [pack(Parcel(0, "s", "f", list(half))) for half in halves]})


def batch(tester: TwsTester, key: str, table: pd.DataFrame) -> pd.DataFrame:
    """Let a batch of a key be scored."""
    return tester.testInPandas(key, table)


def lines(table: pd.DataFrame) -> list[str]:
    """Return the lines of a table that came out."""
    return [line for text in table["lines"] if text is not None for line in text.split("\n")]


def counted(table: pd.DataFrame, name: str) -> int:
    """Return what was counted under a name."""
    texts = [text for text in table["counts"] if text is not None]
    return sum(int(text.split(" ")[COUNTS.index(name)]) for text in texts)


def test_batches_give_what_a_local_run_gives(
    ocsvm_models: Path, fleet_models: Path, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's tester of processors gets, batch by batch, the lines of a local run, and counts that add up."""
    monkeypatch.setattr(processor, "_LINES", 50)
    own = [action for action in later(300, 5) if action.user == "alice"]
    expected = Scorer(Store(ocsvm_models).load).score_all([(f"f:{n}", one) for n, one in enumerate(own)])
    tester = TwsTester(Processor(order(fleet_models)))
    found: list[str] = []
    for begin in (0, 130, 200):
        part = own[begin : {0: 130, 130: 200}.get(begin)]
        table = batch(tester, "m:alice", rows(part, begin))
        assert counted(table, "actions") == counted(table, "shown") == len(part)
        found += lines(table)
    assert found == encode(expected).decode().splitlines()
    mark = tester.peekValueState("place", "m:alice")
    assert mark is not None
    assert (len(mark[0]), mark[1]) == (32, own[-1].time)


def test_what_is_not_shown_is_scored(fleet_models: Path, later: Later) -> None:
    """Below the score that was asked for nothing is shown; all of it is counted, and moves the state."""
    own = [action for action in later(100, 5) if action.user == "alice"]
    tester = TwsTester(Processor(order(fleet_models, 100.0)))
    table = batch(tester, "m:alice", rows(own))
    assert lines(table) == []
    assert counted(table, "actions") == 100
    assert counted(table, "shown") == 0
    assert tester.peekValueState("place", "m:alice") is not None


def test_whose_model_is_refused_is_said(fleet_models: Path, later: Later) -> None:
    """Behind the counts, as far as it goes: who it is, and why."""
    file = fleet_models / "alice" / "1.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    own = [action for action in later(20, 5) if action.user == "alice"]
    table = batch(TwsTester(Processor(order(fleet_models))), "m:alice", rows(own))
    assert counted(table, "refused") == len(own)
    assert [text.split(" ", len(COUNTS))[-1] for text in table["counts"]] == [
        "alice: Model alice/1.safetensors is refused: it is not the one that the manifest names."
    ]


def test_strangers_need_no_state(fleet_models: Path, later: Later) -> None:
    """Who has no model is scored by what everyone does, and leaves nothing in the store."""
    tester = TwsTester(Processor(order(fleet_models)))
    table = batch(tester, "?:7", rows(later(20, 5)))
    assert counted(table, "strangers") == 40
    assert {json.loads(line)["model"]["state"] for line in lines(table)} == {"learning"}
    assert tester.peekValueState("place", "?:7") is None
    assert list(table.columns) == ["lines", "counts"]


def test_files_become_tables(fleet_models: Path, log: Path) -> None:
    """A table of files comes out as tables of parcels, with all actions in them."""
    columns = {"path": ["file:/in/a.log"], "modified": [5], "content": [log.read_bytes()]}
    out = list(ReadFiles(order(fleet_models))(iter([pa.RecordBatch.from_pydict(columns)])))
    counts = [row["count"] for batch in out for row in batch.to_pylist() if row["key"]]
    assert sum(counts) == 2406
    assert {row["key"] for batch in out for row in batch.to_pylist()} == {"m:alice", "m:bob"}


def test_tables_are_small() -> None:
    """No table holds more than some megabytes, but for a row that does so itself."""
    many = [Row("k", b"x" * (1 << 20), None, 1) for _ in range(12)]
    assert [table.num_rows for table in tables(many)] == [5, 5, 2]
    assert list(tables([])) == []


def test_what_is_held_is_not_searched_for_garbage(fleet_models: Path) -> None:
    """A worker looks for garbage seldom: of hundreds of models that it holds none is."""
    before = gc.get_threshold()
    try:
        worker(order(fleet_models))
        assert gc.get_threshold() == (50_000, *before[1:])
    finally:
        gc.set_threshold(*before)
