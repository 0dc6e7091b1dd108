"""How a server behaves: who may ask, under which prefix, and how much at once."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from volumekit.errors import OptionError
from volumekit.model.plain import plain

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_PREFIX = re.compile(r"(/[A-Za-z0-9_.-]+)*")


@dataclass(frozen=True)
class Settings:
    """What a server is told besides its sources.

    Attributes
    ----------
    prefix : str
        What paths begin with: empty, or ``/some/folder``.
    token : str, optional
        What everybody has to know who asks: sent as ``Authorization: Bearer TOKEN``, or in the path, behind the prefix,
        as ``/~TOKEN/…``. Letters, digits, ``_``, ``.`` and ``-``.
    cors : tuple of str
        Origins whose pages may ask, such as ``https://neuroglancer-demo.appspot.com``; ``*`` for all.
    hosts : tuple of str
        Host names the server answers to; empty: any. Keeps pages of other names from reaching a server of the loopback
        interface by pointing their name at it.
    decodes : int
        How many chunks are decoded at the same time.
    max_path, max_headers : int
        Most bytes of a path with its query, and of all headers together.
    """

    prefix: str = ""
    token: str | None = None
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    decodes: int = 4
    max_path: int = 4096
    max_headers: int = 16384

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise OptionError(f"prefix is {self.prefix!r}; it is a path like /data, or empty")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise OptionError("a token is made of letters, digits, '_', '.' and '-', at most 200 of them")
        for origin in self.cors:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise OptionError(f"cors is {origin!r}; it is * or an origin like https://example.org")
        if self.decodes < 1:
            raise OptionError(f"decodes is {self.decodes}; at least 1")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the settings that a mapping names, as a file has them.

        Raises
        ------
        OptionError
            If there is no such setting, or a value is impossible.
        """
        known = {field.name: field.type for field in fields(cls)}
        made: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise OptionError(f"there is no setting {name!r}; known: {', '.join(known)}")
            made[name] = _value(name, value, str(known[name]))
        return cls(**made)

    def for_address(self, host: str) -> Self:
        """Return the settings of a server that listens at an address.

        On the loopback interface nobody needs a token, and only its own names are answered to; elsewhere a token is
        made up unless one was given. An empty token stands for none.
        """
        from dataclasses import replace

        if host in LOOPBACK:
            hosts = self.hosts or (LOOPBACK if self.token is None else ())
            return replace(self, hosts=hosts)
        return replace(self, token=secrets.token_urlsafe(16)) if self.token is None else self


def _value(name: str, value: Any, kind: str) -> Any:
    value = plain(value)
    if kind.startswith("tuple"):
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, Iterable) or not all(isinstance(word, str) for word in words):
            raise OptionError(f"{name} is {value!r}; it is a list of texts")
        return tuple(words)
    if kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        raise OptionError(f"{name} is {value!r}; it is a whole number")
    if kind.startswith("str") and not isinstance(value, str) and not (value is None and "None" in kind):
        raise OptionError(f"{name} is {value!r}; it is a text")
    return value
