"""The page that lists the datasets."""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib.util import find_spec
from urllib.parse import quote

from volumekit import __version__
from volumekit.serve.answer import HTML, Document
from volumekit.serve.dataset import Dataset

_STYLE = (
    "body{font-family:sans-serif;margin:2em}td,th{padding:.4em 1em;text-align:left;vertical-align:top}"
    "img{max-width:160px;image-rendering:pixelated}code{background:#eee;padding:.1em .3em}"
)


def index(datasets: Iterable[Dataset], base: str) -> Document:
    """Return the page.

    Parameters
    ----------
    datasets : iterable of Dataset
        What is served.
    base : str
        What paths begin with, without a slash at the end.
    """
    rows = "".join(_row(dataset, base) for dataset in datasets)
    text = (
        f"<!doctype html><html><head><meta charset='utf-8'><title>volumekit</title><style>{_STYLE}</style></head>"
        f"<body><h1>Volumes</h1><table>{rows}</table><p>volumekit {__version__}</p></body></html>"
    )
    return Document(text.encode(), HTML)


def _row(dataset: Dataset, base: str) -> str:
    volume, name = dataset.volume, quote(dataset.name)
    title, links = html.escape(dataset.name), html.escape(f"{base}/{name}", quote=True)
    finest = next((level for level in volume.levels if level.placed), volume.levels[0])
    size = " × ".join(f"{n:,}" for n in finest.shape[:3])
    voxel = " × ".join(f"{n:g}" for n in finest.resolution)
    page = html.escape(f"{base}/-/view/{name}", quote=True)
    view = f"<a href='{page}'>view</a> " if find_spec("neuroglancer") else ""
    picture = html.escape(f"{base}/-/thumbnail/{name}.png", quote=True)
    return (
        f"<tr><td><img alt='' src='{picture}'></td><td><b>{title}</b><br>{size} voxels of {voxel} nm,"
        f" {len(volume.levels)} level(s), {html.escape(str(volume.levels[0].dtype))}, {volume.layer_type}<br>"
        f"{view}<a href='{links}/info'>precomputed</a> <a href='{links}.zarr/zarr.json'>OME-Zarr</a></td></tr>"
    )
