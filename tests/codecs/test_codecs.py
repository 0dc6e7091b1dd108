import subprocess
import sys

import pytest

from volumekit.codecs import CODECS, get_codec
from volumekit.codecs.base import Codec
from volumekit.codecs.png import Png
from volumekit.errors import MetadataError, UnsupportedError
from volumekit.model.level import CodecSpec


def test_every_row_is_a_codec_of_that_name():
    for name in CODECS:
        assert issubclass(CODECS[name], Codec)
        assert CODECS[name].name == name


def test_a_codec_gets_its_settings_and_is_kept():
    spec = CodecSpec("png", {"png_level": 2, "jpeg_quality": 50})
    assert get_codec(spec) == Png(png_level=2)
    assert get_codec(CodecSpec("png", {"png_level": 2, "jpeg_quality": 50})) is get_codec(spec)
    assert get_codec(CodecSpec("png", {"png_level": 3})) == Png(png_level=3)


def test_an_unknown_name_tells_what_can_be_read():
    with pytest.raises(UnsupportedError, match=r"'jpeg3000'.*compressed_segmentation, .*png, .*raw"):
        get_codec(CodecSpec("jpeg3000"))


def test_impossible_settings_are_metadata_errors():
    with pytest.raises(MetadataError, match="png_level"):
        get_codec(CodecSpec("png", {"png_level": 99}))


def test_only_what_is_used_is_imported():
    code = (
        "import sys; from volumekit.codecs import get_codec; from volumekit.model.level import CodecSpec\n"
        "get_codec(CodecSpec('raw')), get_codec(CodecSpec('png')), get_codec(CodecSpec('jpeg'))\n"
        "get_codec(CodecSpec('compressed_segmentation', {'compressed_segmentation_block_size': [8, 8, 8]}))\n"
        "print([name for name in ('numba', 'imagecodecs', 'PIL', 'tensorstore') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
