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

from anomaly.detectors.fusion import Filter
from anomaly.detectors.interface import Algorithm
from anomaly.enrolment import Enrolment, enrol
from anomaly.errors import ModelRefused
from anomaly.harvest import Watch
from anomaly.model import SCHEMA, UserModel, card_from, head_size
from anomaly.osquery import Action
from anomaly.store import Store

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


def sealed(card: Header) -> str:
    """Return the digest of a card as it is in a crafted file."""
    return hashlib.sha256(json.dumps(card).encode()).hexdigest()


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
        found = [m.detector.judge(s, [tokens], [True]) for m, s in zip((one, two), states, strict=True)]
        assert [part.tolist() for part in found[0][:2]] == [part.tolist() for part in found[1][:2]]
        assert found[0].steps == found[1].steps
        scores = [m.calibration.action.scores(e.action.tolist()) for m, e in zip((one, two), found, strict=True)]
        assert scores[0] == scores[1]
        assert found[0].steps == found[1].steps
        for views in zip(found[0].views, found[1].views, strict=True):
            excess = [
                Filter(m.fusion).step(m.fusion.evidence(v)).excess for m, v in zip((one, two), views, strict=True)
            ]
            assert one.calibration.window.score(excess[0]) == two.calibration.window.score(excess[1])


def test_the_crafting_itself_is_accepted(trained: Trained) -> None:
    """A file crafted without a change is read: what the other tests refuse is what they changed."""
    assert (
        UserModel.from_bytes(crafted(content(trained.models), lambda _h, _a: None), "Model X").card.user == "alice"
    )


