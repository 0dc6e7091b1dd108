"""TensorStore's own shards as a store: looks inside, and plants things there, without our code."""

import tensorstore as ts

from volumekit.storage.base import ABSENT, Store, Value, gather, then
from volumekit.storage.context import context


class TensorStoreShards(Store):
    """Chunks by name, through TensorStore's ``neuroglancer_uint64_sharded``."""

    def __init__(self, base, folder, sharding, names):
        self.url, self._names = base.url, names
        native = base.native()
        spec = {
            "driver": "neuroglancer_uint64_sharded",
            "base": {**native, "path": f"{native['path']}{folder}/"},
            "metadata": sharding,
        }
        self._shards = ts.KvStore.open(spec, context=context()).result()

    def _key(self, name):
        return self._names.number(name).to_bytes(8, "big")

    def read(self, key, start=None, stop=None):
        def value(found):
            return None if found.state == "missing" else Value(bytes(found.value)[start:stop], found.stamp.generation)

        return then(self._shards.read(self._key(key)), value)

    def commit(self, changes, if_match=None):
        done = {key: self._shards.write(self._key(key), data) for key, data in changes.items()}
        return then(gather(done), lambda stamps: dict.fromkeys(stamps, ABSENT))

    def list(self, prefix=""):
        names = (self._names.name_of(int.from_bytes(key, "big")) for key in self._shards.list().result())
        return (name for name in names if name.startswith(prefix))
