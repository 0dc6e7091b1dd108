"""Where a dataset came from: owners, sources and what was done to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from volumekit.errors import MetadataError

MEMBERS = ("sources", "owners", "processing", "description")

MAX_BYTES = 64 * 2**20
"""A longer provenance file is refused."""


class Provenance(dict[str, Any]):
    """The provenance of a dataset: a dictionary whose members are attributes too.

    Parameters
    ----------
    *args, **members
        As for `dict`. Members other than these four are kept as they are.

    Attributes
    ----------
    sources, owners : list of str
        Datasets this one was made from; people who answer for it.
    processing : list of dict
        What was done, in order: usually ``{"method": {...}, "by": "name@example.org"}``.
    description : str
        Free text.

    Examples
    --------
    >>> Provenance(owners=["ada@example.org"]).serialize()
    '{"sources":[],"owners":["ada@example.org"],"processing":[],"description":""}'
    """

    def __init__(self, *args: Any, **members: Any) -> None:
        super().__init__(sources=[], owners=[], processing=[], description="")
        self.update(*args, **members)

    @classmethod
    def from_json(cls, data: bytes | str | Mapping[str, Any]) -> Self:
        """Parse a provenance file.

        An empty file, and empty members of any type (``""``, ``null``), stand for the defaults: other
        programs write them. Owners named twice are let through here, so that such a dataset can be opened
        and repaired.

        Raises
        ------
        MetadataError
            If it is no JSON object or a member has the wrong type.
        """
        members = data if isinstance(data, Mapping) else _parse(data)
        provenance = cls({k: v for k, v in members.items() if v or k not in MEMBERS})
        provenance._check_types()
        return provenance

    def validate(self) -> None:
        """Check what is about to be stored.

        Raises
        ------
        MetadataError
            If a member is missing, has the wrong type or cannot be written as JSON, or if owners or sources
            are named twice, which other programs refuse to read.
        """
        self._check_types()
        for name in ("sources", "owners"):
            self._check(name, len(set(self[name])) == len(self[name]), "without duplicates")

    def serialize(self) -> str:
        """Return compact JSON; raises MetadataError as `validate` does."""
        self.validate()
        return self._dump()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"provenance has no member {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"provenance has no member {name!r}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def copy(self) -> Self:
        """Return a copy that shares the lists."""
        return type(self)(self)

    def _check_types(self) -> None:
        for name in ("sources", "owners"):
            self._check(name, _is_list_of(self.get(name), str), "a list of texts")
        self._check("processing", _is_list_of(self.get("processing"), Mapping), "a list of objects")
        self._check("description", isinstance(self.get("description"), str), "a text")
        self._dump()

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise MetadataError(f"provenance: {name!r} must be {expected}, not {self.get(name)!r:.200}")

    def _dump(self) -> str:
        try:
            return json.dumps(self, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise MetadataError(f"provenance cannot be written as JSON: {error}") from error


def _parse(data: bytes | str) -> Mapping[str, Any]:
    if len(data) > MAX_BYTES:
        raise MetadataError(f"provenance of {len(data)} bytes; {MAX_BYTES} is the limit")
    try:
        value = json.loads(data) if data.strip() else {}
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"provenance is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MetadataError(f"provenance must be a JSON object, not {type(value).__name__}")
    return value


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(v, kind) for v in value)
