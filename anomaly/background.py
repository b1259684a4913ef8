"""What everyone in a log does: the yardstick for a user who has no history yet.

Until there is enough to learn such a user from, an action is scored by how rare it is among everybody's, and by
how rare such actions are of users whom the model has not seen. It says what is odd, and never alarms.
"""

from __future__ import annotations

from math import log2
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from anomaly.calibration import Tail
from anomaly.errors import ModelRefused
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Tokens

SCHEMA = 1
_KEY = "anomaly"


class Background:
    """Scores single actions of anybody.

    Parameters
    ----------
    tokenizer
        Fitted on everyone.
    expected
        Probability of each token within its column, shape (tokens,).
    rarity
        How rare so many bits are, of a user who was left out.
    users
        How many users it was made of.
    """

    def __init__(self, tokenizer: Tokenizer, expected: NDArray[np.float64], rarity: Tail, users: int) -> None:
        if expected.shape != (tokenizer.size,) or not ((expected[1:] > 0) & (expected[1:] <= 1)).all():
            raise ValueError("its probabilities do not fit its vocabulary")
        self.tokenizer = tokenizer
        self.expected = expected
        self.rarity = rarity
        self.users = users
        self._bits = [0.0, *(-log2(share) for share in expected[1:].tolist())]

    def judge(self, tokens: Tokens) -> tuple[float, float]:
        """Return the score of an action, and its surprise in bits."""
        bits = sum(self._bits[token] for token in tokens.ids)
        return self.rarity.score(bits), bits

    def to_bytes(self) -> bytes:
        """Return the file's content; the same background gives the same bytes."""
        state, arrays = self.tokenizer.to_state()
        named = {f"tokenizer.{name}": array for name, array in arrays.items()}
        named |= {"expected": self.expected, "rarity": self.rarity.to_array()}
        header = {"schema": SCHEMA, "users": self.users, "tokenizer": state}
        text = msgspec.json.encode(header, order="sorted").decode()
        return save({name: np.ascontiguousarray(array) for name, array in named.items()}, {_KEY: text})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Background:
        """Rebuild it; ``name`` is what to call it in an error.

        Raises
        ------
        ModelRefused
            It is not what :meth:`to_bytes` wrote.
        """
        try:
            length = int.from_bytes(data[:8], "little")
            header = _header(data[8 : 8 + length])
            if header["schema"] != SCHEMA:
                raise ValueError(f"its schema is {header['schema']}, this program reads {SCHEMA}")
            arrays = load(data)
            rare = {key.removeprefix("tokenizer."): array for key, array in arrays.items() if "." in key}
            tokenizer = Tokenizer.from_state(header["tokenizer"], rare)
            return cls(tokenizer, arrays["expected"], Tail.from_array(arrays["rarity"]), int(header["users"]))
        except (ValueError, KeyError, TypeError, IndexError, SafetensorError, RecursionError) as error:
            is_short = isinstance(error, KeyError | TypeError | IndexError)  # its words say little by themselves
            reason = f"it does not hold what this program writes ({error})" if is_short else error
            raise ModelRefused(
                f"{name} is refused: {reason}. Make a new one with: anomaly train --all-users"
            ) from error


def _header(data: bytes) -> Any:  # noqa: ANN401 - from a file
    """Return our part of a safetensors file's header."""
    try:
        return msgspec.json.decode(msgspec.json.decode(data)["__metadata__"][_KEY])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("its header is damaged, or was not written by this program") from error
