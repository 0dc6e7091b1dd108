"""Bytes that other programs wrote decode to the voxels they meant, for ever; manifest.json tells who wrote what."""

import json
from pathlib import Path

import numpy as np
import pytest

from volumekit.codecs import CODECS, get_codec
from volumekit.codecs.compression import SUFFIXES, decompress
from volumekit.model.level import CodecSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "codecs"
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())


@pytest.mark.parametrize("row", MANIFEST["chunks"], ids=lambda row: row["file"])
def test_chunks(row):
    codec = get_codec(CodecSpec(row["codec"], row["settings"]))
    expected = np.load(GOLDEN / row["expected"])
    chunk = codec.decode((GOLDEN / row["file"]).read_bytes(), tuple(row["shape"]), np.dtype(row["dtype"]))
    assert chunk.shape == expected.shape
    assert chunk.dtype == expected.dtype
    # Other builds of libjpeg may round differently, by a grey level or two.
    np.testing.assert_allclose(chunk.astype("f8"), expected.astype("f8"), rtol=0, atol=row["tolerance"])
    if not row["tolerance"]:
        np.testing.assert_array_equal(chunk, expected)


@pytest.mark.parametrize("row", MANIFEST["objects"], ids=lambda row: row["file"])
def test_objects(row):
    plain = (GOLDEN / row["expected"]).read_bytes()
    assert decompress((GOLDEN / row["file"]).read_bytes(), row["method"], limit=len(plain)) == plain


@pytest.mark.parametrize(
    "row", [row for row in MANIFEST["chunks"] if row["file"].startswith("cseg")], ids=lambda row: row["file"]
)
def test_our_labels_have_the_same_bytes(row):
    codec = get_codec(CodecSpec(row["codec"], row["settings"]))
    assert codec.encode(np.load(GOLDEN / row["expected"])) == (GOLDEN / row["file"]).read_bytes()


def test_everything_is_in_the_manifest():
    rows = MANIFEST["chunks"] + MANIFEST["objects"]
    named = {row[member] for row in rows for member in ("file", "expected")}
    assert named == {path.name for path in GOLDEN.iterdir()} - {"manifest.json"}
    assert {row["codec"] for row in MANIFEST["chunks"]} == set(CODECS)
    assert {row["method"] for row in MANIFEST["objects"]} == set(SUFFIXES)
