"""Progress bars."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from volumekit.engine.array import Progress

WORTH_SHOWING = 64 << 20
"""Bytes below which an interactive session shows no bar of its own accord."""


def interactive() -> bool:
    """Tell whether somebody is watching: a Python prompt or a notebook."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def progress_bar(total: int, verb: str, wanted: bool | None) -> contextlib.AbstractContextManager[Progress | None]:
    """Return a context that shows a bar of bytes while its block runs.

    Parameters
    ----------
    total : int
        Bytes to come.
    verb : str
        What is going on.
    wanted : bool, optional
        None: in interactive sessions, for anything that takes a while.

    Returns
    -------
    context manager
        Gives what is to be called with the bytes done since the last call, or None.
    """
    if wanted is None:
        wanted = total >= WORTH_SHOWING and interactive()
    return _shown(total, verb) if wanted else _NOTHING


_NOTHING = contextlib.nullcontext()
"""Shared: small reads are over before a context of their own would be made."""


@contextlib.contextmanager
def _shown(total: int, verb: str) -> Iterator[Progress]:
    from tqdm import tqdm

    with tqdm(total=total, desc=verb, unit="B", unit_scale=True) as bar:
        yield bar.update
