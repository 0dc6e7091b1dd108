"""A format that comes with another package has everything the others have."""

import struct
import subprocess
import sys

import numpy as np
import pytest

from volumekit import Bbox, Volume
from volumekit.errors import DatasetNotFoundError, UnknownProtocolError
from volumekit.formats import FORMATS
from volumekit.model.level import C_ORDER
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.formats import FormatConformance

LINES = ("byte -3 4 0 20 9 12 8 4 6 10", "byte -2 2 0 10 5 6 8 4 6 20")


class TestToy(FormatConformance):
    dtypes = ("uint8", "uint16")
    offsets = ((0, 0, 0), (-9, 7, 1 << 33))

    def create(self, layout):
        numbers = (*layout.offset, *layout.shape, *layout.chunk)
        word = {"uint8": "byte", "uint16": "short"}[layout.dtype]
        return FORMATS["toy"]([" ".join(map(str, (word, *numbers, voxel))) for voxel in (8, 16)])

    def reference(self, layout, voxels):
        objects = {"toy.txt": "\n".join(self.create(layout).lines).encode() + b"\n"}
        for x, y, z in np.ndindex(*(-(-n // c) for n, c in zip(layout.shape, layout.chunk, strict=True))):
            a, b, c = layout.chunk
            chunk = voxels[a * x : a * x + a, b * y : b * y + b, c * z : c * z + c]
            values = [int(plane[0]) for column in chunk for row in column for plane in row]
            letter = {"uint8": "B", "uint16": "H"}[layout.dtype]
            objects[f"level0/{x}.{y}.{z}"] = struct.pack(f">{len(values)}{letter}", *values)
        return objects


@pytest.fixture
def url(tmp_path):
    place = tmp_path / "volume"
    open_store(parse_url(place)).commit(FORMATS["toy"](LINES).metadata()).result()
    return str(place)


def test_it_is_found_by_its_name_and_by_its_data(url):
    assert {"toy", "precomputed"} <= set(FORMATS)
    found = [Volume(url), Volume(f"toy://{url}"), Volume(f"{url}|toy:"), Volume(url, format="toy")]
    assert {volume.cloudpath for volume in found} == {f"toy://file://{url}"}


def test_other_data_are_not_taken_for_it(tmp_path):
    Volume.from_numpy(np.ones((4, 4, 4), "u1"), tmp_path / "p", progress=False)
    assert Volume(tmp_path / "p").cloudpath.startswith("precomputed://")
    with pytest.raises(DatasetNotFoundError, match=r"there is no toy\.txt"):
        Volume(tmp_path)


def test_it_slices_like_numpy(url):
    expected = np.arange(20 * 9 * 12).reshape(20, 9, 12, 1).astype("u1")
    volume = Volume(url, non_aligned_writes=True, fill_missing=True, progress=False)
    volume[-3:17, 4:13, 0:12] = expected
    assert volume[...].flags.c_contiguous
    np.testing.assert_array_equal(volume[-1:15:3, 12:4:-1, 7], expected[2:18:3, 8:0:-1, 7])
    assert volume[0, 5, 6] == expected[3, 1, 6]
    volume[-2:4, 5, 3:11:2] = 9
    expected[1:7, 1, 3:11:2] = 9
    np.testing.assert_array_equal(volume[:], expected)
    points = np.array([[0, 4, 0], [16, 12, 11], [-3, 4, 1]])
    np.testing.assert_array_equal(volume.points(points), expected[points[:, 0] + 3, points[:, 1] - 4, points[:, 2]])


def test_it_has_levels_reports_and_deletion(url, tmp_path):
    volume = Volume(url, mip=1, progress=False)
    assert volume.resolution.tolist() == [20, 20, 20]
    assert list(volume.available_mips) == [0, 1]
    assert volume.levels[1].order == C_ORDER
    volume[...] = 5
    assert (volume.exists().num_present, Volume(url).exists().num_present) == (4, 0)
    assert (tmp_path / "volume/level1/0.0.0").stat().st_size == 8 * 4 * 6
    assert (tmp_path / "volume/level1/1.1.0").stat().st_size == 2 * 1 * 6
    volume.delete(Bbox((-2, 2, 0), (6, 6, 6)))
    assert volume.exists().missing == ["level1/0.0.0"]
    assert volume.info["scales"][1]["voxel_offset"] == [-2, 2, 0]


def test_it_is_gone_when_its_package_is(url, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.endswith("package")])
    assert "toy" not in FORMATS
    with pytest.raises(DatasetNotFoundError):
        Volume(url)
    with pytest.raises(UnknownProtocolError):
        Volume(f"toy://{url}")


def test_nothing_is_imported_before_it_is_used(url):
    code = "import sys, volumekit.formats as f; print('toy' in f.FORMATS, 'toy' in sys.modules, f.FORMATS['toy'].name)"
    path = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=False)
    assert run.stdout.split() == ["True", "False", "toy"], run.stderr
