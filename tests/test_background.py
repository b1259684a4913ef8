from __future__ import annotations

from math import log2

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from anomaly.background import SCHEMA, Background
from anomaly.calibration import Tail
from anomaly.corpus import Corpus
from anomaly.errors import ModelRefused
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer

TIME = 1_793_000_000
RARITY = Tail(np.array([0.0, 2.0, 6.0]), np.array([1.0, 0.5, 0.1]), scale=1.5, shape=0.2)
REFUSED = r"The background is refused: .* Make a new one with: anomaly train --all-users"


def act(query: str = "files", **columns: str) -> Action:
    """Make an action."""
    return Action(TIME, "ws1", "alice", query, "added", columns)


def make() -> Background:
    """Make a background of a column with a frequent value, a rarer one, and forms."""
    corpus = Corpus()
    for number in range(90):
        value = ("/srv/a", "/srv/a", "/srv/b", f"/srv/data/{number}.txt")[number % 4]
        corpus.append(number, act(path=value))
        corpus.append(number, act("shells", name="sh"))
    tokenizer = Tokenizer.fit(corpus, corpus.rows(), salt=7)
    counts = [0.0]
    for head in tokenizer.heads:
        shares = np.array([token.count + 0.01 for token in head.tokens])
        counts += (shares / shares.sum()).tolist()
    return Background(tokenizer, np.array(counts), RARITY, 9)


GOOD = make()
DATA = GOOD.to_bytes()
LENGTH = int.from_bytes(DATA[:8], "little")
COLUMNS = st.dictionaries(
    st.sampled_from(("path", "name", "uid", "")) | st.text(max_size=3), st.text(), max_size=4
)


def judged(background: Background, action: Action) -> tuple[float, float]:
    """Judge an action as scoring does."""
    return background.judge(background.tokenizer.encode(action))


class TestJudge:
    """The score of one action of anybody."""

    def test_surprise_is_in_bits(self) -> None:
        """An action's surprise is that of its tokens, by how probable each is among everybody's."""
        tokens = GOOD.tokenizer.encode(act(path="/srv/a"))
        bits = -sum(log2(GOOD.expected[token]) for token in tokens.ids)
        assert len(tokens.ids) == 2
        score, found = GOOD.judge(tokens)
        assert found == pytest.approx(bits)
        assert score == RARITY.score(found)

    def test_rarer_is_more_surprising(self) -> None:
        """What few do scores no less than what all do, and what nobody does no less than that."""
        paths = ("/srv/a", "/srv/b", "/opt/mallory")
        (all_do, few, nobody) = (judged(GOOD, act(path=path)) for path in paths)
        assert all_do[1] < few[1] < nobody[1]
        assert all_do[0] <= few[0] < nobody[0]

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from(("files", "shells")) | st.text(), st.text(max_size=9), COLUMNS)
    def test_any_action_has_a_score(self, query: str, verb: str, columns: dict[str, str]) -> None:
        """Whatever an action holds, its score is in 0..100 and its surprise a number of bits."""
        score, bits = judged(GOOD, Action(0, "", "", query, verb, columns))
        assert 0.0 <= score <= 100.0
        assert 0.0 <= bits < 1e4

    @pytest.mark.parametrize("change", [0.0, -0.1, 1.5, np.nan, np.inf])
    def test_what_is_no_probability_is_refused(self, change: float) -> None:
        """Each token has a probability above 0, or its surprise would have no end."""
        expected = GOOD.expected.copy()
        expected[3] = change
        with pytest.raises(ValueError, match="probabilities"):
            Background(GOOD.tokenizer, expected, RARITY, 9)

    def test_every_token_has_one(self) -> None:
        """Too few probabilities, and too many, are refused."""
        for size in (-1, 1):
            with pytest.raises(ValueError, match="probabilities"):
                Background(GOOD.tokenizer, np.full(len(GOOD.expected) + size, 0.5), RARITY, 9)


