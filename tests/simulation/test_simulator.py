"""The simulated log as a whole: reproducible, of the right size, with labels that fit."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from anomaly.simulation import Simulation, simulate, write
from anomaly.simulation.simulator import MONDAY

DATA = Path(__file__).parents[2] / "data"
USERS = ("alice", "bob", "carol")
WEEK = 7 * 86400
VOLATILE = {"time", "pid", "parent", "terminal", "message"}
"""Columns whose values are new in every row, or free text."""


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    """Return the simulation that the sample logs are made from."""
    return simulate()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the files that ``write`` makes with its defaults."""
    return write(tmp_path_factory.mktemp("data") / "made")


def content(path: Path) -> bytes:
    """Return what a file holds, uncompressed."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_same_seed_same_bytes(tmp_path: Path, written: list[Path]) -> None:
    """The same seed makes the same files, byte for byte, also compressed."""
    again = write(tmp_path)
    assert [path.name for path in again] == [path.name for path in written]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_gzip_header_tells_nothing() -> None:
    """The header of a compressed log holds neither a time nor a file name."""
    for path in DATA.glob("*.gz"):
        assert path.read_bytes()[3:8] == bytes(5)


def test_other_seed_other_lines() -> None:
    """Another seed makes another log."""
    assert simulate(seed=1, days=1).normal != simulate(seed=2, days=1).normal


def test_shipped_files_are_what_write_makes(written: list[Path]) -> None:
    """The files in data/ hold exactly what ``write`` makes; only a gzip made by another zlib may differ."""
    for path in written:
        assert sha256(content(DATA / path.name)).digest() == sha256(content(path)).digest(), path.name


def test_readme_names_every_file_with_its_hash() -> None:
    """data/README.md gives the SHA-256 of each file as shipped."""
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for path in DATA.iterdir():
        if path.name != "README.md":
            assert f"{sha256(path.read_bytes()).hexdigest()}  {path.name}" in readme


def test_shipped_files_are_small() -> None:
    """The sample logs take less than 5 MB of the repository."""
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 5_000_000


def test_enough_actions_of_every_user(simulation: Simulation) -> None:
    """Each user acts some thousand times in the normal weeks, and some hundred in the days of each intrusion."""
    normal = Counter(line.user for line in simulation.normal)
    assert all(8_000 < normal[user] < 12_500 for user in USERS)
    for part in (simulation.masquerade, simulation.attack):
        assert all(1_000 < Counter(line.user for line in part)[user] < 4_000 for user in USERS)


@pytest.mark.parametrize("user", USERS)
def test_later_rows_hold_new_values(simulation: Simulation, user: str) -> None:
    """A fifth to two fifths of a user's second week holds a value that the first week never showed."""
    seen: set[tuple[str, str, str]] = set()
    later = novel = 0
    for line in simulation.normal:
        if line.user != user:
            continue
        result = json.loads(line.text)
        columns = result["columns"].items()
        values = {(result["name"], key, value) for key, value in columns if key not in VOLATILE}
        if line.time < MONDAY + WEEK:
            seen |= values
        else:
            later += 1
            novel += not values <= seen
    assert 0.2 < novel / later < 0.4


@pytest.mark.parametrize(
    ("label", "victim", "fewest", "most"), [("masquerade", "alice", 400, 600), ("attack", "carol", 300, 500)]
)
def test_labels_fit(written: list[Path], label: str, victim: str, fewest: int, most: int) -> None:
    """Every label names a line of the log, of the account attacked, and there are as many as promised."""
    files = {path.name: path for path in written}
    lines = content(files[f"{label}.results.log.gz"]).splitlines()
    with files[f"{label}.labels.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert fewest <= len(rows) <= most
    assert [int(row["line"]) for row in rows] == sorted({int(row["line"]) for row in rows})
    for row in rows:
        result = json.loads(lines[int(row["line"]) - 1])
        assert (row["user"], row["label"], result["columns"]["username"]) == (victim, label, victim)
        assert row["step"]


def test_normal_days_hold_no_intrusion(simulation: Simulation) -> None:
    """Nothing of an intrusion happens in the normal weeks."""
    assert not any(line.step for line in simulation.normal)


def test_masquerade_uses_the_strangers_words(simulation: Simulation) -> None:
    """Most programs of the masquerade are rarer with alice than with bob, whose habits they are."""
    typed: dict[str, Counter[str]] = {"alice": Counter(), "bob": Counter()}
    for line in simulation.normal:
        result = json.loads(line.text)
        if result["name"].endswith("shell_history") and line.user in typed:
            typed[line.user][result["columns"]["command"].split()[0]] += 1
    stranger = [
        json.loads(line.text)["columns"]["command"].split()[0]
        for line in simulation.masquerade
        if line.step and "shell_history" in line.text
    ]
    like_bob = sum(typed["bob"][word] > typed["alice"][word] for word in stranger)
    assert like_bob > 0.6 * len(stranger)


@pytest.mark.parametrize("days", [1, 3, 6])
def test_any_number_of_days(days: int) -> None:
    """Fewer days make a shorter log, whatever day of the week the intrusions fall on."""
    made = simulate(seed=3, days=days)
    assert made.normal[-1].time < MONDAY + days * 86400 <= made.masquerade[0].time
    assert {line.user for line in made.attack if line.step} >= {"carol"}


def test_no_days_is_refused() -> None:
    """A simulation without a normal day is refused with the reason."""
    with pytest.raises(ValueError, match="at least one normal day"):
        simulate(days=0)
