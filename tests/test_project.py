"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


FLEET = ("fleet", "fleet-kafka")


def pins(file: str = "requirements.txt") -> dict[str, Requirement]:
    """Read a file of pins."""
    rows = [row.partition("#")[0].strip() for row in (ROOT / file).read_text().splitlines()]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, filter(None, rows))}


def ranges() -> list[Requirement]:
    """Read the dependencies of pyproject.toml, those for development too."""
    return [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]


@pytest.mark.parametrize("wanted", ranges(), ids=lambda wanted: str(wanted.name))
def test_each_range_has_an_exact_pin_within_it(wanted: Requirement) -> None:
    """requirements.txt pins what pyproject.toml ranges."""
    pin = pins()[canonicalize_name(wanted.name)]
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    assert wanted.specifier.contains(specifier.version)
    assert str(pin.marker) == str(wanted.marker)


def test_nothing_is_pinned_that_nothing_asks_for() -> None:
    """Every pin belongs to a range."""
    assert set(pins()) == {canonicalize_name(wanted.name) for wanted in ranges()}


def of_the_fleet() -> list[Requirement]:
    """Read what the extras for a fleet ask for."""
    return [Requirement(text) for extra in FLEET for text in PROJECT["optional-dependencies"][extra]]


def test_a_fleets_ranges_have_exact_pins_apart() -> None:
    """requirements-fleet.txt pins the extras, and README's commands do not install them."""
    pinned = pins("requirements-fleet.txt")
    assert set(pinned) == {canonicalize_name(wanted.name) for wanted in of_the_fleet()}
    for wanted in of_the_fleet():
        (specifier,) = pinned[canonicalize_name(wanted.name)].specifier
        assert specifier.operator == "=="
        assert wanted.specifier.contains(specifier.version)
    assert "fleet.txt" not in (ROOT / "README.md").read_text()
    assert "-r requirements-fleet.txt" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(("mark", "end"), [("demo", "anomaly demo"), ("tests", "pytest -n 2")])
def test_readmes_two_commands_make_their_own_environment(mark: str, end: str) -> None:
    """Each is one line that makes a virtual environment and ends in the thing itself."""
    readme = (ROOT / "README.md").read_text()
    match = re.search(rf"<!-- {mark} -->\n```sh\n(.*)\n```", readme)
    assert match is not None
    assert match[1].startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert match[1].endswith(end)


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*"))]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """Every relative link in a page names a file that is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize(
    "page", ["README", *(f"docs/{n}" for n in ("alerts", "configuration", "report", "scores"))]
)
def test_lines_of_pages_are_wrapped(page: str) -> None:
    """What is no row of a table, which cannot be, is read in a window of 130 columns."""
    lines = (ROOT / f"{page}.md").read_text().splitlines()
    assert [line for line in lines if len(line) > 130 and not line.startswith("|")] == []


def test_the_architecture_page_names_every_room() -> None:
    """docs/architecture.md is complete."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [p.name for p in (ROOT / "anomaly").glob("*.py") if not p.name.startswith("__")]
    rooms += [f"{p.name}/" for p in (ROOT / "anomaly").iterdir() if (p / "__init__.py").exists()]
    known = page.replace("calibration_fit.py", "calibration_fit.py")
    assert [room for room in rooms if room not in known] == []
