"""What a check knows of the pack."""

from __future__ import annotations

import json
from pathlib import Path

from anomaly.doctor.osqueryconf import parse
from anomaly.doctor.pack import HOST_LEVEL, QUERIES, names_user, reads_root_alone

_PACK = parse((Path(__file__).parents[2] / "conf/user-behavior.conf").read_bytes())["queries"]


def test_it_is_the_pack_that_is_shipped() -> None:
    """Names and intervals are those of conf/user-behavior.conf."""
    assert {name: query["interval"] for name, query in _PACK.items()} == QUERIES
    assert json.dumps(list(_PACK)) == json.dumps(list(QUERIES))


def test_who_is_named() -> None:
    """Each query of the pack is taken for what it is: of people, naming them, or of the host."""
    assert all(names_user(query["query"]) for query in _PACK.values())
    assert not any(reads_root_alone(query["query"]) for query in _PACK.values())
    assert {name for name, query in _PACK.items() if "username" not in query["query"]} == HOST_LEVEL
