"""A model as one file: what is written is read again, and anything else is refused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.errors import ModelRefused
from anomaly.harvest import Watch
from anomaly.model import SCHEMA, UserModel, card_from, head_size
from anomaly.osquery import Action
from anomaly.store import Store
from tests.conftest import judge_one

if TYPE_CHECKING:
    from tests.conftest import Trained

Arrays = dict[str, NDArray[Any]]
Header = dict[str, Any]
ZEROS = "0" * 64
BACKGROUND = "background.safetensors"


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
        found = [judge_one(m.detector, s, tokens) for m, s in zip((one, two), states, strict=True)]
        assert found[0] == found[1]
        assert one.calibration.action.score(found[0].action) == two.calibration.action.score(found[1].action)
        odds = [m.fusion.evidence(e.views) for m, e in zip((one, two), found, strict=True)]
        assert one.calibration.window.score(odds[0]) == two.calibration.window.score(odds[1])


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


def test_a_header_that_is_not_ours_is_said_to_be_so(trained: Trained) -> None:
    """Neither a key nor the words of a reader of JSON are a reason."""
    data = content(trained.models)
    for bad in (data.replace(b"__metadata__", b"__metadatA__", 1), data[:8] + b"x" + data[9:]):
        reason = "Model X is refused: its header is damaged, or was not written by this program."
        assert refused(bad) == reason
        with pytest.raises(ModelRefused) as caught:
            card_from(bad[: head_size(bad[:8])], "Model X")
        assert str(caught.value) == reason


def test_a_card_is_read_alone(trained: Trained) -> None:
    """The beginning of a file is enough, no byte of it is needless, and the card in it has a digest of its own."""
    data = content(trained.models)
    head = data[: head_size(data[:8])]
    assert card_from(head, "Model X") == UserModel.from_bytes(data, "Model X").card
    assert len(head) < len(data)
    with pytest.raises(ModelRefused, match=r"^Model X is refused: it is cut short"):
        card_from(head[:-1], "Model X")
    with pytest.raises(ModelRefused, match=r"^Model X is refused: its card does not match its SHA-256"):
        card_from(head.replace(b'alice\\"', b'alicf\\"'), "Model X")


def test_a_card_without_a_digest_is_not_read_alone(trained: Trained) -> None:
    """A file from before cards had one is read as ever, but its card only with the rest."""
    old = crafted(content(trained.models), lambda header, _: header.pop("seal"))
    assert card_from(old[: head_size(old[:8])], "Model X") is None
    assert UserModel.from_bytes(old, "Model X").card.user == "alice"


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
    "no weights of the views": lambda _, a: a.pop("fusion.weights"),
    "a weight too many": lambda _, a: a.update({"fusion.weights": np.ones(3), "fusion.tails": np.ones((0, 2, 1))}),
    "weights of NaN": lambda _, a: a["fusion.weights"].fill(np.nan),
    "a filter that is certain": lambda _, a: a.update({"fusion.filter": np.array([0.0, 1.0, 0.5])}),
    "half a filter": lambda _, a: a.update({"fusion.filter": np.zeros(2)}),
    "tails that do not pair up": lambda _, a: a.update({"fusion.tails": a["fusion.tails"][[0, 0, 0]]}),
    "tails of NaN": lambda _, a: a["fusion.tails"].fill(np.nan),
}
OCSVM: dict[str, Callable[[Header, Arrays], Any]] = {
    "narrow bags": lambda _, a: a.update({"detector.support": a["detector.support"][:, :-1].copy()}),
    "flat bags": lambda _, a: a.update({"detector.support": a["detector.support"].ravel()}),
    "too few weights": lambda _, a: a.update({"detector.weights": a["detector.weights"][1:].copy()}),
    "no offset": lambda _, a: a.update({"detector.offset": np.zeros(0)}),
    "bucket out of range": lambda _, a: a["detector.window"].fill(1024),
    "flat window": lambda _, a: a.update({"detector.window": a["detector.window"].ravel()}),
    "no pool": lambda _, a: a.pop("detector.pool"),
    "narrow pool": lambda _, a: a.update({"detector.pool": a["detector.pool"][:, :-1].copy()}),
    "flat pool": lambda _, a: a.update({"detector.pool": a["detector.pool"].ravel()}),
    "pool of numbers": lambda _, a: a.update({"detector.pool": a["detector.pool"].astype(np.float64)}),
    "endless pool": lambda _, a: a.update({"detector.pool": np.zeros((1601, 128), np.uint8)}),
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
            "own",
            "prior",
            "hidden",
            "cell",
            "recent",
            "window",
            "shares",
        )
    },
    "too few rarities": lambda _, a: a.update({"detector.rarity": a["detector.rarity"][1:].copy()}),
    "rarity of NaN": lambda _, a: a["detector.rarity"].fill(np.nan),
    "no columns": lambda _, a: a.update({"detector.starts": np.zeros(0, np.int32)}),
    "columns that go back": lambda _, a: a.update({"detector.starts": a["detector.starts"][::-1].copy()}),
    "no kernel": lambda _, a: a.pop("detector.kernel"),
    "no word of others": lambda _, a: a.update({"detector.others": np.zeros(0, np.bool_)}),
    "no word of the cache": lambda _, a: a.pop("detector.cache"),
    "shares beyond one": lambda _, a: a["detector.shares"].fill(1.5),
    "counts below nothing": lambda _, a: a["detector.own"].fill(-1.0),
    "nothing expected": lambda _, a: a["detector.prior"].fill(0.0),
    "token out of range": lambda _, a: a["detector.window"].fill(1 << 20),
    "tokens that are no whole numbers": lambda _, a: a.update({"detector.window": a["detector.window"] + 0.5}),
    "an action of no token": lambda _, a: a["detector.window"][0].fill(0),
    "rarities in a table": lambda _, a: a.update({"detector.recent": np.ones((len(a["detector.recent"]), 2))}),
    "the other detector": lambda h, _: h["card"].update(algorithm="OCSVM"),
}
BOTH: dict[str, Callable[[Header, Arrays], Any]] = {
    "one of the two": lambda h, _: h["card"].update(algorithm="LSTM"),
    "the other of the two": lambda h, _: h["card"].update(algorithm="OCSVM"),
    "no sequence": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.sequence.")],
    "no window": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.window.")],
    "a window of the other": lambda _, a: a.update({"detector.window.window": a["detector.sequence.window"]}),
    "one weight": lambda _, a: a.update({"fusion.weights": np.ones(1), "fusion.tails": a["fusion.tails"][:1]}),
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


@pytest.mark.parametrize("change", BOTH.values(), ids=BOTH.keys())
def test_crafted_pairs_are_refused(both_models: Path, change: Callable[[Header, Arrays], None]) -> None:
    """Of the two views, neither may be missing, nor be taken for the other."""
    refused(crafted(content(both_models), change))


@pytest.mark.parametrize("kind", ["lstm", "both"])
def test_a_network_for_a_smaller_vocabulary_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    """A network and a vocabulary of different sizes are refused."""
    data = content(request.getfixturevalue(f"{kind}_models"))
    refused(crafted(data, lambda header, _: header["tokenizer"]["heads"][-1]["tokens"].pop()))


def move(header: Header, arrays: Arrays) -> None:
    """Move the columns' borders by one, and keep the vocabulary's size."""
    del arrays
    first, second = header["tokenizer"]["heads"][:2]
    first["tokens"].append(second["tokens"].pop())
    second["start"] += 1


def test_a_network_for_other_columns_is_refused(lstm_models: Path) -> None:
    """A network whose softmaxes are not the vocabulary's columns is refused, not found out by an IndexError."""
    refused(crafted(content(lstm_models), move))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.sampled_from([-5.0, 0.0, 2.5, 1e30, np.nan, np.inf]), st.booleans())
