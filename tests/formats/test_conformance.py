"""Precomputed passes the kit with every encoding, plain and gzipped; TensorStore's own writer makes the references."""

from typing import ClassVar

import tensorstore as ts

import tests.storage.plainfs  # noqa: F401 - makes plain:// known
from volumekit.formats.precomputed import Precomputed, create_info
from volumekit.testing.formats import FormatConformance


class PrecomputedConformance(FormatConformance):
    encoding = "raw"
    settings: ClassVar = {}
    members: ClassVar = {}
    offsets = ((0, 0, 0), (5, 1, 1 << 33), (-9, 7, -1000))
    native = True
    compressions = (None, "gzip")

    def create(self, layout):
        info = create_info(
            layout.channels,
            "segmentation" if self.encoding == "compressed_segmentation" else "image",
            layout.dtype,
            self.encoding,
            (4, 4, 40),
            layout.offset,
            layout.shape,
            chunk_size=layout.chunk,
            max_mip=1,
            **self.settings,
        )
        return Precomputed(info)

    def reference(self, layout, voxels):
        scale = {
            "key": "4_4_40",
            "size": layout.shape,
            "voxel_offset": layout.offset,
            "resolution": (4, 4, 40),
            "chunk_size": layout.chunk,
            "encoding": self.encoding,
            **self.settings,
            **self.members,
        }
        if self.encoding == "compressed_segmentation":
            scale["compressed_segmentation_block_size"] = (8, 8, 8)
        volume = {"type": "image", "data_type": layout.dtype, "num_channels": layout.channels}
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": "memory://",
            "multiscale_metadata": volume,
            "scale_metadata": scale,
        }
        place = ts.Context()
        ts.open(spec, create=True, context=place).result().write(voxels).result()
        files = ts.KvStore.open("memory://", context=place).result()
        return {key.decode(): files.read(key).result().value for key in files.list().result()}


class TestRaw(PrecomputedConformance):
    dtypes = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "uint64")
    channels = (1, 3)


class TestPng(PrecomputedConformance):
    encoding = "png"
    dtypes = ("uint8", "uint16")
    channels = (1, 2, 3, 4)
    exact = False


class TestJpeg(PrecomputedConformance):
    encoding = "jpeg"
    settings: ClassVar = {"jpeg_quality": 95}
    channels = (1, 3)
    lossless = exact = False
    tolerance = 4.0

    def is_native(self, level):
        return level.channels == 1  # TensorStore would store colours at half the resolution


class TestCompressedSegmentation(PrecomputedConformance):
    encoding = "compressed_segmentation"
    dtypes = ("uint32", "uint64")
    channels = (1, 2)
    exact = False


class TestRawInEveryCompression(PrecomputedConformance):
    dtypes = ("uint16",)
    offsets = ((-9, 7, -1000),)
    protocols = ("file",)
    compressions = ("br", "zstd", "xz", "bz2")


class TestRawOverFsspec(PrecomputedConformance):
    """Through Python alone: TensorStore has no way to these bytes."""

    dtypes = ("uint16",)
    offsets = ((-9, 7, -1000),)
    protocols = ("local", "plain")
