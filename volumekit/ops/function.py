"""Functions of users: sent to other processes, and told apart from one run to the next."""

from __future__ import annotations

import functools
import hashlib
import pickle
import types
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from volumekit.errors import OptionError


class Function:
    """A function that can be called in another process.

    Parameters
    ----------
    call : callable, optional
        The function.
    data : bytes, optional
        The function as stored, for other processes.
    """

    def __init__(self, call: Callable[..., Any] | None, data: bytes | None = None) -> None:
        self._call, self._data = call, data

    @classmethod
    def of(cls, call: Callable[..., Any], *, processes: int | None, client: Any) -> Function:
        """Make a function ready for where tasks are to run.

        Raises
        ------
        OptionError
            If it is no function, or cannot be sent there.
        """
        if not callable(call):
            raise OptionError(f"function is {call!r}; it is called with each block, an array (x, y, z, channel)")
        if processes is None and client is None:
            return cls(call)
        dumps: Callable[[Any], bytes] = pickle.dumps if client is None else import_module("cloudpickle").dumps
        try:
            return cls(call, dumps(call))
        except Exception as error:  # whatever an object's own way to be pickled raises
            raise OptionError(
                f"{name_of(call)} cannot be sent to other processes, as it is not picklable ({error}); define it with "
                "def at the top of a module, without open files, locks or lambdas in it, or use threads"
            ) from error

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        if self._call is None:
            self._call = self._load()
        return self._call(*args)

    def _load(self) -> Callable[..., Any]:
        try:
            found: Callable[..., Any] = pickle.loads(self._data or b"")
        except Exception as error:  # the module it is in may raise anything
            raise OptionError(
                f"the function cannot be loaded in another process ({error}); define it in a module that can be "
                "imported there, not in a notebook or at the prompt, or use threads or a Dask cluster"
            ) from error
        return found

    def __reduce__(self) -> Any:
        return Function, (None, self._data)


def name_of(call: Any) -> str:
    """Return the name of a function."""
    call = call.func if isinstance(call, functools.partial) else call
    kind = call if hasattr(call, "__qualname__") else type(call)
    return f"{kind.__module__}.{kind.__qualname__}"


def mark_of(call: Any) -> str:
    """Return what changes when a function's own code, defaults, closure or bound arguments change.

    What it calls is not looked at, nor are global variables.
    """
    mark = hashlib.sha256()
    for text in _facts(call):
        mark.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return mark.hexdigest()


def _facts(value: Any, depth: int = 0) -> Iterable[str]:
    """Yield texts that tell a value from others, the same in every process."""
    if depth > 8:
        return
    if isinstance(value, functools.partial):
        parts: Iterable[Any] = (
            value.func,
            *value.args,
            *(part for item in sorted(value.keywords.items()) for part in item),
        )
    elif isinstance(value, types.MethodType):
        parts = (value.__func__, value.__self__)
    elif isinstance(value, types.FunctionType):
        cells = (cell.cell_contents for cell in value.__closure__ or ())
        parts = (
            value.__module__,
            value.__code__,
            value.__defaults__,
            *sorted((value.__kwdefaults__ or {}).items()),
            *cells,
        )
    elif isinstance(value, types.CodeType):
        parts = (value.co_code, value.co_names, value.co_varnames, value.co_consts)
    elif isinstance(value, tuple | list):
        parts = value
    elif isinstance(value, frozenset | set):
        parts = sorted(map(repr, value))
    else:
        yield _plain(value)
        return
    yield type(value).__name__
    for part in parts:
        yield from _facts(part, depth + 1)


def _plain(value: Any) -> str:
    if value is None or isinstance(value, str | bytes | int | float | complex):
        return repr(value)
    if hasattr(value, "__qualname__"):  # classes, built-in functions, NumPy's
        return name_of(value)
    try:
        return f"{name_of(value)} {pickle.dumps(value).hex()}"
    except Exception:  # whatever an object's own way to be pickled raises
        return name_of(value)
