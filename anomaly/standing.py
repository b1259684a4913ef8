"""Where one user stands: the state that scoring carries from one action of the user to the next."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from anomaly.adaptation import Adaptation
from anomaly.admission import Admission
from anomaly.calibration import MAX_SCORE
from anomaly.detectors.fusion import Filter, Fusion
from anomaly.detectors.interface import WINDOW
from anomaly.learned import Learned
from anomaly.osquery import Action
from anomaly.records import ModelRef
from anomaly.store import Stored

_LONGEST = 4096
_STATE = 300_000  # bytes: windows, two hundred actions that wait to be learned, and what was learned
_SUSPECTED = 10.0  # 1 window in 10: of the others the window is not kept, it doubles the checkpoint
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Action)


class Standing:
    """One user's model, the state of everything that judges the user, and what was learned.

    Raises
    ------
    ValueError, KeyError, TypeError
        By the constructor, where ``saved`` or ``learned`` do not fit the model.
    """

    def __init__(
        self, stored: Stored, saved: Mapping[str, Any] | None, *, adapt: bool, learned: Learned | None = None
    ) -> None:
        self.stored = stored
        self.adapt = adapt
        self.kept: Any = None
        """Where what was learned is kept, None where nothing was."""
        self.safe: Any = None
        """What the last checkpoint says of it: that must not be overwritten."""
        self.kept_generation = 0
        self.set_aside: Any = None if saved is None else saved["adaptation"]
        """What waits to be learned, where this run does not learn: the next one may."""
        self.scales_aside: Any = None if saved is None or adapt else saved["filter"]["scales"]
        """The scales that follow the user, where this run does not learn; it scores by those of training."""
        self.recent: deque[bytes] = deque(maxlen=WINDOW)
        """The actions last let into the window, to show them to another model."""
        model = stored.model
        self.size = model.size + _STATE
        """About how many bytes this takes in memory, the model included."""
        self.risk: float | None = None
        self.newest = 0
        """Time of the user's log so far."""
        self.admission, self.filter = Admission(), Filter(model.fusion, adapt=adapt)
        self.adaptation = self._adaptation(learned)
        if saved is None:
            self.state = model.detector.start()
        else:
            self.state = model.detector.resume(saved["state"], learned.arrays if learned is not None else None)
            self.carry(saved)
            followed = Filter(model.fusion, saved["filter"])
            self.filter = followed if adapt else self.filter
            if self.adaptation is not None and saved["adaptation"] is not None:
                self.adaptation.restore(saved["adaptation"], model.tokenizer.size)
        self.refresh()

    def carry(self, saved: Mapping[str, Any]) -> None:
        """Take over what does not belong to a model: how suspicious the user was, and what fills the window.

        Raises
        ------
        ValueError, KeyError, TypeError
            It does not fit.
        """
        saved = dict(saved)  # which says what it thinks of anything that is no mapping
        recent = [base64.b64decode(one, validate=True) for one in saved.get("recent", ())]
        for data in recent:
            _DECODER.decode(data)
        admission = Admission((int(run), int(same)) for run, same in saved["admission"])
        risk = None if saved["risk"] is None else float(saved["risk"])
        if not (risk is None or 0.0 <= risk <= MAX_SCORE):
            raise ValueError("the saved risk is none")
        newest = int(saved.get("newest", 0))
        self.filter = _with_odds(self.stored.model.fusion, saved["filter"]["odds"], adapt=self.adapt)
        self.admission, self.risk, self.newest = admission, risk, newest
        self.recent.extend(recent)

    def note(self, actions: Sequence[Action]) -> None:
        """Take note of actions that came into the window."""
        for action in actions[-WINDOW:]:
            try:
                data = _ENCODER.encode(action)
            except UnicodeEncodeError:  # half a character; one action fewer is shown to another model
                continue
            if len(data) <= _LONGEST:  # the log chooses how long, and so how much memory
                self.recent.append(data)

    def succeeded_by(self, stored: Stored) -> Standing:
        """Return where the user stands with another model: it is shown the window, and the suspicion is kept."""
        successor = Standing(stored, None, adapt=self.adapt)
        successor.recent.extend(self.recent)
        successor.admission, successor.risk, successor.newest = self.admission, self.risk, self.newest
        successor.filter = _with_odds(stored.model.fusion, self.filter.odds, adapt=self.adapt)
        successor.replay()
        return successor

    def replay(self) -> None:
        """Show the model the actions that are in the window; what is made of them was judged before."""
        model = self.stored.model
        batch = [model.tokenizer.encode(_DECODER.decode(data)) for data in self.recent]
        if batch:
            model.detector.judge(self.state, batch, [True] * len(batch))

    def _adaptation(self, learned: Learned | None) -> Adaptation | None:
        model = self.stored.model
        usual = model.card.actions / max(model.card.days, 1)
        progress = learned.progress if learned is not None else None
        tail = model.calibration.window
        return Adaptation(model.detector, model.fusion, tail, usual, progress) if self.adapt else None

    def forget(self) -> None:
        """Go on as the model was trained, where the user stands."""
        self.state = self.stored.model.detector.resume(self.state.to_json())
        self.adaptation = self._adaptation(None)
        self.filter = _with_odds(self.stored.model.fusion, self.filter.odds, adapt=self.adapt)
        self.kept, self.kept_generation, self.scales_aside = None, 0, None
        self.refresh()

    def refresh(self) -> None:
        """Let the reference say how the model stands."""
        card = self.stored.model.card
        drifted = self.adaptation is not None and self.adaptation.progress.drifted
        self.reference = ModelRef(card.algorithm.value, self.stored.version, "drifted" if drifted else "ready")

    def to_json(self) -> dict[str, Any]:
        """Return where it stands, as JSON-able values; not what was learned."""
        scales = {} if self.scales_aside is None else {"scales": self.scales_aside}
        return {
            "model": identity(self.stored),
            "risk": self.risk,
            "newest": self.newest,
            "state": self.state.to_json(),
            "filter": self.filter.to_json() | scales,
            "admission": list(self.admission.window),
            "adaptation": self.adaptation.to_json() if self.adaptation is not None else self.set_aside,
            "recent": [base64.b64encode(one).decode("ascii") for one in self.recent] if self.suspected else [],
        }

    @property
    def suspected(self) -> bool:
        """Whether the window must be kept for a model that is trained while nobody scores: none may acquit him."""
        return self.risk is not None and self.risk >= _SUSPECTED


def as_trained(saved: Mapping[str, Any], stored: Stored) -> dict[str, Any]:
    """Return a saved state without what waits to be learned, and with the scales of training."""
    fresh = _with_odds(stored.model.fusion, saved["filter"]["odds"], adapt=True)
    return {**saved, "adaptation": None, "filter": fresh.to_json()}


def _with_odds(fusion: Fusion, odds: Sequence[Sequence[float]], *, adapt: bool) -> Filter:
    """Return a filter that goes on from the odds of another model; its scales are those of training.

    Scales are of a model's own figures: those of one model would make another one blind, or never quiet. A model
    of another kind has other channels, which begin anew.
    """
    fresh = Filter(fusion, adapt=adapt)
    if len(odds) != len(fusion.channels):
        return fresh
    return Filter(fusion, fresh.to_json() | {"odds": odds}, adapt=adapt)


def identity(stored: Stored) -> list[Any]:
    """Tell one trained model from another: a state fits only the model it came from."""
    card = stored.model.card
    return [card.algorithm.value, stored.version, card.fingerprint]
