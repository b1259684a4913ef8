from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from anomaly.errors import ModelRefused
from anomaly.model import SCHEMA, UserModel
from anomaly.osquery import Action
from anomaly.store import Store

if TYPE_CHECKING:
    from tests.conftest import Trained

Arrays = dict[str, NDArray[Any]]
Header = dict[str, Any]
ZEROS = "0" * 64


def content(models: Path, user: str = "alice") -> bytes:
    """Return a model's file."""
    return (models / user / "1.safetensors").read_bytes()


def crafted(data: bytes, change: Callable[[Header, Arrays], None]) -> bytes:
    """Change a model as someone would who knows how its digest is made."""
    arrays = {name: array.copy() for name, array in load(data).items()}
    length = int.from_bytes(data[:8], "little")
    header: Header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["anomaly"][64:])
    change(header, arrays)
    made = save(arrays, {"anomaly": ZEROS + json.dumps(header)})
    return made.replace(ZEROS.encode(), hashlib.sha256(made).hexdigest().encode(), 1)


def refused(data: bytes) -> str:
    """Return why a file is refused."""
    with pytest.raises(ModelRefused, match=r"^Model X is refused: ") as caught:
        UserModel.from_bytes(data, "Model X")
    return str(caught.value)


def test_round_trip(trained: Trained, actions: list[Action]) -> None:
    """A model that was saved and read again is the same bytes, and gives the same scores."""
    stored = Store(trained.models).load("alice")
    assert stored is not None
    one = stored.model
    data = one.to_bytes()
    assert data == content(trained.models)
    two = UserModel.from_bytes(data, "Model X")
    assert two.to_bytes() == data
    assert two.card == one.card
    states = one.detector.start(), two.detector.start()
    for action in actions[:300]:
        tokens = one.tokenizer.encode(action)
        assert two.tokenizer.encode(action) == tokens
        found = [m.detector.score(s, tokens) for m, s in zip((one, two), states, strict=True)]
        assert found[0] == found[1]
        assert one.calibration.action.score(found[0].action) == two.calibration.action.score(found[1].action)
        assert one.calibration.window.score(found[0].window) == two.calibration.window.score(found[1].window)


def test_the_crafting_itself_is_accepted(trained: Trained) -> None:
    """A file crafted without a change is read: what the other tests refuse is what they changed."""
    assert (
        UserModel.from_bytes(crafted(content(trained.models), lambda _h, _a: None), "Model X").card.user == "alice"
    )


def test_another_schema_is_refused(trained: Trained) -> None:
    """A model of a newer program says so."""
    reason = refused(crafted(content(trained.models), lambda header, _: header["card"].update(schema=SCHEMA + 1)))
    assert f"its schema is {SCHEMA + 1}, this program reads {SCHEMA}" in reason


def test_another_digest_is_refused(trained: Trained) -> None:
    """Content that does not match its SHA-256 is refused before anything is made of it."""
    data = content(trained.models)
    assert "does not match its SHA-256" in refused(data[:-1] + bytes([data[-1] ^ 1]))
    assert "does not match its SHA-256" in refused(data + b"\0")


