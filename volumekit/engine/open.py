"""Opening a level: natively where TensorStore reads it, through the bridge everywhere else."""

from __future__ import annotations

import posixpath

import tensorstore as ts

from volumekit.engine.bridge import Bridge
from volumekit.engine.chunks import same
from volumekit.engine.options import IOOptions
from volumekit.engine.pool import pool
from volumekit.errors import MetadataError
from volumekit.formats.base import Format
from volumekit.model.level import Level
from volumekit.storage import forkguard
from volumekit.storage.base import Store
from volumekit.storage.context import context
from volumekit.storage.translate import raise_translated


def open_native(store: Store, fmt: Format, level: Level, options: IOOptions) -> ts.TensorStore | None:
    """Open a level with TensorStore's own driver, or return None where there is none.

    A missing chunk is an error here, never a silent zero: the caller then asks the bridge, which knows about suffixes
    and about the volume's policy. Only where a format has no suffixes, and fills by its own rule, the driver may.
    """
    native, kvstore = fmt.native(level), store.native()
    if native is None or kvstore is None:
        return None
    forkguard.check()
    path = posixpath.normpath(kvstore["path"] + native.path).rstrip("/") + "/"
    if path.startswith("../"):  # out of the bucket: the store says so
        return None
    spec = {
        **native.spec,
        "kvstore": {**kvstore, "path": path},
        "fill_missing_data_reads": native.fills and options.fill_missing and same(options.background, level.fill),
        "store_data_equal_to_fill_value": not options.delete_black,
    }
    try:
        with store.opening():
            return ts.open(spec, context=_context(options)).result()
    except (ValueError, NotImplementedError, OverflowError) as error:
        if '"metadata"' in str(error) or isinstance(error, OverflowError):
            told = f"TensorStore does not take {native.document or 'these metadata'}: {error}"
            raise MetadataError(told, url=store.url, key=native.document or level.key) from error
        raise_translated(error, url=store.url, key=level.key)


def open_bridge(store: Store, fmt: Format, level: Level, options: IOOptions) -> ts.TensorStore:
    """Open a level through Python: any codec, any suffix, any store."""
    forkguard.check()
    bridge = Bridge(store, fmt, level, options, pool(options.threads))
    return bridge.open(threads=options.threads, context=_context(options))


def _context(options: IOOptions) -> ts.Context:
    return context(durable=options.durable, threads=options.threads, lru_bytes=options.lru_bytes)
