"""How a level is read and written: one small frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from volumekit.storage.suffix import Compression


@dataclass(frozen=True)
class IOOptions:
    """How a level is read and written.

    Attributes
    ----------
    fill_missing : bool
        Whether missing chunks read as ``background``; else they are an error.
    background : int or float
        What missing chunks hold, and what surrounds the voxels of a chunk that is written in part for the first time.
    delete_black : bool
        Whether chunks that are all background are deleted instead of stored.
    compress : str or False or None
        Compression of stored objects; None keeps what an object has.
    compress_level : int, optional
        Its level.
    cdn_cache : bool, int or str, optional
        How long browsers and networks may keep copies of chunks, see `storage.headers.cache_control`; None: unsaid.
    durable : bool
        Whether a write counts as done only once it is on the disk.
    threads : int, optional
        How many threads decode; None: one per core.
    lru_bytes : int
        Size of the memory cache of decoded chunks.
    """

    fill_missing: bool = False
    background: int | float = 0
    delete_black: bool = False
    compress: Compression = None
    compress_level: int | None = None
    cdn_cache: bool | int | str | None = None
    durable: bool = False
    threads: int | None = None
    lru_bytes: int = 0
