"""Other people's writers and readers of single chunks, to compare with."""

from __future__ import annotations

import io

import numpy as np
import tensorstore as ts
from PIL import Image


def _open(shape, dtype, encoding, settings):
    x, y, z, channels = shape
    return ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": "memory://",
            "multiscale_metadata": {
                "type": "image",
                "data_type": np.dtype(dtype).name,
                "num_channels": channels,
            },
            "scale_metadata": {
                "key": "s",
                "size": [x, y, z],
                "chunk_size": [x, y, z],
                "resolution": [1, 1, 1],
                "encoding": encoding,
                **settings,
            },
            "store_data_equal_to_fill_value": True,
        },
        create=True,
    ).result()


def _key(shape):
    return "s/" + "_".join(f"0-{n}" for n in shape[:3])


def tensorstore_writes(chunk, encoding, **settings) -> bytes:
    """Return the bytes TensorStore stores for a chunk."""
    store = _open(chunk.shape, chunk.dtype, encoding, settings)
    store.write(chunk).result()
    return store.kvstore.read(_key(chunk.shape)).result().value


def tensorstore_reads(data, shape, dtype, encoding, **settings):
    """Return the chunk TensorStore reads from bytes."""
    store = _open(shape, dtype, encoding, settings)
    store.kvstore.write(_key(shape), data).result()
    return store.read(order="F").result()


def pillow_writes(chunk, kind, **options) -> bytes:
    """Return a picture of a chunk, pixel by pixel: width x, height y*z."""
    x, y, z, channels = chunk.shape
    picture = np.empty((y * z, x, channels), chunk.dtype)
    for k in range(z):
        for j in range(y):
            picture[j + y * k] = chunk[:, j, k]
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if channels == 1 else picture).save(file, kind, **options)
    return file.getvalue()
