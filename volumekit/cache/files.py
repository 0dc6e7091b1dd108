"""The files of a cache directory: one folder per dataset, and one of files that are not yet in their places."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from volumekit.cache.entry import Entry

COMING = ".coming"
OWN = ".volumekit"
"""Folder of what a mirror knows beside the objects; marks the folder of a dataset."""

_IMPOSSIBLE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
"""What is wrong where there is no file of a name, or cannot be one because of the files and folders that are there."""

_STALE = 3600.0
_ADOPTED = -1


def is_ordinary(key: str) -> bool:
    """Tell whether an object may have a file of its name: one that stays inside the dataset's folder."""
    if not key or key[0] == "/" or "\\" in key or "\0" in key or not (key.isascii() or _encodes(key)):
        return False
    if "." not in key and "//" not in key:
        return True
    return not {"", ".", "..", OWN} & set(key.split("/"))


def _encodes(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def write(directory: str, entry: Entry, data: bytes) -> int:
    """Write a file that is not yet to be in its place; return the time of its last change, in ns."""
    path = f"{directory}/{COMING}/{entry.coming}"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        # The time is noted and set: the clock of files ticks so rarely that two versions could have the same one.
        now = time.time_ns() // 1_000_000 * 1_000_000 - entry.mtime % 1_000_000
        os.utime(file, ns=(now, now))
        return os.fstat(file).st_mtime_ns  # as coarse as the filesystem has it
    finally:
        os.close(file)


def move(directory: str, folder: str, key: str, entry: Entry) -> bool:
    """Move a file to its place; tell whether there can be one of its name."""
    source, target = f"{directory}/{COMING}/{entry.coming}", f"{directory}/{folder}/{key}"
    try:
        try:
            os.replace(source, target)  # noqa: PTH105 - pathlib takes three times as long
        except FileNotFoundError:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)  # noqa: PTH105
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        return False
    return True


def remove(directory: str, folder: str | None, key: str, entry: Entry) -> None:
    """Remove the file of an entry, wherever it is; with no folder only if it is not yet in its place."""
    if entry.size < 0:
        return
    places = [] if entry.coming is None else [f"{directory}/{COMING}/{entry.coming}"]
    if folder is not None:  # whoever moved it may have been killed before that was noted
        places.append(f"{directory}/{folder}/{key}")
    for place in places:
        try:
            os.unlink(place)  # noqa: PTH108
        except OSError as error:
            if error.errno not in _IMPOSSIBLE and not os.path.isdir(place):  # noqa: PTH112
                raise


def adopted(directory: str) -> Iterator[tuple[str, dict[str, Entry]]]:
    """Yield the datasets that lie in a cache directory whose account was lost, and their objects."""
    if not (Path(directory) / COMING).is_dir():  # nothing of ours, and perhaps a great deal of somebody else's
        return
    for path in (Path(directory) / COMING).iterdir():
        path.unlink(missing_ok=True)
    seen: set[Path] = set()
    folders = [path.parent for path in Path(directory).rglob(OWN) if path.is_dir()]
    for folder in sorted(folders, key=lambda path: -len(path.parts)):  # one may lie inside another
        files = {path for path in folder.rglob("*") if path.is_file() and OWN not in path.parts} - seen
        seen |= files
        keys = {str(path.relative_to(folder)): path.stat().st_size for path in files}
        wanted = {key for key in keys if is_ordinary(key) and not remembered(folder, key, "value").exists()}
        entries = {key: Entry(keys[key], _ADOPTED, b"", 0, 0.0) for key in wanted}
        yield str(folder.relative_to(directory)), entries


def remove_stale(directory: str) -> None:
    """Remove files that nobody will move any more: their writers were killed after their rows were removed."""
    with contextlib.suppress(OSError), os.scandir(f"{directory}/{COMING}") as files:
        for file in files:
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < time.time() - _STALE:
                    os.unlink(file.path)  # noqa: PTH108


def write_whole(path: Path, data: bytes) -> None:
    """Make a file hold these bytes; nobody ever sees a part of them."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remembered(folder: Path, key: str, kind: str) -> Path:
    """Return where a mirror keeps the original metadata of its dataset, by key and kind of answer."""
    return folder / OWN / "metadata" / f"{quote(key, safe=' ', errors='surrogatepass')}.{kind}"
