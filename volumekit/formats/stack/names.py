"""Names of images: natural order, the numbers in them, and the files that a pattern matches."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from volumekit.errors import ImageStackError

_DIGITS = re.compile(r"([0-9]+)")
_PLAIN = re.compile(r"(?:[^*?\[]|\[[*?\[]\])*")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_MAX_NUMBER = 2**53
_NAMED_GAPS = 3


def natural_key(name: str) -> tuple[object, ...]:
    """Return a sorting key that puts ``2.png`` before ``10.png``.

    Runs of ASCII digits compare as numbers, what is between them as text without regard to case; directories
    compare before the names in them. Names that differ only in case or leading zeros follow in the order of
    their characters, so that no two names are equal.
    """
    return tuple(tuple(_runs(piece)) for piece in name.split("/")), name


def _runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield what each run of digits, and each text between, compares by."""
    for n, part in enumerate(_DIGITS.split(text)):
        number = part.lstrip("0")
        if n % 2:
            yield 0, len(number), number
        elif part:
            yield 1, 0, part.casefold()


def numbers(names: Sequence[str]) -> list[int] | None:
    """Return the number of each name: the last one in which the names differ, or the last one there is.

    Parameters
    ----------
    names : sequence of str
        ``["a_z01_c1.tif", "a_z02_c1.tif"]`` have the numbers 1 and 2. The suffix does not count.

    Returns
    -------
    list of int or None
        None if a name has no number.

    Raises
    ------
    ImageStackError
        If a number is beyond 2**53.
    """
    found = [_DIGITS.findall(name.rpartition(".")[0]) for name in names]
    if not found or not all(found):
        return None
    at = -1
    if len({len(parts) for parts in found}) == 1:
        differing = [n for n in range(len(found[0])) if len({parts[n] for parts in found}) > 1]
        at = differing[-1] if differing else -1
    values = [parts[at].lstrip("0") or "0" for parts in found]
    longest = max(values, key=len)
    if len(longest) > 16 or int(longest) > _MAX_NUMBER:
        raise ImageStackError(f"the number {longest[:40]} in a file name is no coordinate; rename the file")
    return [int(value) for value in values]


def gaps(values: Sequence[int]) -> str:
    """Say which numbers are missing between the lowest and the highest, or nothing if none is."""
    ordered = sorted(set(values))
    missing = [(a + 1, b - 1) for a, b in pairwise(ordered) if b > a + 1]
    texts = [str(a) if a == b else f"{a} to {b}" for a, b in missing[:_NAMED_GAPS]]
    if len(missing) > _NAMED_GAPS:
        texts.append(f"{len(missing) - _NAMED_GAPS} more gaps")
    return ", ".join(texts)


def literal(pattern: str) -> str | None:
    """Return the name that a pattern without wildcards stands for, None if it has wildcards."""
    return _ESCAPED.sub(r"\1", pattern) if _PLAIN.fullmatch(pattern) else None


class Match:
    """The files that match a pattern, as far as the listings at hand tell.

    Parameters
    ----------
    have : Mapping
        Listings of directories, by key, as a format has them.
    pattern : str
        See `formats.base.SELECTOR`.

    Attributes
    ----------
    files : list of str
        The files found, in natural order.
    wanted : set of str
        Listings that are still needed.
    """

    def __init__(self, have: Mapping[str, bytes | None], pattern: str) -> None:
        self._have = have
        self.wanted: set[str] = set()
        self.files = sorted(set(self._below("", pattern.split("/"))), key=natural_key)

    def _below(self, folder: str, parts: list[str]) -> Iterator[str]:
        part, *others = parts
        if part == "**":
            yield from self._below(folder, others or ["*"])
        for name in self._names(folder):
            is_folder = name.endswith("/")
            if name.startswith(".") and not part.startswith("."):
                continue
            if part == "**":
                if is_folder:
                    yield from self._below(folder + name, parts)
            elif fnmatch.fnmatchcase(name.rstrip("/"), part) and is_folder == bool(others):
                if is_folder:
                    yield from self._below(folder + name, others)
                else:
                    yield folder + name

    def _names(self, folder: str) -> list[str]:
        key = folder or "/"
        if key not in self._have:
            self.wanted.add(key)
        listing = self._have.get(key) or b""
        return listing.decode("utf-8", "surrogateescape").split("\n")
