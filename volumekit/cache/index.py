"""The account of a cache directory: what is in it, how large it is, what was used when.

One SQLite file for all processes that share the directory: whoever is killed leaves no lock behind. Space is made
before anything is written, so that the budget holds at every moment; files are the truth, and a row whose file is not
as noted counts for nothing. Each file has a row, also while it is being written, so that nothing is ever left over that
nobody counts: an object is *reserved*, written beside the datasets under a name that its row tells, and moved to its
place when it *arrives*, if its row is still there.

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

from volumekit.cache.entry import CHANGING, CHANGING_SECONDS, Entry, same
from volumekit.cache.files import adopted, move, remove

NAME = "index.sqlite"

_WAIT = 20.0
_MOST = 500  # SQLite's oldest limit of variables in a statement is 999
_VERSION = 2

_SCHEMA = """
CREATE TABLE datasets (id INTEGER PRIMARY KEY, folder TEXT UNIQUE NOT NULL);
CREATE TABLE entries (
    dataset INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, stamp BLOB NOT NULL,
    crc INTEGER NOT NULL, checked REAL NOT NULL, used REAL NOT NULL, PRIMARY KEY (dataset, key)) WITHOUT ROWID;
CREATE INDEX by_use ON entries (used);
CREATE TABLE total (bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0);
"""
_COLUMNS = "key, size, mtime, stamp, crc, checked"


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
        self._inherited: list[sqlite3.Connection] = []
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._db = self._connect()

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.directory) / NAME

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        _set_mode(db)
        self.file = self.path.stat().st_ino
        with _transaction(db):
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != _VERSION:
                self._create(db)
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        """Start an account: files that are there already are noted, so that they count, but not trusted."""
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            db.execute(f'DROP TABLE "{table}"')
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        for folder, entries in adopted(self.directory):
            db.execute("INSERT INTO datasets (folder) VALUES (?)", (folder,))
            self._insert(db, db.execute("SELECT MAX(id) FROM datasets").fetchone()[0], entries, 0.0)
        db.execute(f"PRAGMA user_version = {_VERSION}")

    def _use(self) -> sqlite3.Connection:
        if self._pid != os.getpid():  # a connection does not survive a fork, and closing it would harm the parent's
            self._inherited.append(self._db)
            self._pid, self._lock = os.getpid(), threading.RLock()
            self._db = self._connect()
        return self._db

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._use().close()

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
                    f"SELECT {_COLUMNS} FROM entries WHERE dataset = ? AND key IN ({marks})", (dataset, *part)
                )
                found.update({row[0]: Entry(*row[1:]) for row in rows})
        return found

    def everything(self, dataset: int, prefix: str = "") -> dict[str, Entry]:
        """Return what is noted of all objects of a dataset below a prefix."""
        with self._lock:
            rows = self._use().execute(
                f"SELECT {_COLUMNS} FROM entries WHERE dataset = ? AND key >= ? AND key < ? ORDER BY key",
                (dataset, prefix, prefix + "\U0010ffff"),
            )
            return {row[0]: Entry(*row[1:]) for row in rows}

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

    def reserve(
        self, dataset: int, entries: Mapping[str, Entry], expected: Mapping[str, Entry | None] | None = None
    ) -> set[str]:
        """Make room for objects and note them.

        Parameters
        ----------
        dataset : int
            Whose they are.
        entries : Mapping
            By key. Of those that have files, these are to be written next (see `Entry.coming`), and to `arrive`.
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
                entries = {key: e for key, e in entries.items() if same(noted.get(key), expected.get(key))}
            new = sum(entry.cost for entry in entries.values())
            self._forget(db, dataset, entries)
            if new > self.max_bytes or not self._evict(db, self.max_bytes - new, now):
                return set()
            self._insert(db, dataset, entries, now)
        return set(entries)

    def arrive(self, dataset: int, written: Mapping[str, tuple[Entry, int]]) -> dict[str, Entry]:
        """Move objects that were reserved and written to their places.

        Parameters
        ----------
        dataset : int
            Whose they are.
        written : Mapping
            By key, what was reserved and the time of the file's last change, in ns.

        Returns
        -------
        dict of Entry
            Those that are in their places; the others were evicted, or somebody wrote them meanwhile.
        """
        arrived = {}
        with self._lock, _transaction(self._use()) as db:
            folder = self._folder(dataset)
            for key, (entry, mtime) in written.items():
                done = db.execute(
                    "UPDATE entries SET mtime = ? WHERE dataset = ? AND key = ? AND mtime = ?",
                    (mtime, dataset, key, entry.mtime),
                )
                if not done.rowcount:
                    remove(self.directory, None, key, entry)
                elif move(self.directory, folder, key, entry):
                    arrived[key] = entry._replace(mtime=mtime)
                else:
                    remove(self.directory, None, key, entry)
                    self._forget(db, dataset, [key])
        return arrived

    def _insert(self, db: sqlite3.Connection, dataset: int, entries: Mapping[str, Entry], now: float) -> None:
        rows = [(dataset, key, *entry, now) for key, entry in entries.items()]
        db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("UPDATE total SET bytes = bytes + ?", (sum(entry.cost for entry in entries.values()),))

    def _forget(self, db: sqlite3.Connection, dataset: int, keys: Iterable[str]) -> None:
        """Remove rows and their files."""
        found = self.get(dataset, list(keys))
        folder = self._folder(dataset) if found else ""
        for key, entry in found.items():
            remove(self.directory, folder, key, entry)
        db.executemany("DELETE FROM entries WHERE dataset = ? AND key = ?", [(dataset, key) for key in found])
        freed = sum(entry.cost for entry in found.values())
        db.execute("UPDATE total SET bytes = MAX(0, bytes - ?)", (freed,))

    def _evict(self, db: sqlite3.Connection, room: int, now: float) -> bool:
        """Remove what was not used for longest until no more than ``room`` bytes are left."""
        held = db.execute("SELECT bytes FROM total").fetchone()[0]
        while held > room:
            rows = db.execute(
                f"SELECT dataset, folder, {_COLUMNS} FROM entries JOIN datasets ON dataset = id "
                "WHERE NOT (size = ? AND used > ?) ORDER BY used LIMIT 64",
                (CHANGING, now - CHANGING_SECONDS),
            ).fetchall()
            if not rows:
                return False
            gone = []
            for dataset, folder, key, *fields in rows:
                if held <= room:
                    break
                entry = Entry(*fields)
                remove(self.directory, folder, key, entry)
                gone.append((dataset, key))
                held -= entry.cost
            db.executemany("DELETE FROM entries WHERE dataset = ? AND key = ?", gone)
            db.execute("UPDATE total SET bytes = ?", (max(0, held),))
        return True

    def _folder(self, dataset: int) -> str:
        row = self._use().execute("SELECT folder FROM datasets WHERE id = ?", (dataset,)).fetchone()
        return str(row[0])

    def forget(self, dataset: int, keys: Iterable[str]) -> None:
        """Forget objects and remove their files."""
        with self._lock, _transaction(self._use()) as db:
            self._forget(db, dataset, keys)

    def changing(self, dataset: int, keys: Iterable[str]) -> dict[str, Entry]:
        """Forget objects that are about to be written; return what is noted of them until `reserve` replaces it."""
        now = time.time()
        marks = {key: Entry(CHANGING, 0, os.urandom(16), 0, now) for key in keys}
        with self._lock, _transaction(self._use()) as db:
            self._forget(db, dataset, marks)
            self._insert(db, dataset, marks, now)
        return marks

    def touch(self, dataset: int, keys: Iterable[str], *, checked: float | None = None) -> None:
        """Note that objects were used just now, and compared with the storage if ``checked`` says when."""
        now = time.time()
        with self._lock, _transaction(self._use()) as db:
            db.executemany(
                "UPDATE entries SET used = ?, checked = COALESCE(?, checked) WHERE dataset = ? AND key = ?",
                [(now, checked, dataset, key) for key in keys],
            )


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether an error says that the file is damaged; subclasses of this one say that something else is wrong."""
    return type(error) is sqlite3.DatabaseError


def _set_mode(db: sqlite3.Connection) -> None:
    """Let readers not wait for writers; SQLite does not wait by itself for somebody who does the same just now."""
    end = time.monotonic() + _WAIT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


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
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
