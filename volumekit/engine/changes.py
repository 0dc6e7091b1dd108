"""What this process has written where: for names of results that must not outlive the voxels they were made from."""

from __future__ import annotations

import uuid

_last: dict[str, str] = {}


def note(url: str) -> None:
    """Remember that something was written or deleted at a dataset."""
    _last[_place(url)] = uuid.uuid4().hex


def last(url: str) -> str:
    """Return a mark that is another one after every `note`; empty if this process has written nothing there."""
    return _last.get(_place(url), "")


def _place(url: str) -> str:
    """Return a URL without the format and protocol that it may or may not begin with."""
    return url.rpartition("://")[2]
