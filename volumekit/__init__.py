"""volumekit: one NumPy-sliceable `Volume` for every chunked volumetric image format.

Names are loaded when they are first used: importing the package loads neither NumPy nor TensorStore.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volumekit.cache.options import Cache
    from volumekit.model.bbox import Bbox
    from volumekit.model.vec import Vec
    from volumekit.ops.convert import convert
    from volumekit.ops.downsample import downsample
    from volumekit.ops.export import export
    from volumekit.ops.from_dask import from_dask
    from volumekit.ops.recompress import recompress
    from volumekit.ops.transfer import transfer
    from volumekit.ops.verify import verify
    from volumekit.serve.running import serve
    from volumekit.volume.cutout import VolumeCutout
    from volumekit.volume.report import ChunkReport
    from volumekit.volume.volume import Volume

__version__ = "0.1.0"

_WHERE = {
    "Bbox": "volumekit.model.bbox",
    "Cache": "volumekit.cache.options",
    "ChunkReport": "volumekit.volume.report",
    "Vec": "volumekit.model.vec",
    "Volume": "volumekit.volume.volume",
    "VolumeCutout": "volumekit.volume.cutout",
    "convert": "volumekit.ops.convert",
    "downsample": "volumekit.ops.downsample",
    "errors": "volumekit",
    "export": "volumekit.ops.export",
    "from_dask": "volumekit.ops.from_dask",
    "recompress": "volumekit.ops.recompress",
    "serve": "volumekit.serve.running",
    "transfer": "volumekit.ops.transfer",
    "verify": "volumekit.ops.verify",
}

__all__ = [
    "Bbox",
    "Cache",
    "ChunkReport",
    "Vec",
    "Volume",
    "VolumeCutout",
    "__version__",
    "convert",
    "downsample",
    "errors",
    "export",
    "from_dask",
    "recompress",
    "serve",
    "transfer",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in ("errors", "serve"):  # `serve` is a package that can be called
        value: Any = import_module(f"volumekit.{name}")
    elif name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    else:
        raise AttributeError(f"module 'volumekit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
