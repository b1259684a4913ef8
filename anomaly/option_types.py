"""Kinds of values that options take."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from anomaly.config import default_directory


class Place(click.Path):
    """A path that is looked at by the room that knows what it should be: its errors say what to do."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Refuse an empty path, which would be the current directory: a shell variable was not set."""
        if value == "":
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


class UserName(click.types.StringParamType):
    """A user's name, which shells complete from the models."""

    def shell_complete(self, ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer whoever has a model in the directory that the line, the environment or the default names."""
        from anomaly.completion import users  # noqa: PLC0415 - only where something is completed

        models = ctx.params.get("models") or default_directory("models")
        return [CompletionItem(name) for name in users(models, incomplete)]


class Figure(click.FloatRange):
    """A number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Refuse what is no number: nan is within all bounds, since no comparison with it holds."""
        figure: float = super().convert(value, param, ctx)
        if not isfinite(figure):
            self.fail(f"{value!r} is no number.", param, ctx)
        return figure


class Moment(click.ParamType[int]):
    """A day or a moment, in UTC, as seconds since 1970."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read ``2026-10-05`` or ``2026-10-05T09:30``."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no date; write 2026-10-05 or 2026-10-05T09:30 (UTC).", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
