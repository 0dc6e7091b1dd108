"""Damaged metadata and chunks of zarr: a sample of benchmarks/campaigns/zarr_mutations.py, and what it found."""

import json

import numcodecs
import numpy as np
import pytest
import zarr

from benchmarks.campaigns import zarr_mutations
from benchmarks.campaigns.mutants import supervise
from volumekit import Volume
from volumekit.errors import CorruptChunkError, MetadataError, UnsupportedError, VolumekitError

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")


NAMES = [subject.name for subject in zarr_mutations.subjects()]


def test_a_sample_of_the_campaign():
    results = supervise(zarr_mutations.__name__, [NAMES], count=10, seed=5)
    for name, result in results.items():
        assert result.failures == [], name
        assert result.tried == 10
        assert result.outcomes["refused"] + result.outcomes["in part"] > 0, name
    assert sum(result.outcomes["compared"] for result in results.values()) > 5


def test_the_campaign_notices(monkeypatch):
    """Other errors, errors that do not say where, and other voxels are failures; nothing is stored outside."""
    bench = zarr_mutations.Bench
    compare = bench._compare

    def raises(error):
        def work(self, volume):
            raise error

        return work

    def outside(self, volume):
        (self.around / "x").write_text("")

    for what, work, told in (
        ("_report", raises(ZeroDivisionError()), None),
        ("_write", raises(MetadataError("x")), "does not say where"),
        ("_compare", lambda self, found, volume: compare(self, found + 1, volume), "than zarr-python"),
        ("_mips", outside, "stored outside"),
    ):
        with monkeypatch.context() as patch, zarr_mutations.subjects()[0].ready() as attempt:
            assert attempt(None) == "compared"
            patch.setattr(bench, what, work)
            with pytest.raises((ZeroDivisionError, AssertionError), match=told):
                attempt(None)


@pytest.fixture
def array(tmp_path):
    array = zarr.create_array(
        tmp_path, shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u2", zarr_format=2, compressors=numcodecs.LZ4(),
        fill_value=0,
    )  # fmt: skip
    array[...] = 7
    return tmp_path


def change(path, **changes):
    metadata = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps({**metadata, **changes}))


@pytest.mark.parametrize("number", [10**400, -(10**400), 1e308, 2**63, 0.5], ids=lambda n: f"{str(n)[:6]}")
@pytest.mark.parametrize("name", ["shape", "chunks"])
def test_numbers_beyond_any_array(array, name, number):
    change(array, **{name: [8, 8, number]})
    with pytest.raises(MetadataError, match=name) as caught:
        Volume(array)
    assert caught.value.key == ".zarray"


@pytest.mark.parametrize(
    "compressor",
    [{"id": "lz4", "acceleration": "x"}, {"id": "zlib", "level": {}}, {"id": "bz2", "level": 99}],
    ids=str,
)
def test_settings_that_nothing_can_be_encoded_with(array, compressor):
    change(array, compressor=compressor)
    volume = Volume(array)
    (array / "0.0.0").unlink()
    with pytest.raises(MetadataError, match=r"\.zarray") as caught:
        volume[:4, :4, :4] = 3
    assert str(array) in caught.value.url
    assert not (array / "0.0.0").exists()


@pytest.mark.parametrize("level", [10**400, "x", -7, [5], None], ids=lambda n: str(n)[:6])
def test_settings_that_tensorstore_does_not_take(array, level):
    change(array, compressor={"id": "blosc", "cname": "lz4", "clevel": level, "shuffle": 1, "blocksize": 0})
    with pytest.raises(MetadataError, match=r"\.zarray") as caught:
        Volume(array)[...]
    assert str(array) in caught.value.url
    assert caught.value.key == ".zarray"


@pytest.mark.parametrize("codec", ["pickle", "msgpack2", "vlen-utf8", "json2", "base64", "nonsense"])
@pytest.mark.parametrize("place", ["compressor", "filters"])
def test_unknown_codecs_are_named_and_never_run(array, codec, place):
    change(array, **{place: {"id": codec} if place == "compressor" else [{"id": codec}]})
    with pytest.raises(UnsupportedError, match=f"'{codec}'") as caught:
        Volume(array)[...]
    assert str(array) in caught.value.url


def test_chunks_of_another_codec_are_never_zeros(tmp_path):
    codecs = {"zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc(), "zlib": numcodecs.Zlib(), "lz4": numcodecs.LZ4(),
              "bz2": numcodecs.BZ2(), "gzip": numcodecs.GZip(), "lzma": numcodecs.LZMA()}  # fmt: skip
    data = np.arange(512, dtype="u2").reshape(8, 8, 8)
    for stored, codec in codecs.items():
        path = tmp_path / stored
        zarr.create_array(path, shape=data.shape, chunks=data.shape, dtype="u2", zarr_format=2, compressors=codec)[
            ...
        ] = data
        for told, other in codecs.items():
            if told != stored:
                change(path, compressor=other.get_config())
                with pytest.raises(CorruptChunkError, match=r"0\.0\.0"):
                    Volume(path)[...]


def test_every_error_of_a_level_says_where(tmp_path):
    zarr.create_array(tmp_path, shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u2")[...] = 1
    good = json.loads((tmp_path / "zarr.json").read_text())
    impossible = [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": "x"}}]
    unknown = [{"name": "nonsense"}, {"name": "bytes"}], [{"name": "bytes"}, {"name": "numcodecs.x"}]
    for codecs in (None, "x", [], impossible, *unknown):
        (tmp_path / "zarr.json").write_text(json.dumps({**good, "codecs": codecs}))
        with pytest.raises(VolumekitError, match=r"zarr\.json") as caught:
            Volume(tmp_path)[...]
        assert str(tmp_path) in caught.value.url
        assert caught.value.key is not None