def test_arrays_of_another_kind_crash_nothing(
    trained: Trained,
    actions: list[Action],
    place: int,
    value: float,
    keep: bool,  # noqa: FBT001 - as hypothesis gives it
) -> None:
    """An array of the right shape and the wrong values, or the wrong type, is refused, or at least scores."""
    good = content(trained.models)
    names = sorted(name for name in load(good) if name.startswith("detector."))
    name = names[place % len(names)]

    def wrong(_: Header, arrays: Arrays) -> None:
        filled = np.full(arrays[name].shape, value)
        arrays[name] = filled.astype(arrays[name].dtype) if keep else filled

    with np.errstate(all="ignore"):
        try:
            model = UserModel.from_bytes(crafted(good, wrong), "Model X")
        except ModelRefused:
            return
        state = model.detector.start()
        for action in actions[:150]:
            model.fusion.evidence(judge_one(model.detector, state, model.tokenizer.encode(action)).views)


def test_no_pickle_is_ever_read(trained: Trained) -> None:
    """The file is safetensors, whose header is JSON and whose arrays are numbers."""
    data = content(trained.models)
    length = int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8 : 8 + length])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} <= {
        *("BOOL", "F32", "F64", "I16", "I32", "I64", "U8", "U32"),
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_changed_byte_is_refused(trained: Trained, data: st.DataObject) -> None:
    """Whichever byte of a model is changed, in its header or beyond, it is refused in words for people."""
    good = (trained.models / "alice/1.safetensors").read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    place = data.draw(st.integers(0, 300) | st.integers(0, length) | st.integers(0, len(good) - 1))
    change = data.draw(st.integers(1, 255))
    bad = bytearray(good)
    bad[place] ^= change
    reasons = (
        "its content does not match its SHA-256",
        "its card does not match its SHA-256",
        "its header is damaged, or was not written by this program",
        "it is cut short, or no safetensors file",
    )
    sentences = {f"Model X is refused: {reason}." for reason in reasons}
    assert refused(bytes(bad)) in sentences
    try:
        card_from(bytes(bad[:length]), "Model X")
    except ModelRefused as error:
        assert str(error) in sentences  # noqa: PT017 - the byte may be of what the card's digest does not cover


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_model_is_refused(trained: Trained, share: float) -> None:
    """A model that is cut short anywhere is refused, also where the cut leaves a few bytes or none."""
    good = (trained.models / "alice/1.safetensors").read_bytes()
    for size in (int(share * len(good)), int(share * 12)):
        with pytest.raises(ModelRefused):
            UserModel.from_bytes(good[:size], "Model")


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no model at all are refused."""
    for content in (data, len(data).to_bytes(8, "little") + data):
        with pytest.raises(ModelRefused):
            UserModel.from_bytes(content, "Model")


def test_models_are_dated_by_the_log(
    ocsvm_models: Path,
    log: Path,
    tmp_path: Path,
    silent: Watch,
    actions: list[Action],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock has no part in a model: at another time, the same log gives the same bytes."""
    monkeypatch.setattr(time, "time", lambda: 4.0e9)
    list(enrol(Enrolment((log,), tmp_path / "models", Algorithm.OCSVM), silent))
    assert (tmp_path / "models" / BACKGROUND).read_bytes() == (ocsvm_models / BACKGROUND).read_bytes()
    for user in ("alice", "bob"):
        assert content(tmp_path / "models", user) == content(ocsvm_models, user)
        stored = Store(ocsvm_models).load(user)
        assert stored is not None
        times = [action.time for action in actions if action.user == user and not action.baseline]
        assert (stored.model.card.first, stored.model.card.last) == (min(times), max(times))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("hours", hours) for hours in ([1, 2], [0] * 25, [-1] * 24, [0.5] * 24)),
        *((name, value) for name in ("first", "last") for value in (2**80, 2**62, -1)),
        *((name, -1) for name in ("days", "actions", "baseline")),
    ],
)
def test_a_card_that_cannot_be_is_refused(ocsvm_models: Path, name: str, value: object) -> None:
    """A card whose figures are none, though its digest is right, is refused and not met again when it is shown."""
    refused(crafted(content(ocsvm_models), lambda header, _: header["card"].update({name: value})))
