"""Every exception of the library.

::

    VolumekitError                     anything below; carries ``url``, ``key`` and ``box`` where it has them,
    │                                  and after a failed write ``landed`` and ``unknown``
    ├── InvalidURLError                (ValueError)        the text is no URL we understand
    ├── UnknownProtocolError           (ValueError)        a URL, but no storage or format of that name
    ├── MissingExtraError              (ImportError)       an optional package is not installed
    ├── DatasetNotFoundError           (FileNotFoundError) nothing there that any format recognises
    ├── PermissionDeniedError          (PermissionError)   the storage says no; never treated as "missing"
    ├── StorageError                   (OSError)           the storage failed
    │   ├── NoSpaceError                                   disk or quota full
    │   └── ConflictError                                  a conditional write found newer data
    ├── ReadOnlyError                  (PermissionError)   writing where nothing may be written
    ├── MetadataError                  (ValueError)        metadata that cannot be understood
    ├── UnsupportedError               (NotImplementedError)  valid, but nothing here can read or write it
    ├── CorruptChunkError              (ValueError)        stored bytes that do not decode
    ├── MissingChunkError              (LookupError)       a chunk that should be there is not
    ├── InvalidIndexError              (IndexError)        no index NumPy would understand either
    ├── OutOfBoundsError               (IndexError, ValueError)  outside the volume
    ├── ScaleUnavailableError          (IndexError)        no such mip
    ├── AlignmentError                 (ValueError)        a box off the chunk grid
    ├── CastError                      (TypeError)         an array that cannot be stored without loss
    ├── ShapeError                     (ValueError)        an array that does not fit the selection
    ├── ImageStackError                (ValueError)        images that do not make one volume
    ├── OptionError                    (ValueError)        an option with an impossible value
    │   └── TargetExistsError                              something is there that was not to be overwritten
    └── ForkError                      (RuntimeError)      used in a child made by ``fork`` after I/O
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")


def without_passwords(text: str) -> str:
    """Return a text for people to read: URLs in it keep the user's name, not the password."""
    return _PASSWORD.sub(r"\1:…@", text)


class VolumekitError(Exception):
    """Base of all errors of this library.

    Parameters
    ----------
    message : str
        What happened and what to do about it.
    url : str, optional
        The dataset.
    key : str, optional
        The object inside the dataset.
    box : Bbox, optional
        The voxels concerned, half-open, in voxels of the level read or written.

    Attributes
    ----------
    landed : tuple of Bbox
        After a failed write: the boxes that are stored for certain.
    unknown : tuple of Bbox
        After a failed write: the boxes that were in flight; each chunk in them is old or new, never torn.
    damaged : dict
        After a failed job: the images of a stack that it met and that are damaged, with what is wrong with them.
    """

    landed: tuple[Any, ...] = ()
    unknown: tuple[Any, ...] = ()
    damaged: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, *, url: str | None = None, key: str | None = None, box: Any | None = None) -> None:
        super().__init__(message)
        self.message, self.url, self.key, self.box = message, url, key, box

    def __str__(self) -> str:
        parts = [
            f"{name}: {value}"
            for name, value in (("url", self.url), ("key", self.key), ("box", self.box))
            if value is not None and str(value) not in self.message
        ]
        return without_passwords(self.message + (f" [{', '.join(parts)}]" if parts else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[VolumekitError], message: str, state: dict[str, Any]) -> VolumekitError:
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class InvalidURLError(VolumekitError, ValueError):
    """The text is no URL or path we understand."""


class UnknownProtocolError(VolumekitError, ValueError):
    """No storage or format of that name."""


class MissingExtraError(VolumekitError, ImportError):
    """An optional package is needed; the message gives the pip command."""


class DatasetNotFoundError(VolumekitError, FileNotFoundError):
    """Nothing at this place that any format recognises."""


class PermissionDeniedError(VolumekitError, PermissionError):
    """The storage refused access."""


class StorageError(VolumekitError, OSError):
    """The storage failed."""


class NoSpaceError(StorageError):
    """The disk or the quota is full."""


class ConflictError(StorageError):
    """A conditional write found newer data."""


class ReadOnlyError(VolumekitError, PermissionError):
    """A storage, level or volume that cannot be written."""


class MetadataError(VolumekitError, ValueError):
    """Metadata that is damaged, contradictory or absurd."""


class UnsupportedError(VolumekitError, NotImplementedError):
    """Valid data that this version or installation cannot read or write."""


class CorruptChunkError(VolumekitError, ValueError):
    """Stored bytes do not decode to the chunk they should be."""


class MissingChunkError(VolumekitError, LookupError):
    """A chunk is not stored and the volume does not fill missing chunks."""


class InvalidIndexError(VolumekitError, IndexError):
    """Something that is no index: a float, a string, too many of them."""


class OutOfBoundsError(VolumekitError, IndexError, ValueError):
    """A selection reaches outside the volume."""


class ScaleUnavailableError(VolumekitError, IndexError):
    """The volume has no such mip."""


class AlignmentError(VolumekitError, ValueError):
    """A box does not sit on the chunk grid; the message names the nearest aligned boxes."""


class CastError(VolumekitError, TypeError):
    """An array cannot be stored in this data type without loss."""


class ShapeError(VolumekitError, ValueError):
    """An array does not fit the selection it is written to."""


class ImageStackError(VolumekitError, ValueError):
    """Images that do not make one volume: none, unreadable, or of different sizes or types."""


class OptionError(VolumekitError, ValueError):
    """An option with an impossible value."""


class TargetExistsError(OptionError):
    """Something is there already, and ``overwrite`` is off."""


class ForkError(VolumekitError, RuntimeError):
    """The process was made by ``fork`` after its parent did I/O: use spawn or forkserver."""
