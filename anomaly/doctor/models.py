"""Checks of models: that they may be trusted, can be read, are there for everyone active, and not out of date."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from anomaly.doctor.interface import Verdict, World, listed, ok, problem, unknown, warning, word
from anomaly.doctor.log import span
from anomaly.errors import LogError, ModelRefused
from anomaly.harvest import MIN_ACTIONS
from anomaly.overview import drift_rows
from anomaly.store import Store
from anomaly.store_layout import holds_ours_alone
from anomaly.tally import counted
from anomaly.trust import distrust, mending, user_name

_OLD = 90 * 86_400
"""Seconds of the log's time after which what was learned is worth learning anew."""
_LOADED = 100
"""Most models that are read to the last byte; of the others the card is."""
_CARDS = 5000


def directory(world: World) -> Verdict:
    """Whether models may be believed, and there are any."""
    models = world.places.models
    train = f"anomaly train --all-users --models {word(models)} -l {word(world.places.log)}"
    if (verdict := distrusted(models, whole=holds_ours_alone(models))) is not None:
        return verdict
    try:
        users = Store(models).users()
    except ModelRefused as error:
        return problem(str(error), f"ls -ld {word(models)}")
    if not users:
        return problem(f"There is no model in {models}: nobody is watched.", train)
    return ok(f"{models} has models of {counted(len(users), 'user')}: {listed(users)}.")


def distrusted(path: Path, *, whole: bool = False) -> Verdict | None:
    """Say why a directory must not be believed, by whoever asks; None where it may, or is not there.

    ``whole`` as for :func:`anomaly.trust.mending`.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return unknown(
            f"{path} cannot be looked at: {getattr(error, 'strerror', None) or error}.",
            f"ls -ld {word(path.parent)}",
        )
    if not stat.S_ISDIR(status.st_mode):
        return problem(f"{path} is no directory.", f"ls -ld {word(path)}")
    owner = user_name(status.st_uid)
    reason = distrust(status)
    if reason is None and os.access(path, os.R_OK | os.X_OK):
        return None
    if reason is None or (os.geteuid() == 0 and status.st_uid != 0):
        # Root asks, and the service's own user has it: that user would find nothing wrong.
        return unknown(f"{path} belongs to {owner}: ask as that user.", f"sudo -u {word(owner)} anomaly doctor")
    mend = mending(path, whole=whole)
    return problem(f"{path} is not to be trusted: {reason}.", mend)


def files(world: World) -> Verdict:
    """Whether each model can be used by this version of the program."""
    store, refused = Store(world.places.models), []
    users = _users(store)
    for number, user in enumerate(users[:_CARDS]):
        try:
            if store.card(user) is not None and number < _LOADED:
                store.load(user)
        except ModelRefused as error:
            refused.append((user, str(error).partition(" Make a new one with:")[0]))
    if refused:
        user, why = refused[0]
        train = (
            f"anomaly train --user {word(user)} --models {word(world.places.models)} -l {word(world.places.log)}"
        )
        others = [name for name, _ in refused[1:]]
        more = f" Others are refused too: {listed(others)}." if others else ""
        return problem(f"{why}{more}", train)
    if not users:
        return unknown("There is no model that can be looked at.")
    return ok(f"The models in use of {counted(len(users), 'user')} can be read.")


def coverage(world: World) -> Verdict:
    """Whether each user who does enough has a model."""
    if isinstance(world.sample, LogError):
        return unknown("The log cannot be looked at.")
    active = [user for user, count in world.sample.users.most_common() if count >= MIN_ACTIONS]
    try:
        models = set(Store(world.places.models).users())
    except ModelRefused:
        return unknown("Models cannot be looked at.")
    models |= {user.rpartition("@")[0] for user in models}  # one name on several hosts
    missing = [user for user in active if user not in models]
    if missing:
        places = f"--models {word(world.places.models)} -l {word(world.places.log)}"
        return warning(
            f"{listed(missing)}: {MIN_ACTIONS} actions or more at the log's end, and no model.",
            *(f"anomaly train --user {word(user)} {places}" for user in missing[:3]),
        )
    if not active:
        return unknown(f"Nobody has {MIN_ACTIONS} actions at the log's end, as many as a model needs.")
    return ok(f"Whoever has {MIN_ACTIONS} actions at the log's end has a model: {listed(active)}.")


def age(world: World) -> Verdict:
    """Whether models were learned not too long ago, by the log's time."""
    store, oldest = Store(world.places.models), None
    if isinstance(world.sample, LogError) or not world.sample.newest:
        return unknown("The log says no time to compare with.")
    for user in _users(store)[:_CARDS]:
        try:
            card = store.card(user)
        except ModelRefused:
            continue  # told by another check
        if card is not None and (oldest is None or card.last < oldest[1]):
            oldest = user, card.last
    if oldest is None:
        return unknown("There is no model that can be looked at.")
    user, last = oldest
    old = max(world.sample.newest - last, 0)
    if old > _OLD:
        train = (
            f"anomaly train --user {word(user)} --models {word(world.places.models)} -l {word(world.places.log)}"
        )
        return warning(f"The model of {user} was trained on what ended {span(old)} before the log does.", train)
    return ok(f"The oldest was trained on what ended {span(old)} before the log does.")


def drift(world: World) -> Verdict:
    """Whether what was learned while running has led far from what was trained."""
    said: list[str] = []
    try:
        rows = drift_rows(world.places.models, None, said.append)
    except ModelRefused as error:
        return unknown(str(error))
    models = word(world.places.models)
    if said:
        return warning(said[0], f"anomaly models drift --models {models}")
    drifted = sorted({str(row["user"]) for row in rows if row["state"] == "drifted"})
    if drifted:
        return warning(
            f"Of what {listed(drifted)} taught while running much would have surprised the model as trained: a new"
            " habit, or somebody who teaches it.",
            f"anomaly models drift --models {models}",
            f"anomaly models rollback --learned --user {word(drifted[0])} --models {models}",
        )
    return ok(
        f"{counted(len({row['user'] for row in rows}), 'model')} learned while running, and none has drifted."
    )


def _users(store: Store) -> list[str]:
    try:
        return store.users()
    except ModelRefused:
        return []  # told by another check
