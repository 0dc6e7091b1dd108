import bz2
import contextlib
import gc
import gzip
import lzma
import tracemalloc
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest

from volumekit.codecs import compression
from volumekit.codecs.compression import SUFFIXES, compress, decompress
from volumekit.errors import CorruptChunkError, OptionError

METHODS = tuple(SUFFIXES)
ONE_AFTER_ANOTHER = ("gzip", "zstd", "xz", "bz2")
DATA = np.random.default_rng(0).integers(0, 60, 30_000, "u2").tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [b"", b"x", bytes(100_000), DATA, DATA * 10], ids=len)
def test_round_trip(method, data):
    packed = compress(data, method)
    assert type(packed) is bytes
    for limit in (None, len(data), len(data) + 1, 10 * len(data) + 100):
        restored = decompress(packed, method, limit=limit)
        assert type(restored) is bytes
        assert restored == data


@pytest.mark.parametrize("method", METHODS)
def test_levels(method):
    sizes = [len(compress(DATA, method, level)) for level in (1, 9)]
    assert sizes[1] <= sizes[0] < len(DATA)
    for level in (-1, 23, 2.0, "3", True):
        with pytest.raises(OptionError, match="levels"):
            compress(DATA, method, level)


def test_unknown_methods():
    for call in (compress, decompress):
        with pytest.raises(OptionError, match=r"lzw.*gzip"):
            call(DATA, "lzw")


def test_the_standard_library_reads_what_we_write():
    for method, reader in (("gzip", gzip), ("xz", lzma), ("bz2", bz2)):
        assert reader.decompress(compress(DATA, method)) == DATA
        assert decompress(reader.compress(DATA), method, limit=len(DATA)) == DATA


@pytest.mark.parametrize("method", METHODS)
def test_every_truncation_is_an_error(method):
    packed = compress(DATA[:3000], method)
    for end in range(len(packed)):
        for limit in (None, 3000, 10_000):
            with pytest.raises(CorruptChunkError):
                decompress(packed[:end], method, limit=limit)


@pytest.mark.parametrize("method", METHODS)
def test_garbage_is_an_error(method):
    for data in (b"\0", b"garbage" * 100, DATA):
        with pytest.raises(CorruptChunkError):
            decompress(data, method)


@pytest.mark.parametrize("method", ["gzip", "xz", "bz2"])
def test_changed_bytes_are_noticed(method):
    """These have checksums. A few bytes, as of gzip's header, do not matter; but other data never come out."""
    packed, random = compress(DATA, method), np.random.default_rng(1)
    refused = 0
    for at in random.integers(0, len(packed), 300):
        damaged = packed[:at] + bytes([packed[at] ^ (1 << int(random.integers(8)))]) + packed[at + 1 :]
        try:
            assert decompress(damaged, method, limit=len(DATA)) == DATA
        except CorruptChunkError:
            refused += 1
    assert refused > 290


@pytest.mark.parametrize("method", ["br", "zstd"])
def test_changed_bytes_never_break_the_limit(method):
    packed, random = compress(DATA, method), np.random.default_rng(1)
    for at in random.integers(0, len(packed), 300):
        damaged = packed[:at] + bytes([packed[at] ^ (1 << int(random.integers(8)))]) + packed[at + 1 :]
        with contextlib.suppress(CorruptChunkError):
            assert len(decompress(damaged, method, limit=len(DATA))) <= len(DATA)


@pytest.mark.parametrize("method", METHODS)
def test_bombs_stop_at_the_limit(method):
    bomb = compress(bytes(1 << 25), method, 1)
    tracemalloc.start()
    for limit in (0, 1, 1000, (1 << 25) - 1):
        with pytest.raises(CorruptChunkError, match=str(limit)):
            decompress(bomb, method, limit=limit)
        if limit == 1000:
            assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_bombs_of_many_members_stop_at_the_limit():
    for method in ONE_AFTER_ANOTHER:
        with pytest.raises(CorruptChunkError, match="100"):
            decompress(compress(bytes(60), method) * 1000, method, limit=100)


@pytest.mark.parametrize("method", ONE_AFTER_ANOTHER)
def test_streams_one_after_another(method):
    parts = [DATA, b"tail", DATA[:5000], b"tail", b""]
    assert decompress(b"".join(compress(part, method) for part in parts), method) == b"".join(parts)


