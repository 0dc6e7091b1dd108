"""Datasets whose info file is precomputed's and whose chunks are not: what precomputed-tif writes.

Source: https://github.com/chunglabmit/precomputed-tif. Of its formats all but ``ngff`` have an info file that says raw
chunks, and only its own server reads them.
"""

from __future__ import annotations

from volumekit.formats.precomputed.format import Precomputed

_FIRST = (0, 0, 0, 0)
_FILES = {"zarr": ".zarray", "blockfs": "precomputed.blockfs"}


def lookalikes(fmt: Precomputed) -> tuple[str, dict[str, str]]:
    """Return where a dataset's first chunk is, and the keys that tell whose it is if nothing is there.

    Parameters
    ----------
    fmt : Precomputed
        What the info file says.

    Returns
    -------
    tuple
        The key of the first chunk of the finest level, and precomputed-tif's name of a format by key; no keys where
        the info file cannot be precomputed-tif's.
    """
    level = fmt.levels[0]
    if level.error is not None or level.sharding is not None or level.codec.name != "raw":
        return "", {}
    chunk = fmt.key(level, _FIRST)
    return chunk, {f"{chunk}.tiff": "tiff", **{f"{level.key}/{file}": name for name, file in _FILES.items()}}
