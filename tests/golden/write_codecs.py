"""Writes the chunks of tests/golden/codecs that the packages of the codecs and cloud-volume can make.

python tests/golden/write_codecs.py

Files that exist are left alone, whoever wrote them; new ones are added to manifest.json, with their writers. Every
expected array is what was handed to the writer or, of lossy encodings, what the writer's own reader makes of its bytes.
"""

from __future__ import annotations

import io
import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import compressed_segmentation
import compresso
import crackle
import fpzip
import imagecodecs
import numpy as np
import zfpc
import zfpy
from cloudvolume import chunks as cloudvolume
from PIL import Image

FOLDER = Path(__file__).parent / "codecs"
SHAPE = (13, 10, 6)
WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
REAL = ("float32", "float64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


@dataclass
class Golden:
    """A chunk to write; ``back`` makes the expected array of a lossy one from the bytes."""

    name: str
    codec: str
    chunk: np.ndarray
    content: str
    data: bytes
    package: str
    settings: dict[str, Any] = field(default_factory=dict)
    back: Callable[[bytes], np.ndarray] | None = None
    tolerance: float = 0


def grey(dtype: str, channels: int = 1, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return a smooth chunk, different along all axes, with a few extremes."""
    x, y, z, c = np.indices((*shape, channels))
    kind = np.dtype(dtype)
    chunk = (30 + 9 * x + 4 * y + 3 * z + 25 * c + (x * y + z) % 3).astype(kind, order="F")
    extremes = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    chunk[2, 3, 1], chunk[5, 0, 2] = extremes.min, extremes.max
    return chunk


def real(dtype: str, channels: int = 1) -> np.ndarray:
    """Return a smooth chunk of numbers that need all their bits."""
    x, y, z, c = np.indices((*SHAPE, channels))
    return np.asfortranarray((np.sin(x / 3) * np.cos(y / 4) + z / 7 - c).astype(dtype))


def labels(dtype: str, channels: int = 1) -> np.ndarray:
    """Return regions with noise between them, and the largest label there can be."""
    random = np.random.default_rng(8)
    x, y, z, c = np.indices((*SHAPE, channels))
    chunk = (1 + x // 5 + 10 * (y // 4) + 40 * (z // 3) + 7 * c).astype(dtype, order="F")
    noise = random.random(chunk.shape) < 0.04
    chunk[noise] = np.iinfo(dtype).max - random.integers(0, 9, noise.sum()).astype(dtype)
    return chunk


def picture(chunk: np.ndarray) -> np.ndarray:
    """Return a chunk as a picture of width x and height y*z, channels as colours."""
    x, y, z, channels = chunk.shape
    pixels = np.stack([chunk[..., c].reshape(x, y * z, order="F").T for c in range(channels)], axis=-1)
    return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels)


def voxels(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the chunk of a picture."""
    planes = pixels.reshape(*pixels.shape[:2], -1)
    return np.stack([planes[..., c].T.reshape(shape, order="F") for c in range(planes.shape[-1])], axis=-1)


def raw() -> Iterator[Golden]:
    for dtype, channels in itertools.product((*WHOLE, *REAL), (1, 3)):
        chunk = grey(dtype, channels)
        data = cloudvolume.encode(chunk, "raw")
        yield Golden(f"raw_{dtype}_{channels}_cloudvolume.raw", "raw", chunk, "grey", data, "cloud-volume")


def npz() -> Iterator[Golden]:
    for dtype, channels, order in itertools.product((*WHOLE, *REAL), (1, 3), "CF"):
        chunk = grey(dtype, channels)
        data = cloudvolume.encode(np.array(chunk, order=order), "npz")
        yield Golden(f"npz_{dtype}_{channels}_{order}_cloudvolume.npz", "npz", chunk, "grey", data, "cloud-volume")


def npz_uint8() -> Iterator[Golden]:
    for channels in (1, 3):
        chunk = grey("uint8", channels) / np.float32(255)
        data = cloudvolume.encode(chunk + np.float32(0.0005), "npz_uint8")
        yield Golden(f"npz_uint8_{channels}_cloudvolume.npz", "npz_uint8", chunk, "shares", data, "cloud-volume")


def jpeg() -> Iterator[Golden]:
    chunk = grey("uint8")
    for quality in (1, 50, 100):
        data = cloudvolume.encode(chunk, "jpeg", compression_params={"level": quality})
        name, settings = f"jpeg_1_quality{quality}_cloudvolume.jpg", {"jpeg_quality": quality}
        yield Golden(name, "jpeg", chunk, "", data, "simplejpeg", settings, _read_picture(SHAPE), 2)
    chunk = grey("uint8", 3)
    for quality in (1, 50, 100):
        file = io.BytesIO()
        Image.fromarray(picture(chunk)).save(file, "JPEG", quality=quality)
        name, settings = f"jpeg_3_quality{quality}_pillow.jpg", {"jpeg_quality": quality}
        yield Golden(name, "jpeg", chunk, "", file.getvalue(), "Pillow", settings, _read_picture(SHAPE), 2)


def _read_picture(shape: tuple[int, ...]) -> Callable[[bytes], np.ndarray]:
    return lambda data: voxels(np.asarray(Image.open(io.BytesIO(data))), shape)


def png() -> Iterator[Golden]:
    for level in (0, 1, 9):
        settings, chunk = {"png_level": level}, grey("uint8")
        data = cloudvolume.encode(chunk, "png", compression_params={"level": level})
        yield Golden(
            f"png_uint8_1_level{level}_cloudvolume.png", "png", chunk, "grey", data, "pyspng-seunglab", settings
        )
        for dtype, channels in itertools.product(("uint8", "uint16"), (1, 2, 3, 4)):
            chunk = grey(dtype, channels)
            data = imagecodecs.png_encode(picture(chunk), level=level)
            name = f"png_{dtype}_{channels}_level{level}_imagecodecs.png"
            yield Golden(name, "png", chunk, "grey", data, "imagecodecs", settings)


def jxl() -> Iterator[Golden]:
    chunk = grey("uint8")
    for quality, effort, speed in ((100, 1, 0), (100, 5, 4), (85, 5, 0), (40, 7, 2)):
        settings = {"jxl_quality": quality, "jxl_effort": effort, "jxl_decodingspeed": speed}
        how = {"level": quality, **{name: value for name, value in settings.items() if name != "jxl_quality"}}
        data, name = cloudvolume.encode(chunk, "jxl", compression_params=how), f"jxl_1_{quality}_{effort}_{speed}"
        yield _jxl(f"{name}_cloudvolume.jxl", chunk, data, settings)
    for channels, quality in ((3, 100), (3, 85), (4, 100)):
        chunk, settings = grey("uint8", channels), {"jxl_quality": quality}
        how = {"lossless": True} if quality == 100 else {"level": quality}
        yield _jxl(
            f"jxl_{channels}_{quality}_imagecodecs.jxl",
            chunk,
            imagecodecs.jpegxl_encode(picture(chunk), **how),
            settings,
        )
    for name, width in (("jxl_3_100_cloudvolume.jxl", SHAPE[0]), ("jxl_3_100_narrow_cloudvolume.jxl", 4)):
        chunk, settings = grey("uint8", 3)[:width], {"jxl_quality": 100}
        how = {"level": 100, "jxl_effort": 5, "jxl_decodingspeed": 0}
        data, content = cloudvolume.encode(chunk, "jxl", compression_params=how), f"grey{width}" if width == 4 else "grey"
        yield Golden(name, "jxl", chunk, content, data, "imagecodecs", settings)


def _jxl(name: str, chunk: np.ndarray, data: bytes, settings: dict[str, Any]) -> Golden:
    if settings["jxl_quality"] == 100:
        return Golden(name, "jxl", chunk, "grey", data, "imagecodecs", settings)
    back = lambda data: voxels(imagecodecs.jpegxl_decode(data), SHAPE)
    return Golden(name, "jxl", chunk, "", data, "imagecodecs", settings, back, 2)


def cseg() -> Iterator[Golden]:
    for dtype, block in itertools.product(("uint32", "uint64"), ((1, 1, 1), (4, 4, 4), (16, 8, 2), (64, 64, 64))):
        chunk = labels(dtype)
        data = bytes(compressed_segmentation.compress(chunk, block_size=block, order="F"))
        settings = {"compressed_segmentation_block_size": block}
        name = f"cseg_{dtype}_1_{'x'.join(map(str, block))}_cloudvolume.cseg"
        yield Golden(name, "compressed_segmentation", chunk, "labels", data, "compressed_segmentation", settings)


def compresso_() -> Iterator[Golden]:
    ways = [((8, 8, 1), 4, True), ((4, 4, 1), 4, False), ((2, 2, 2), 6, True), ((3, 5, 2), 6, False)]
    for dtype, (steps, connectivity, index) in itertools.product(UNSIGNED, ways):
        chunk = labels(dtype)
        data = compresso.compress(chunk[..., 0], steps=steps, connectivity=connectivity, random_access_z_index=index)
        name = f"compresso_{dtype}_{'x'.join(map(str, steps))}_{connectivity}{'_index' * index}.cpso"
        yield Golden(name, "compresso", chunk, "labels", data, "compresso")


def crackle_() -> Iterator[Golden]:
    for dtype, order, pins in itertools.product(UNSIGNED, (0, 3), (0, 1, 2)):
        chunk = labels(dtype)
        data = crackle.compress(chunk[..., 0], markov_model_order=order, allow_pins=pins, parallel=1)
        yield Golden(f"crackle_{dtype}_order{order}_pins{pins}.ckl", "crackle", chunk, "labels", data, "crackle-codec")
    chunk = np.asfortranarray(np.random.default_rng(0).integers(0, 1 << 40, (*SHAPE, 1), np.uint64))
    data = crackle.compress(chunk[..., 0], parallel=1)
    yield Golden("crackle_uint64_crowded.ckl", "crackle", chunk, "crowded", data, "crackle-codec")


def fpzip_() -> Iterator[Golden]:
    for dtype, channels in itertools.product(REAL, (1, 3)):
        chunk = real(dtype, channels)
        for precision in (0, 16, 24, 32):
            name, settings = f"fpzip_{dtype}_{channels}_{precision}.fpz", {"fpzip_precision": precision}
            data = fpzip.compress(chunk, order="F", precision=precision)
            back = (lambda data: fpzip.decompress(data, order="F")) if precision else None
            yield Golden(name, "fpzip", chunk, "real", data, "fpzip", settings, back)


def kempressed() -> Iterator[Golden]:
    for channels in (1, 3):
        chunk = real("float32", channels)
        data = cloudvolume.encode(chunk, "kempressed")
        name, back = f"kempressed_{channels}_cloudvolume.fpz", lambda data: cloudvolume.decode(data, "kempressed")
        yield Golden(name, "kempressed", chunk, "", data, "cloud-volume", back=back)


def zfpc_() -> Iterator[Golden]:
    ways: tuple[dict[str, Any], ...] = ({}, {"rate": 12}, {"precision": 16}, {"tolerance": 0.01})
    cuts = ((True, True, True, True), (True, True, True, False), (True, True, False, False), (False, True, False, True))
    for dtype, channels, correlated in itertools.product(("int32", "int64", *REAL), (1, 3), cuts):
        chunk = real(dtype, channels) if dtype in REAL else grey(dtype, channels)
        for way in ways:
            if (way and correlated != cuts[1]) or (dtype not in REAL and "tolerance" in way):
                continue
            settings = {f"zfpc_{name}": value for name, value in way.items()} | {"zfpc_correlated_dims": correlated}
            with warnings.catch_warnings(action="ignore"):
                data = zfpc.compress(chunk, correlated_dims=list(correlated), **way)
            how = "".join(f"_{name}{value}" for name, value in way.items())
            name = f"zfpc_{dtype}_{channels}_{''.join('01'[on] for on in correlated)}{how}.zfpc"
            content = "real" if dtype in REAL else "grey"
            yield Golden(name, "zfpc", chunk, content, data, "zfpc", settings, _read_zfpc if way else None)


def _read_zfpc(data: bytes) -> np.ndarray:
    """Return what zfpy makes of the streams; `zfpc.decompress` makes float32 of everything."""
    header = zfpc.ZfpcHeader.frombytes(data)
    streams = map(zfpy.decompress_numpy, zfpc.disassemble_container(header, data))
    shape = [header.nx, header.ny, header.nz, header.nw]
    parts = list(zip(zfpc.compute_slices(header), streams, strict=True))
    chunk = np.zeros([n for n in shape if n], parts[0][1].dtype)
    for part, stream in parts:
        chunk[part] = stream
    return chunk


ALL = (raw, npz, npz_uint8, jpeg, png, jxl, cseg, compresso_, crackle_, fpzip_, kempressed, zfpc_)


def write(golden: Golden) -> dict[str, Any]:
    """Write the files of one chunk, and return its row of the manifest."""
    chunk, lossy = golden.chunk, golden.back is not None
    if lossy:
        chunk = np.asfortranarray(golden.back(golden.data).reshape(chunk.shape)).astype(chunk.dtype)
    shared = f"{golden.content}_{chunk.dtype}_{chunk.shape[3]}.npy"
    expected = Path(golden.name).stem + ".npy" if lossy else shared
    if not (FOLDER / expected).exists():
        np.save(FOLDER / expected, chunk)
    np.testing.assert_array_equal(np.load(FOLDER / expected), chunk)
    (FOLDER / golden.name).write_bytes(golden.data)
    writer = f"{golden.package} {version(golden.package)}"
    if golden.package != "cloud-volume" and golden.name.rpartition(".")[0].endswith("cloudvolume"):
        writer += f" (of cloud-volume {version('cloud-volume')})"
    row = {
        "file": golden.name,
        "codec": golden.codec,
        "settings": golden.settings,
        "shape": chunk.shape,
        "dtype": chunk.dtype.name,
        "expected": expected,
        "writer": writer,
        "tolerance": golden.tolerance,
    }
    return row | ({"expected_by": "the writer's reader"} if lossy else {})


def main() -> None:
    """Write what is missing."""
    manifest = FOLDER / "manifest.json"
    found = json.loads(manifest.read_text())
    have = {row["file"] for row in found["chunks"]}
    new = [write(golden) for make in ALL for golden in make() if golden.name not in have]
    found["chunks"] += new
    manifest.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(new)} chunks written")


if __name__ == "__main__":
    main()
