"""Options that several commands have."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import click

from volumekit.cli.types import AMOUNT, AT, BOX, BOX_INCLUSIVE, FACTOR
from volumekit.errors import StorageError
from volumekit.registry import missing_extra

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
    """Add what every job that reads and writes takes: memory, threads, where to run, journal, progress, overwriting."""
    return _with(
        command,
        click.option("--memory", type=AMOUNT, default="1GB", show_default=True, help="What the whole process may use."),
        click.option("--jobs", type=click.IntRange(1), help="Threads; default: one per core."),
        click.option("--processes", type=click.IntRange(1), help="Do the tasks in so many processes, not threads."),
        click.option("--dask", metavar="ADDRESS", help="Do them on a Dask cluster: tcp://host:port, or local."),
        click.option("--journal", type=click.Path(), help="Where to note what is done; default: in the target."),
        click.option("--overwrite", is_flag=True, help="Replace what is there."),
        click.option("--progress/--quiet", default=None, help="Show how far it is; default: yes."),
        logged,
    )


def estimating(command: F) -> F:
    """Add ``--dry-run`` and ``--json``."""
    return _with(
        command,
        click.option("--dry-run", is_flag=True, help="Write nothing; tell how long it will take, and how much room."),
        click.option("--json", "as_json", is_flag=True, help="With --dry-run: tell it for programs."),
    )


def check_json(*, as_json: bool, dry_run: bool) -> None:
    """Refuse ``--json`` where there is no report to print.

    Raises
    ------
    click.UsageError
        If there is none.
    """
    if as_json and not dry_run:
        raise click.UsageError("--json is how --dry-run tells its estimate; give both")


def show(report: Any, *, as_json: bool) -> None:
    """Print a report that has ``to_json``."""
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else str(report))


def reducing(command: F) -> F:
    """Add how coarser levels are made: ``factor``, ``method`` and ``sparse``."""
    methods = click.Choice(("mean", "mode", "median", "nearest", "min", "max", "gaussian"))
    return _with(
        command,
        click.option(
            "--factor",
            type=FACTOR,
            default="2,2,2",
            show_default=True,
            help="From level to level; or chosen by voxel size: isotropic, anisotropic or constant-z.",
        ),
        click.option("--method", type=methods, help="How to reduce; default: mean, or mode for segmentations."),
        click.option("--sparse", is_flag=True, help="Zero is no value: mean or mode of the other voxels."),
    )


def boxed(text: str) -> Callable[[F], F]:
    """Add ``--box``, and ``--box-inclusive`` for those who count otherwise; the command gets ``box``, half-open."""

    def add(command: F) -> F:
        @functools.wraps(command)
        def merged(*args: Any, box: Any, box_inclusive: Any, **how: Any) -> Any:
            if box is not None and box_inclusive is not None:
                raise click.UsageError("--box and --box-inclusive are one box in two spellings; give one of them")
            return command(*args, box=box_inclusive if box is None else box, **how)

        inclusive = "The same, last voxels included: 0:511,0:511,10:19 or '0 511 0 511 10 19'."
        return _with(
            cast(F, merged),
            click.option("--box", type=BOX, help=text),
            click.option("--box-inclusive", type=BOX_INCLUSIVE, help=inclusive),
        )

    return add


def placed(text: str, option: str = "--at") -> Callable[[F], F]:
    """Add ``--at``; the command gets ``at``, as `Volume` takes it: None where it was not given."""
    help_text = f"{text}: t=3, label=cells, well=A/2; may be repeated."
    return click.option(option, type=AT, multiple=True, callback=_merge, help=help_text)


def _merge(ctx: click.Context, param: click.Parameter, given: Sequence[dict[str, int | str]]) -> Any:
    """Return what several ``--at`` say together."""
    merged: dict[str, int | str] = {}
    for choices in given:
        for name in merged.keys() & choices.keys():
            raise click.BadParameter(f"says twice what {name} is", ctx, param)
        merged |= choices
    return merged or None


def _with(command: F, *options: Callable[[Any], Any]) -> F:
    """Add options so that the help lists them in this order."""
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    return cast(F, decorated)


def watched(progress: bool | None) -> bool:
    """Tell whether to show how far a job is: as asked, else yes, where that is neither a terminal as lines."""
    return progress is not False


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Connect to a Dask cluster, or start one here for ``local``; gives its client, None without an address.

    Raises
    ------
    MissingExtraError
        If dask.distributed is not installed.
    StorageError
        If there is no cluster at this address.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise missing_extra("dask", error) from error
    if not logging.getLogger("volumekit").isEnabledFor(logging.DEBUG):
        logging.getLogger("distributed").setLevel(logging.WARNING)
    try:
        client = Client(
            LocalCluster(threads_per_worker=1, dashboard_address=":0") if address == "local" else address, timeout=20
        )
    except (OSError, ValueError) as error:
        raise StorageError(f"no Dask cluster at {address}: {error}; start one, or use --dask local") from error
    with client:
        yield client
        if address == "local":
            client.cluster.close()
