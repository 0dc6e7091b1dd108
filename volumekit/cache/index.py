"""The account of a cache directory: what is in it, how large it is, what was used when.

One SQLite file for all processes that share the directory: whoever is killed leaves no lock behind. Space is made
before anything is written, so that the budget holds at every moment; files are the truth, and a row whose file is not
as noted counts for nothing.

An object is only noted if its row is still as it was before the object was read: nobody who was reading while somebody
wrote brings back what was there before.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

NAME = "index.sqlite"
MISSING = -1
"""Size of what is known not to be stored."""

CHANGING = -2
"""Size of what somebody is writing just now."""

CHANGING_SECONDS = 60.0
"""How long a writer may take; whoever reads meanwhile does not know what it read."""

_FRESH = 2.0
"""Seconds in which an entry is not removed again: its file may still be on its way."""

_WAIT = 30.0
_MOST = 500  # SQLite's oldest limit of variables in a statement is 999

_SCHEMA = """
CREATE TABLE IF NOT EXISTS datasets (id INTEGER PRIMARY KEY, folder TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    dataset INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, stamp BLOB NOT NULL,
    crc INTEGER NOT NULL, checked REAL NOT NULL, used REAL NOT NULL, PRIMARY KEY (dataset, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE TABLE IF NOT EXISTS total (bytes INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);
"""


class Entry(NamedTuple):
    """What is noted of an object.

    Attributes
    ----------
    size : int
        Bytes; `MISSING` if the storage has no such object, `CHANGING` while somebody writes it.
    mtime : int
        Time of the file's last change, in ns.
    stamp : bytes
        The storage's own generation of the object.
    crc : int
        CRC-32 of the bytes.
    checked : float
        When it was last compared with the storage.
    """

    size: int
    mtime: int
    stamp: bytes
    crc: int
    checked: float


class Index:
    """The account of one cache directory; any number of threads and processes may use it.

    Parameters
    ----------
    directory : str
        The cache directory; made if it is not there.
    max_bytes : int
        Its budget.

    Raises
    ------
    OSError, sqlite3.Error
        If the directory cannot be used; so do all methods.
    """

    def __init__(self, directory: str, max_bytes: int) -> None:
        self.directory, self.max_bytes = directory, max_bytes
        self._lock, self._pid = threading.RLock(), os.getpid()
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._db = self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(Path(self.directory) / NAME, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with _transaction(db):
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute("PRAGMA user_version=1")
        return db

    def _use(self) -> sqlite3.Connection:
        if self._pid != os.getpid():  # SQLite's connections do not survive a fork
            self._pid, self._lock = os.getpid(), threading.RLock()
            self._db = self._connect()
        return self._db

    def dataset(self, folder: str) -> int:
        """Return the number of a dataset, by its folder."""
        with self._lock, _transaction(self._use()) as db:
            db.execute("INSERT OR IGNORE INTO datasets (folder) VALUES (?)", (folder,))
            return int(db.execute("SELECT id FROM datasets WHERE folder = ?", (folder,)).fetchone()[0])

    def get(self, dataset: int, keys: Sequence[str]) -> dict[str, Entry]:
        """Return what is noted of objects."""
        found: dict[str, Entry] = {}
        with self._lock:
            for start in range(0, len(keys), _MOST):
                part = keys[start : start + _MOST]
                marks = ",".join("?" * len(part))
                rows = self._use().execute(
                    f"SELECT key, size, mtime, stamp, crc, checked FROM entries WHERE dataset = ? AND key IN ({marks})",
                    (dataset, *part),
                )
                found.update({row[0]: Entry(*row[1:]) for row in rows})
        return found

    def everything(self, dataset: int, prefix: str = "") -> dict[str, Entry]:
        """Return what is noted of all objects of a dataset below a prefix."""
        with self._lock:
            rows = self._use().execute(
                "SELECT key, size, mtime, stamp, crc, checked FROM entries WHERE dataset = ? AND key >= ? ORDER BY key",
                (dataset, prefix),
            )
            return {row[0]: Entry(*row[1:]) for row in rows if row[0].startswith(prefix)}

    def folders(self) -> dict[str, tuple[int, int, int]]:
        """Return of each dataset's folder: its number, how many objects it holds, how many bytes."""
        with self._lock:
            rows = self._use().execute(
                "SELECT folder, id, COUNT(key), COALESCE(SUM(size), 0) FROM datasets "
                "LEFT JOIN entries ON dataset = id AND size >= 0 GROUP BY id ORDER BY folder"
            )
            return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def total(self) -> int:
        """Return the bytes that the directory holds by this account."""
        with self._lock:
            return int(self._use().execute("SELECT bytes FROM total").fetchone()[0])

    def add(
        self, dataset: int, entries: Mapping[str, Entry], expected: Mapping[str, Entry | None] | None = None
    ) -> set[str]:
        """Make room for objects and note them; their files are to be written next.

        Parameters
        ----------
        dataset : int
            Whose they are.
        entries : Mapping
            By key.
        expected : Mapping, optional
            What was noted of each before it was read; those of which something else is noted now are left out.

        Returns
        -------
        set of str
            Keys of those that are noted: they are as expected, and there was room.
        """
        now = time.time()
        with self._lock, _transaction(self._use()) as db:
            if expected is not None:
                noted = self.get(dataset, list(entries))
                entries = {key: e for key, e in entries.items() if _same(noted.get(key), expected.get(key))}
            new = sum(max(0, entry.size) for entry in entries.values())
            old = self._forget(db, dataset, entries)
            if new > self.max_bytes or not self._evict(db, self.max_bytes - new, now):
                for key in old:
                    self._unlink(dataset, key)
                return set()
            self._insert(db, dataset, entries, now)
        return set(entries)

    def _insert(self, db: sqlite3.Connection, dataset: int, entries: Mapping[str, Entry], now: float) -> None:
        rows = [(dataset, key, *entry, now) for key, entry in entries.items()]
        db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        held = sum(max(0, entry.size) for entry in entries.values())
        db.execute("UPDATE total SET bytes = bytes + ?", (held,))

    def _forget(self, db: sqlite3.Connection, dataset: int, keys: Iterable[str]) -> list[str]:
        """Remove rows; return the keys of those that had files."""
        found = self.get(dataset, list(keys))
        db.executemany("DELETE FROM entries WHERE dataset = ? AND key = ?", [(dataset, key) for key in found])
        freed = sum(max(0, entry.size) for entry in found.values())
        db.execute("UPDATE total SET bytes = MAX(0, bytes - ?)", (freed,))
        return [key for key, entry in found.items() if entry.size >= 0]

    def _evict(self, db: sqlite3.Connection, room: int, now: float) -> bool:
        """Remove what was not used for longest until no more than ``room`` bytes are left."""
        held = db.execute("SELECT bytes FROM total").fetchone()[0]
        while held > room:
            rows = db.execute(
                "SELECT dataset, key, size FROM entries WHERE size >= 0 AND used < ? ORDER BY used LIMIT 64",
                (now - _FRESH,),
            ).fetchall()
            if not rows:
                return False
            gone = []
            for dataset, key, size in rows:
                if held <= room:
                    break
                self._unlink(dataset, key)
                gone.append((dataset, key))
                held -= size
            db.executemany("DELETE FROM entries WHERE dataset = ? AND key = ?", gone)
            db.execute("UPDATE total SET bytes = ?", (max(0, held),))
        return True

    def _unlink(self, dataset: int, key: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (Path(self.directory) / self._folder(dataset) / key).unlink()

    def _folder(self, dataset: int) -> str:
        row = self._use().execute("SELECT folder FROM datasets WHERE id = ?", (dataset,)).fetchone()
        return str(row[0])

    def forget(self, dataset: int, keys: Iterable[str]) -> None:
        """Forget objects and remove their files."""
        with self._lock, _transaction(self._use()) as db:
            for key in self._forget(db, dataset, keys):
                self._unlink(dataset, key)

    def changing(self, dataset: int, keys: Iterable[str]) -> dict[str, Entry]:
        """Forget objects that are about to be written; return what is noted of them until `add` replaces it."""
        now = time.time()
        marks = {key: Entry(CHANGING, 0, os.urandom(16), 0, now) for key in keys}
        with self._lock, _transaction(self._use()) as db:
            for key in self._forget(db, dataset, marks):
                self._unlink(dataset, key)
            self._insert(db, dataset, marks, now)
        return marks

    def touch(self, dataset: int, keys: Iterable[str], *, checked: float | None = None) -> None:
        """Note that objects were used just now, and compared with the storage if ``checked`` says when."""
        now = time.time()
        with self._lock, _transaction(self._use()) as db:
            if checked is None:
                rows = [(now, dataset, key) for key in keys]
                db.executemany("UPDATE entries SET used = ? WHERE dataset = ? AND key = ?", rows)
            else:
                more = [(now, checked, dataset, key) for key in keys]
                db.executemany("UPDATE entries SET used = ?, checked = ? WHERE dataset = ? AND key = ?", more)


def _same(noted: Entry | None, expected: Entry | None) -> bool:
    return noted is expected is None or (noted is not None and expected is not None and noted[:3] == expected[:3])


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Do all of a block or nothing, alone among all processes."""
    if db.in_transaction:
        yield db
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
