"""TensorStore's own view of zarr shards: looks inside, and plants things there, without our code."""

import tensorstore as ts

from volumekit.storage.base import ABSENT, Store, Value, gather, then
from volumekit.storage.context import context

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
CRC = {"name": "crc32c"}


class TensorStoreZarrShards(Store):
    """Chunks by name, through TensorStore's ``zarr3_sharding_indexed``, one store per shard.

    ``names`` has ``place(key)`` -> (shard, number), ``names(shard)`` -> {number: key} and ``is_shard``.
    """

    def __init__(self, base, names, index):
        self.url, self._base, self._names, self._index = base.url, base, names, index

    def _shard(self, name):
        native = self._base.native()
        codecs = [LITTLE if self._index.little else BIG, *([CRC] if self._index.checked else [])]
        spec = {
            "driver": "zarr3_sharding_indexed",
            "base": {**native, "path": f"{native['path']}{name}"},
            "grid_shape": list(self._index.grid),
            "index_codecs": codecs,
            "index_location": "end" if self._index.at_end else "start",
        }
        return ts.KvStore.open(spec, context=context()).result()

    def _key(self, number):
        out = []
        for n in reversed(self._index.grid):
            number, at = divmod(number, n)
            out.append(at.to_bytes(4, "big"))
        return b"".join(reversed(out))

    def read(self, key, start=None, stop=None):
        shard, number = self._names.place(key)

        def value(found):
            return None if found.state == "missing" else Value(bytes(found.value)[start:stop], found.stamp.generation)

        return then(self._shard(shard).read(self._key(number)), value)

    def commit(self, changes, if_match=None):
        done = {}
        for key, data in changes.items():
            shard, number = self._names.place(key)
            done[key] = self._shard(shard).write(self._key(number), data)
            done[key].result()
        return then(gather(done), lambda stamps: dict.fromkeys(stamps, ABSENT))

    def list(self, prefix=""):
        for shard in sorted(key for key in self._base.list() if self._names.is_shard(key)):
            held = set(self._shard(shard).list().result())
            yield from (name for n, name in self._names.names(shard).items() if self._key(n) in held)