@pytest.mark.parametrize("method", ONE_AFTER_ANOTHER)
@pytest.mark.timeout(20)
def test_very_many_empty_streams_take_no_square_time(method):
    packed = compress(b"", method)
    assert decompress(packed * (3_000_000 // len(packed)), method, limit=1) == b""


def test_equal_gzip_members_are_not_taken_for_one():
    member = compress(DATA, "gzip")
    assert decompress(member * 2, "gzip") == DATA * 2
    assert decompress(gzip.compress(DATA) * 3, "gzip", limit=3 * len(DATA)) == DATA * 3


@pytest.mark.parametrize("method", ["gzip", "xz", "bz2", "zstd"])
def test_garbage_behind_the_end_is_an_error(method):
    for tail in (b"garbage", b"\x1f\x8b\x08garbage"):
        with pytest.raises(CorruptChunkError):
            decompress(compress(DATA, method) + tail, method, limit=2 * len(DATA))


@pytest.mark.parametrize("method", ["gzip", "xz", "bz2"])
def test_zeros_behind_the_end_are_padding(method):
    assert decompress(compress(DATA, method) + bytes(512), method) == DATA


def test_a_gzip_file_that_lies_about_its_size():
    packed = compress(DATA, "gzip")
    for size in (0, 1, len(DATA) - 1, len(DATA) + 1, 1 << 31, (1 << 32) - 1):
        with pytest.raises(CorruptChunkError):
            decompress(packed[:-4] + size.to_bytes(4, "little"), "gzip")


def test_the_magic_number_inside_a_member():
    packed = gzip.compress(b"\x1f\x8b\x08" + DATA[:100], compresslevel=0)
    assert packed.count(b"\x1f\x8b\x08") == 2
    assert decompress(packed, "gzip") == b"\x1f\x8b\x08" + DATA[:100]


@pytest.mark.parametrize("zeros", [1, 3, 4, 100])
def test_zeros_between_equal_gzip_members_are_not_skipped_with_the_rest(zeros):
    member = compress(DATA, "gzip")
    with pytest.raises(CorruptChunkError):
        decompress(member + bytes(zeros) + member, "gzip", limit=2 * len(DATA))


def test_a_magic_number_that_follows_no_member_does_not_keep_libdeflate_away(monkeypatch):
    monkeypatch.setattr(zlib, "decompressobj", lambda **_: pytest.fail("zlib"))
    for content in (b"\x1f\x8b\x08" + DATA[:100], b"\x1f\x8b\x1f\x8b\x08" * 12, DATA[:99] + b"\x1f\x8b\x08"):
        assert decompress(gzip.compress(content, compresslevel=0), "gzip") == content


@pytest.mark.timeout(20)
def test_very_many_magic_numbers_take_no_square_time():
    content = b"\x1f\x8b" * 3_000_000
    assert decompress(gzip.compress(content, compresslevel=0), "gzip") == content


def test_single_members_go_through_libdeflate(monkeypatch):
    packed = compress(DATA, "gzip")
    monkeypatch.setattr(zlib, "decompressobj", lambda **_: pytest.fail("zlib"))
    assert decompress(packed, "gzip") == DATA
    monkeypatch.setattr(imagecodecs, "gzip_decode", lambda *_, **__: pytest.fail("libdeflate"))
    with pytest.raises(pytest.fail.Exception, match="zlib"):
        decompress(packed * 2, "gzip")


def test_zstd_frames_without_a_size():
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + (len(b"abc") << 3 | 1).to_bytes(3, "little") + b"abc"
    assert decompress(frame, "zstd") == b"abc"
    assert decompress(frame, "zstd", limit=3) == b"abc"
    with pytest.raises(CorruptChunkError):
        decompress(frame, "zstd", limit=2)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 300_000])
def test_zstd_takes_no_more_memory_than_the_frame_says(monkeypatch, size):
    data, asked, decode = bytes(size), [], imagecodecs.zstd_decode
    frame = compress(data, "zstd")
    monkeypatch.setattr(imagecodecs, "zstd_decode", lambda data, out=None: asked.append(out) or decode(data, out=out))
    assert decompress(frame, "zstd", limit=1 << 22) == data
    assert asked == [size or 1 << 22]
    assert decompress(frame * 2, "zstd", limit=1 << 22) == data * 2


def test_a_zstd_frame_that_declares_terabytes():
    frame = b"\x28\xb5\x2f\xfd\xe0" + (1 << 45).to_bytes(8, "little") + b"\x01\0\0"
    for limit in (None, 1000):
        with pytest.raises(CorruptChunkError):
            decompress(frame, "zstd", limit=limit)


def test_an_xz_file_that_declares_an_enormous_dictionary():
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(DATA, filters=filters))
    at = packed.index(b"\x21\x01") + 2
    packed[at] = 40  # 4 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    with pytest.raises(CorruptChunkError, match=r"[Mm]emory"):
        decompress(bytes(packed), "xz", limit=len(DATA))


@pytest.mark.parametrize("method", METHODS)
def test_threads(method):
    parts = [DATA[i * 1000 : i * 1000 + 5000] for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        packed = list(pool.map(lambda part: compress(part, method), parts))
        assert list(pool.map(lambda data: decompress(data, method), packed)) == parts


@pytest.mark.parametrize("method", ["gzip", "xz", "bz2"])
def test_an_error_lets_go_of_the_decompressor(monkeypatch, method):
    """Its memory, megabytes, is freed at once, not when garbage is next collected."""
    made, original = [], compression._STREAMS[method]

    class Stream:
        def __init__(self):
            self.stream = original()
            made.append(weakref.ref(self))

        def __getattr__(self, name):
            return getattr(self.stream, name)

    monkeypatch.setitem(compression._STREAMS, method, Stream)
    data = bytearray(compress(bytes(range(256)) * 50, method))
    data[len(data) // 2] ^= 0xFF
    gc.disable()
    try:
        with contextlib.suppress(CorruptChunkError):
            decompress(bytes(data) * 2, method)
        assert made
        assert all(ref() is None for ref in made)
    finally:
        gc.enable()
