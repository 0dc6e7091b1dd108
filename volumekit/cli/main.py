"""The command ``volumekit``: finding a command, and turning errors into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from volumekit import __version__
from volumekit.errors import (
    InvalidURLError,
    OptionError,
    OutOfBoundsError,
    ScaleUnavailableError,
    TargetExistsError,
    VolumekitError,
)

COMMANDS = {
    "cache": "Tell what is in the disk cache; fill it, empty it, check it.",
    "convert": "Turn an image stack or a volume into a chunked volume with a pyramid.",
    "demo": "Show what it is like, on synthetic tissue or on your own images.",
    "doctor": "Find out what works at a location: reading, writing, listing, conditional writes.",
    "downsample": "Add coarser levels to a volume.",
    "exists": "Tell which chunks are stored.",
    "export": "Write a part of a volume to an image, a TIFF or a folder of images.",
    "serve": "Serve volumes over HTTP to Neuroglancer and everything else that reads precomputed or OME-Zarr.",
    "transfer": "Copy a volume or a part of it, chunk by chunk.",
    "verify": "Compare two volumes, voxel by voxel or by checksums.",
    "view": "Show volumes over each other in Neuroglancer, or save a picture of that.",
    "info": "Tell what a volume is: levels, sizes, encodings.",
}
"""What each command does; the module ``cli/<name>.py`` holds it as ``command``."""

FAILURE, USAGE, INTERRUPTED = 1, 2, 130

SHOWN = 21
"""Lines about an error that are printed after the first: how many tasks failed, and which."""

WRONG = (OptionError, InvalidURLError, ScaleUnavailableError, OutOfBoundsError)
"""Errors that say that the command asks for what cannot be; the same command never works on the same data."""


class Commands(click.Group):
    """Commands that are imported when they are used, so that ``--help`` need not import them all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or nothing if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"volumekit.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="%(prog)s %(version)s", prog_name="volumekit")
def program() -> None:
    """Chunked volumetric images: convert, look at, export.

    Everything on the command line is also in Python: volumekit.convert(...), volumekit.Volume(...).
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    The exit code is 0 if all went well, 1 if something failed, 2 if the command was wrong, 130 after Ctrl-C.

    Parameters
    ----------
    args : sequence of str, optional
        Default: the process's own.
    """
    sys.exit(run(sys.argv[1:] if args is None else list(args)))


def run(args: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    try:
        code = program.main(args=list(args), prog_name="volumekit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _close_quietly()
        return FAILURE
    except (VolumekitError, MemoryError, OSError, ImportError) as error:
        _tell(error, str(error) or type(error).__name__)
        wrong = isinstance(error, WRONG) and not isinstance(error, TargetExistsError)
        return USAGE if wrong else FAILURE
    except Exception as error:
        _tell(error, f"unexpected {type(error).__name__}: {error}; --log debug shows where")
        return FAILURE


def _tell(error: Exception, text: str) -> None:
    if logging.getLogger("volumekit").isEnabledFor(logging.DEBUG):
        logging.getLogger("volumekit").debug("where it failed:", exc_info=error)
    click.echo(f"error: {' '.join(text.split())}", err=True)
    notes = [" ".join(note.split()) for note in getattr(error, "__notes__", ())]
    for note in notes[:SHOWN]:
        click.echo(f"  {note}", err=True)
    if len(notes) > SHOWN:
        click.echo(
            f"  and {len(notes) - SHOWN:,} more, which the same call in Python has in its error's notes", err=True
        )


def _close_quietly() -> None:
    """Keep Python from complaining at exit that nobody reads its output any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