@pytest.mark.parametrize("schema", [1, 2, SCHEMA + 1])
def test_from_bytes_another_schema_is_refused(trained: Trained, schema: int) -> None:
    """A model of a newer program, or of an older one, says so, in its card alone as well."""
    data = crafted(content(trained.models), lambda header, _: header["card"].update(schema=schema))
    assert f"its schema is {schema}, this program reads {SCHEMA}" in refused(data)
    old = crafted(data, lambda header, _: header.update(seal=sealed(header["card"])))
    with pytest.raises(ModelRefused, match=f"its schema is {schema}, this program reads {SCHEMA}"):
        card_from(old[: head_size(old[:8])], "Model X")


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
    "a view too many": lambda _, a: a.update(
        {f"fusion.{name}": np.ones((2, 6)) for name in ("weights", "centre", "scale")}
    ),
    "a channel too few": lambda _, a: a.update(
        {
            "fusion.channels": a["fusion.channels"][:1],
            **{f"fusion.{name}": np.ones((1, 5)) for name in ("weights", "centre", "scale")},
        }
    ),
    "weights of NaN": lambda _, a: a["fusion.weights"].fill(np.nan),
    "channels in one dimension": lambda _, a: a.update({"fusion.channels": a["fusion.channels"].ravel()}),
    "channels of NaN": lambda _, a: a["fusion.channels"].fill(np.nan),
    "a channel of no length": lambda _, a: a["fusion.channels"][:, :1].fill(0.0),
    "no delay": lambda _, a: a.update({"fusion.delay": np.zeros(0, np.int64)}),
    "a delay without end": lambda _, a: a.update({"fusion.delay": np.array([np.inf])}),
    "a delay into the past": lambda _, a: a["fusion.delay"].fill(-1),
    "no profile": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.profile.")],
    "a profile out of order": lambda _, a: a.update({"detector.profile.keys": a["detector.profile.keys"][::-1]}),
    "a profile of fewer counts": lambda _, a: a.update({"detector.profile.own": a["detector.profile.own"][1:]}),
    "counts below nothing": lambda _, a: a["detector.profile.own"].fill(-1.0),
    "counts of NaN": lambda _, a: a["detector.profile.others"].fill(np.nan),
    "no ranks": lambda _, a: a.pop("detector.rarity"),
    "ranks that go up": lambda _, a: a.update({"detector.rarity": a["detector.rarity"][:, ::-1] + np.eye(8, 16)}),
    "a window that does not add up": lambda _, a: a.update(
        {"detector.window_sizes": a["detector.window_sizes"][1:]}
    ),
    "a window too long": lambda _, a: a.update(
        {"detector.window": np.arange(101, dtype=np.uint64), "detector.window_sizes": np.ones(101, np.int64)}
    ),
    "a window of another type": lambda _, a: a.update({"detector.window": a["detector.window"].astype(np.int64)}),
    "a cohort's, of one who was learned alone": lambda _, a: a["detector.profile.others_totals"].fill(9.0),
}
OCSVM: dict[str, Callable[[Header, Arrays], Any]] = {
    "sizes that do not add up": lambda _, a: a.update({"detector.svm.sizes": a["detector.svm.sizes"][1:]}),
    "too few weights": lambda _, a: a.update({"detector.svm.alphas": a["detector.svm.alphas"][1:].copy()}),
    "weights of nothing": lambda _, a: a["detector.svm.alphas"].fill(0.0),
    "no offset": lambda _, a: a.update({"detector.svm.offset": np.zeros(0)}),
    "no window model": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.svm.")],
    "endless windows": lambda _, a: a.update(
        {
            "detector.svm.features": np.arange(400, dtype=np.uint64),
            "detector.svm.sizes": np.ones(400, np.int64),
            "detector.svm.alphas": np.full(400, 1 / 400),
        }
    ),
    "no neighbours": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.neighbours.")],
    "neighbours without a window": lambda _, a: a.update(
        {"detector.neighbours.table": a["detector.neighbours.table"][:, :0].copy()}
    ),
    "neighbours of fewer features": lambda _, a: a.update(
        {"detector.neighbours.table": a["detector.neighbours.table"][1:].copy()}
    ),
    "neighbours of numbers": lambda _, a: a.update(
        {"detector.neighbours.table": a["detector.neighbours.table"].astype(np.float64)}
    ),
    "another algorithm": lambda h, _: h["card"].update(algorithm="LSTM"),
    "one of two parts": lambda h, _: h["card"].update(algorithm="BOTH"),
}
LSTM: dict[str, Callable[[Header, Arrays], Any]] = {
    **{
        f"another shape of {name}": lambda _, a, name=name: a.update(  # type: ignore[misc]
            {f"detector.sequence.{name}": a[f"detector.sequence.{name}"][:-1].copy()}
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
            "rarity",
            "share",
            "cache",
        )
    },
    "rarity of NaN": lambda _, a: a["detector.sequence.rarity"].fill(np.nan),
    "no columns": lambda _, a: a.update({"detector.sequence.starts": np.zeros(0, np.int32)}),
    "columns that go back": lambda _, a: a.update(
        {"detector.sequence.starts": a["detector.sequence.starts"][::-1].copy()}
    ),
    "no kernel": lambda _, a: a.pop("detector.sequence.kernel"),
    "no word of the cache": lambda _, a: a.pop("detector.sequence.cache"),
    "a share beyond one": lambda _, a: a["detector.sequence.share"].fill(1.5),
    "counts below nothing": lambda _, a: a["detector.sequence.own"].fill(-1.0),
    "nothing expected": lambda _, a: a["detector.sequence.prior"].fill(0.0),
    "token out of range": lambda _, a: a["detector.sequence.window"].fill(1 << 20),
    "tokens that are no whole numbers": lambda _, a: a.update(
        {"detector.sequence.window": a["detector.sequence.window"] + 0.5}
    ),
    "an action of no token": lambda _, a: a["detector.sequence.window"][0].fill(0),
    "rarities in a table": lambda _, a: a.update(
        {"detector.sequence.recent": np.ones((len(a["detector.sequence.recent"]), 2))}
    ),
    "no network": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.sequence.")],
    "another algorithm": lambda h, _: h["card"].update(algorithm="OCSVM"),
    "one of two parts": lambda h, _: h["card"].update(algorithm="BOTH"),
}
BOTH: dict[str, Callable[[Header, Arrays], Any]] = {
    "one of the two": lambda h, _: h["card"].update(algorithm="LSTM"),
    "the other of the two": lambda h, _: h["card"].update(algorithm="OCSVM"),
    "no sequence": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.sequence.")],
    "a sequence that was left out": lambda h, _: h["card"].update(without=["lstm"]),
    "no window": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.svm.")],
    "no neighbours": lambda _, a: [a.pop(name) for name in list(a) if name.startswith("detector.neighbours.")],
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
@given(st.integers(0, 99), st.sampled_from([-5.0, 0.0, 0.5, 2.5, 1e30, np.nan, np.inf]), st.booleans())
def test_arrays_of_another_kind_crash_nothing(
    trained: Trained,
    actions: list[Action],
    place: int,
    value: float,
    keep: bool,  # noqa: FBT001 - as hypothesis gives it
) -> None:
    """An array of the right shape and the wrong values, or the wrong type, is refused, or at least scores."""
    good = content(trained.models)
    names = sorted(load(good))
    name = names[place % len(names)]

    def wrong(_: Header, arrays: Arrays) -> None:
        filled = np.full(arrays[name].shape, value)
        arrays[name] = filled.astype(arrays[name].dtype) if keep else filled

    with np.errstate(all="ignore"):
        try:
            model = UserModel.from_bytes(crafted(good, wrong), "Model X")
        except ModelRefused:
            return
        batch = [model.tokenizer.encode(action) for action in actions[:150]]
        evidence = model.detector.judge(model.detector.start(), batch, [True] * len(batch))
        filtered = Filter(model.fusion)
        for views in evidence.views:
            risk = model.calibration.window.score(filtered.step(model.fusion.evidence(views)).excess)
            assert 0.0 <= risk <= 100.0  # and no NaN, which never alarms


def test_no_pickle_is_ever_read(trained: Trained) -> None:
    """The file is safetensors, whose header is JSON and whose arrays are numbers."""
    data = content(trained.models)
    length = int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8 : 8 + length])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} <= {
        *("BOOL", "F32", "F64", "I32", "I64", "U8", "U32", "U64"),
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