class TestFile:
    """What is kept of it, by whomever it was written."""

    def test_round_trip(self) -> None:
        """Read back it gives the same bytes, the same number of users, and the very same scores."""
        again = Background.from_bytes(DATA, "The background")
        assert again.to_bytes() == DATA == make().to_bytes()
        assert again.users == 9
        for path in ("/srv/a", "/srv/data/new.txt", "/x", ""):
            assert judged(again, act(path=path, gid="5")) == judged(GOOD, act(path=path, gid="5"))

    @settings(max_examples=400, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 7) | st.integers(8, 8 + LENGTH) | st.integers(0, len(DATA) - 1), st.integers(0, 255)
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_changed_bytes(self, changes: list[tuple[int, int]]) -> None:
        """Bytes that were changed are refused, or make a background whose scores are still scores."""
        data = bytearray(DATA)
        for place, byte in changes:
            data[place] = byte
        try:
            found = Background.from_bytes(bytes(data), "The background")
        except ModelRefused as error:
            assert "The background is refused" in str(error)  # noqa: PT017 - it need not be raised
            return
        for action in (act(path="/srv/b"), act(path="new"), act("shells", name="sh"), act("", path="x", name="y")):
            assert 0.0 <= judged(found, action)[0] <= 100.0

    def test_a_header_that_is_not_ours(self) -> None:
        """The reason is for people, and no key of ours."""
        for bad in (DATA.replace(b"__metadata__", b"__metadatA__", 1), DATA[:8] + b"x" + DATA[9:]):
            with pytest.raises(ModelRefused) as caught:
                Background.from_bytes(bad, "The background")
            assert str(caught.value) == (
                "The background is refused: its header is damaged, or was not written by this program."
                " Make a new one with: anomaly train --all-users"
            )

    @given(st.integers(0, len(DATA) - 1))
    def test_a_part_of_it(self, length: int) -> None:
        """A file that was cut anywhere is refused."""
        with pytest.raises(ModelRefused, match=REFUSED):
            Background.from_bytes(DATA[:length], "The background")

    @given(st.binary(max_size=200), st.integers(0, 300))
    def test_any_bytes(self, rest: bytes, length: int) -> None:
        """What never was a background is refused, whatever length it claims."""
        for data in (rest, length.to_bytes(8, "little") + rest, DATA[:length] + rest):
            with pytest.raises(ModelRefused, match=REFUSED):
                Background.from_bytes(data, "The background")

    @pytest.mark.parametrize(
        "header",
        [
            {"schema": SCHEMA + 1},
            {"schema": "1"},
            {"users": None},
            {"users": "many"},
            {"users": []},
            {"tokenizer": None},
            {"tokenizer": []},
            {"tokenizer": {}},
            {"tokenizer": {"salt": 0, "silent": [], "heads": []}},
            {"tokenizer": {"salt": 0, "silent": [[1]], "heads": []}},
            {"tokenizer": {"salt": None, "silent": [], "heads": [["", "action", 1, [], 0, 0.0, 0.0]]}},
        ],
    )
    def test_another_header(self, header: dict[str, object]) -> None:
        """A header of another schema, or without what it should hold, is refused."""
        plain = msgspec.json.decode(msgspec.json.decode(DATA[8 : 8 + LENGTH])["__metadata__"]["anomaly"])
        text = msgspec.json.encode(plain | header).decode()
        with pytest.raises(ModelRefused, match=REFUSED):
            Background.from_bytes(save(load(DATA), {"anomaly": text}), "The background")

    def test_deep_header(self) -> None:
        """A header that is nested beyond all measure is refused like any other."""
        text = "[" * 100_000
        with pytest.raises(ModelRefused, match=REFUSED):
            Background.from_bytes(save(load(DATA), {"anomaly": text}), "The background")

    @pytest.mark.parametrize("name", ["expected", "rarity", "tokenizer.rare_hash", "tokenizer.rare_count"])
    def test_other_arrays(self, name: str) -> None:
        """Arrays that are missing, of another form, or hold no numbers, are refused."""
        arrays = load(DATA)
        metadata = msgspec.json.decode(DATA[8 : 8 + LENGTH])["__metadata__"]
        assert save(arrays, metadata) == DATA
        shape = arrays[name].shape
        unfit = [np.array(1.0), np.ones((2, 2, 2)), np.zeros(1)]
        if name in {"expected", "rarity"}:
            unfit += [np.full(shape, value) for value in (np.nan, np.inf, -1.0, 2.0)] + [np.zeros(0)]
        for array in unfit:
            with pytest.raises(ModelRefused, match=REFUSED):
                Background.from_bytes(save(arrays | {name: array}, metadata), "The background")
        del arrays[name]
        with pytest.raises(ModelRefused, match=name.removeprefix("tokenizer.")):
            Background.from_bytes(save(arrays, metadata), "The background")
