"""Options that several commands have."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from volumekit.cli.types import AMOUNT, COUNTS

LEVELS = ("debug", "info", "warning", "error")

F = TypeVar("F", bound=Callable[..., Any])


def _set_log_level(ctx: click.Context, param: click.Parameter, value: str) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("volumekit").setLevel(value.upper())
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning in one line, without the place in our code that gave it."""
    logging.getLogger("volumekit").warning("%s", message)


def logged(command: F) -> F:
    """Add ``--log``."""
    return click.option(
        "--log",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="warning",
        show_default=True,
        callback=_set_log_level,
        expose_value=False,
        is_eager=True,
        help="How much to say; debug shows where an error comes from.",
    )(command)


def working(command: F) -> F:
    """Add what every job that reads and writes takes: ``memory``, ``jobs``, ``progress``, ``overwrite``."""
    return _with(
        command,
        click.option("--memory", type=AMOUNT, default="1GB", show_default=True, help="What the whole process may use."),
        click.option("--jobs", type=click.IntRange(1), help="Threads; default: one per core."),
        click.option("--overwrite", is_flag=True, help="Replace what is there."),
        click.option("--progress/--quiet", default=None, help="Progress bar; default: if somebody is watching."),
        logged,
    )


def reducing(command: F) -> F:
    """Add how coarser levels are made: ``factor`` and ``method``."""
    methods = click.Choice(("mean", "mode", "median", "nearest", "min", "max", "gaussian"))
    return _with(
        command,
        click.option("--factor", type=COUNTS, default="2,2,2", show_default=True, help="From level to level."),
        click.option("--method", type=methods, help="How to reduce; default: mean, or mode for segmentations."),
    )


def _with(command: F, *options: Callable[[Any], Any]) -> F:
    """Add options so that the help lists them in this order."""
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    return cast(F, decorated)


def watched(progress: bool | None) -> bool:
    """Tell whether to show a bar: as asked, else if standard error is a terminal."""
    return sys.stderr.isatty() if progress is None else progress