CHANGES: dict[str, Callable[[Header, Arrays], Any]] = {
    "no card": lambda h, _: h.pop("card"),
    "card of another kind": lambda h, _: h.update(card=[]),
    "no user": lambda h, _: h["card"].pop("user"),
    "unknown algorithm": lambda h, _: h["card"].update(algorithm="PICKLE"),
    "no vocabulary": lambda h, _: h.pop("tokenizer"),
    "empty vocabulary": lambda h, _: h["tokenizer"].update(heads=[]),
    "vocabulary with a gap": lambda h, _: h["tokenizer"]["heads"][1].update(start=9999),
    "vocabulary of another kind": lambda h, _: h["tokenizer"].update(heads=3),
    "silent of another kind": lambda h, _: h["tokenizer"].update(silent=[["a"]]),
    "no salt": lambda h, _: h["tokenizer"].pop("salt"),
    "rare values that do not pair up": lambda _, a: a.update({"tokenizer.rare_count": np.zeros(1, np.uint32)}),
    "no calibration": lambda _, a: a.pop("calibration.action"),
    "calibration that goes down": lambda _, a: a.update(
        {"calibration.window": a["calibration.window"][:, ::-1].copy()}
    ),
    "calibration of NaN": lambda _, a: a["calibration.action"].fill(np.nan),
    "calibration of nothing": lambda _, a: a.update({"calibration.action": np.zeros((2, 1))}),
    "calibration in one dimension": lambda _, a: a.update({"calibration.action": np.zeros(4)}),
}
OCSVM: dict[str, Callable[[Header, Arrays], Any]] = {
    "narrow bags": lambda _, a: a.update({"detector.support": a["detector.support"][:, :-1].copy()}),
    "flat bags": lambda _, a: a.update({"detector.support": a["detector.support"].ravel()}),
    "too few weights": lambda _, a: a.update({"detector.weights": a["detector.weights"][1:].copy()}),
    "no offset": lambda _, a: a.update({"detector.offset": np.zeros(0)}),
    "bucket out of range": lambda _, a: a["detector.window"].fill(1024),
    "flat window": lambda _, a: a.update({"detector.window": a["detector.window"].ravel()}),
    "the other detector": lambda h, _: h["card"].update(algorithm="LSTM"),
}
LSTM: dict[str, Callable[[Header, Arrays], Any]] = {
    **{
        f"another shape of {name}": lambda _, a, name=name: a.update(  # type: ignore[misc]
            {f"detector.{name}": a[f"detector.{name}"][:-1].copy()}
        )
        for name in (
            "kernel",
            "recurrent",
            "bias",
            "output",
            "output_bias",
            "starts",
            "frequency",
            "hidden",
            "cell",
        )
    },
    "too few rarities": lambda _, a: a.update({"detector.rarity": a["detector.rarity"][1:].copy()}),
    "rarity of NaN": lambda _, a: a["detector.rarity"].fill(np.nan),
    "no columns": lambda _, a: a.update({"detector.starts": np.zeros(0, np.int32)}),
    "columns that go back": lambda _, a: a.update({"detector.starts": a["detector.starts"][::-1].copy()}),
    "no kernel": lambda _, a: a.pop("detector.kernel"),
    "the other detector": lambda h, _: h["card"].update(algorithm="OCSVM"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_crafted_headers_are_refused(trained: Trained, change: Callable[[Header, Arrays], None]) -> None:
    """A file with the right digest and the wrong content is refused."""
    refused(crafted(content(trained.models), change))


@pytest.mark.parametrize("change", OCSVM.values(), ids=OCSVM.keys())
def test_crafted_window_models_are_refused(ocsvm_models: Path, change: Callable[[Header, Arrays], None]) -> None:
    """Arrays that do not fit each other are refused when they are read, not when they are used."""
    refused(crafted(content(ocsvm_models), change))


@pytest.mark.parametrize("change", LSTM.values(), ids=LSTM.keys())
def test_crafted_networks_are_refused(lstm_models: Path, change: Callable[[Header, Arrays], None]) -> None:
    """Arrays that do not fit each other are refused when they are read, not when they are used."""
    refused(crafted(content(lstm_models), change))


def test_a_network_for_a_smaller_vocabulary_is_refused(lstm_models: Path) -> None:
    """A network and a vocabulary of different sizes are refused."""
    refused(crafted(content(lstm_models), lambda header, _: header["tokenizer"]["heads"][-1]["tokens"].pop()))


def move(header: Header, arrays: Arrays) -> None:
    """Move the columns' borders by one, and keep the vocabulary's size."""
    del arrays
    first, second = header["tokenizer"]["heads"][:2]
    first["tokens"].append(second["tokens"].pop())
    second["start"] += 1


def test_a_network_for_other_columns_is_refused(lstm_models: Path) -> None:
    """A network whose softmaxes are not the vocabulary's columns is refused, not found out by an IndexError."""
    refused(crafted(content(lstm_models), move))


def wrong(_: Header, arrays: Arrays) -> None:
    """Make what is to be a probability or a bucket something that it cannot be."""
    for name in ("detector.window", "detector.frequency"):
        if name in arrays:
            arrays[name] = np.full(arrays[name].shape, 2.5 if name.endswith("window") else -5.0)


def test_arrays_of_another_kind_crash_nothing(trained: Trained, actions: list[Action]) -> None:
    """Arrays of the right shape and the wrong type or values are refused, or at least score."""
    try:
        model = UserModel.from_bytes(crafted(content(trained.models), wrong), "Model X")
    except ModelRefused:
        return
    state = model.detector.start()
    for action in actions[:300]:
        model.detector.score(state, model.tokenizer.encode(action))


def test_no_pickle_is_ever_read(trained: Trained) -> None:
    """The file is safetensors, whose header is JSON and whose arrays are numbers."""
    data = content(trained.models)
    length = int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8 : 8 + length])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} <= {
        *("F32", "F64", "I16", "I32", "I64", "U8", "U32"),
    }
