"""Where everybody stands: who acted last in memory, the others put aside as what a checkpoint holds of them.

A user's model and state take megabytes, and a log may name thousands of users. So only as many are held as fit
into ``ROOM``; beyond, whoever has not acted for longest is put aside, and comes back exactly as he was.
"""

from __future__ import annotations

import base64
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from anomaly.learned import Keeper, Learned, Origin
from anomaly.standing import Standing, as_trained, identity
from anomaly.store import Stored

Find = Callable[[str], Stored | None]
"""Gives the model that a user's name stands for, None where there is none."""

ROOM = 112 << 20
"""Bytes that users in memory may take together, as :attr:`Standing.size` has them; one is held in any case."""

_FAST = 1  # of zlib's levels: states shrink to a third, in a fifth of a millisecond


class _Aside(NamedTuple):
    """A user who is not in memory."""

    state: bytes
    """What a checkpoint holds of him: JSON, compressed."""
    recent: bytes = b""
    """The actions in his window, compressed; a checkpoint holds them of suspects alone."""
    model: Any = None
    """Which model was in use; None where nobody has acted since the start."""
    kept: Any = None
    safe: Any = None
    """As in :class:`Standing`."""


class Standings:
    """Gives where a user stands, by name.

    Parameters
    ----------
    find
        Gives the models.
    adapt
        Let the models learn.
    keeper
        Where to keep what they learn.
    log
        The log's name, for people who look at what was learned.
    say
        Told, as a sentence, what a person should know of a user.
    room
        Bytes that users in memory may take.
    """

    def __init__(
        self, find: Find, *, adapt: bool, keeper: Keeper, log: str, say: Callable[[str], None], room: int = ROOM
    ) -> None:
        self.find = find
        self._adapt = adapt
        self._keeper = keeper
        self._log = log
        self._say = say
        self._room = room
        self._taken = 0
        self._here: OrderedDict[str, Standing] = OrderedDict()
        """Whoever acted last is at the end."""
        self._aside: dict[str, _Aside] = {}
        self._encoded: dict[str, bytes] = {}
        """Of those who are here and have not acted since, what the last checkpoint holds of them."""

    def __contains__(self, name: str) -> bool:
        """Say whether a user has acted and has a model."""
        return name in self._here or (name in self._aside and self._aside[name].model is not None)

    def __getitem__(self, name: str) -> Standing:
        """Return where a user who is in memory stands, to look at it."""
        return self._here[name]

    def __len__(self) -> int:
        """Return how many users are in memory."""
        return len(self._here)

    def get(self, name: str) -> Standing | None:
        """Return where a user stands who is about to act; None where there is no model that can be used.

        It is good until the next call, which may put the user aside.
        """
        user = self._here.get(name)
        if user is not None:
            self._here.move_to_end(name)
            self._encoded.pop(name, None)
            return user
        stored = self.find(name)
        if stored is None:
            return None
        return self._hold(name, self._resume(name, stored))

    def encoded(self, *, acted: bool = False) -> Iterator[tuple[str, bytes]]:
        """Give each user's state as JSON, one after another: what :meth:`restore` goes on from.

        With ``acted``, only of those who have acted since.
        """
        for name, aside in self._aside.items():
            if aside.model is not None or not acted:
                yield name, zlib.decompress(aside.state)
        for name, user in self._here.items():
            yield name, self._encode(name, user)

    def saved(self) -> None:
        """Take note that what :meth:`encoded` gave last is safe: it is what a restart will go on from."""
        for user in self._here.values():
            user.safe = user.kept
        for name, aside in self._aside.items():
            if aside.safe is not aside.kept:
                self._aside[name] = aside._replace(safe=aside.kept)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`encoded` gave. A state of another model is left aside when its user acts."""
        self._here.clear()
        self._encoded.clear()
        self._taken = 0
        self._aside = {name: _Aside(zlib.compress(_json(state), _FAST)) for name, state in saved.items()}

    def renew(self, name: str, stored: Stored | None) -> bool:
        """Put another model of a user in use, where the user stands; None takes the user's model away.

        Returns whether that is another model than the one in use; a user who has not acted gets it when he does.
        """
        user, aside = self._here.get(name), self._aside.get(name)
        before = identity(user.stored) if user is not None else aside.model if aside is not None else None
        if before is None or (stored is not None and identity(stored) == before):
            return False
        if stored is None:
            self._drop(name)
            self._aside.pop(name, None)
        elif user is not None:
            self._drop(name)
            self._hold(name, user.succeeded_by(stored))
        elif aside is not None:
            self._aside[name] = aside._replace(model=identity(stored))
        return True

    def adapt(self, on: bool) -> None:  # noqa: FBT001 - a switch
        """Let the models learn from now on, or no longer. What :meth:`encoded` gave last must be safe."""
        while self._here:
            self._put_aside()
        self._adapt = on

    def _hold(self, name: str, user: Standing) -> Standing:
        self._here[name] = user
        self._taken += user.size
        while self._taken > self._room and len(self._here) > 1:
            self._put_aside()
        return user

    def _drop(self, name: str) -> None:
        self._encoded.pop(name, None)
        self._taken -= self._here.pop(name).size

    def _put_aside(self) -> None:
        """Put aside who has not acted for longest."""
        name, user = next(iter(self._here.items()))
        state = zlib.compress(self._encode(name, user), _FAST)
        recent = zlib.compress(msgspec.msgpack.encode(list(user.recent)), _FAST)
        self._aside[name] = _Aside(state, recent, identity(user.stored), user.kept, user.safe)
        self._drop(name)

    def _resume(self, name: str, stored: Stored) -> Standing:
        aside = self._aside.pop(name, None)
        saved: Any = _decoded(aside) if aside is not None else None
        if aside is not None and aside.model not in (None, identity(stored)):
            self._say(f"{name!r}: model {stored.version} is in use from now on.")
        # A checkpoint that is not ours in some detail is passed over: the model's own start is always right.
        with suppress(*_UNFIT):
            if aside is not None and saved["model"] == identity(stored):
                user = self._restored(name, stored, saved)
                user.safe = aside.safe if aside.model is not None else user.safe
                return user
        user = Standing(stored, None, adapt=self._adapt)
        with suppress(*_UNFIT):  # of the model before: whoever was suspicious has not been acquitted by training
            if aside is not None:
                user.carry(saved)
                user.replay()
        return user

    def _restored(self, name: str, stored: Stored, saved: Mapping[str, Any]) -> Standing:
        reference = saved["learned"]
        learned = None
        if reference is not None and self._adapt:
            data = self._keeper.fetch(name, stored.version, reference)
            learned = Learned.from_bytes(data) if data is not None else None
            if learned is None or not learned.origin.same_model(self._origin(name, stored)):
                self._say(f"What was learned of {name!r} since training is gone; it is learned anew.")
                saved = as_trained(saved, stored)
                learned = None
        user = Standing(stored, saved, adapt=self._adapt, learned=learned)
        user.kept = user.safe = reference if learned is not None or not self._adapt else None
        user.kept_generation = learned.progress.generation if learned is not None else 0
        return user

    def _encode(self, name: str, user: Standing) -> bytes:
        """Return what a checkpoint holds of a user; what was learned since the last one is kept before."""
        generation = user.adaptation.progress.generation if user.adaptation is not None else 0
        if user.kept is not None and self._keeper.forgotten(name, user.stored.version, user.kept):
            user.forget()
            self._encoded.pop(name, None)
            self._say(f"What was learned of {name!r} since training was taken away; it is learned anew.")
        elif user.adaptation is not None and generation != user.kept_generation:
            arrays = user.stored.model.detector.learned(user.state)
            learned = Learned(self._origin(name, user.stored), user.adaptation.progress, arrays)
            user.kept = self._keeper.keep(name, user.stored.version, learned.to_bytes(), user.safe)
            user.kept_generation = generation
        if name not in self._encoded:
            self._encoded[name] = msgspec.json.encode(user.to_json() | {"learned": user.kept})
        return self._encoded[name]

    def _origin(self, name: str, stored: Stored) -> Origin:
        card = stored.model.card
        return Origin(name, card.algorithm.value, stored.version, card.fingerprint, self._log)


_UNFIT = KeyError, TypeError, ValueError, OverflowError, IndexError


def _json(state: object) -> bytes:
    return bytes(state) if isinstance(state, msgspec.Raw) else msgspec.json.encode(state)


def _decoded(aside: _Aside) -> Any:  # noqa: ANN401 - from a checkpoint
    """Return a state, and the whole window with it where that is known."""
    try:
        saved = msgspec.json.decode(zlib.decompress(aside.state))
    except (ValueError, RecursionError):
        return None
    if aside.recent:
        recent = msgspec.msgpack.decode(zlib.decompress(aside.recent), type=list[bytes])
        saved["recent"] = [base64.b64encode(one).decode("ascii") for one in recent]
    return saved
