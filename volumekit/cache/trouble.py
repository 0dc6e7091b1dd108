"""Trouble with a cache directory: one warning, and reading goes on without it."""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from collections.abc import Iterator

from volumekit.cache.index import Index, is_damage
from volumekit.cache.repair import discard


class Trouble:
    """Whether a cache directory can be used.

    Parameters
    ----------
    directory : str
        The directory.

    Attributes
    ----------
    happened : bool
        Whether there was any; the directory is then left alone.
    index : Index or None
        Its account, once it is open; a damaged one is removed, so that another is made next time.
    """

    def __init__(self, directory: str) -> None:
        self.happened, self.index = False, None
        self._directory = directory

    index: Index | None

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn errors of a block into the warning."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if self.happened:
                return
            self.happened = True
            if isinstance(error, sqlite3.Error) and is_damage(error) and self.index is not None:
                with contextlib.suppress(OSError, sqlite3.Error):
                    discard(self.index)
            warnings.warn(
                f"the disk cache in {self._directory} cannot be used ({error}); reading goes on without it",
                RuntimeWarning,
                stacklevel=2,
            )
