"""Info and provenance: creating, editing, committing, moving."""

import json

import numpy as np
import pytest

from tests.volume.sample import empty, files, make
from volumekit import Volume
from volumekit.errors import (
    DatasetNotFoundError,
    MetadataError,
    OptionError,
    ReadOnlyError,
    ShapeError,
)

LAYOUT = (1, "image", "uint16", "raw", (4, 4, 40), (0, 0, 0), (64, 64, 32))


def info(**changes):
    names = ["num_channels", "layer_type", "data_type", "encoding", "resolution", "voxel_offset", "volume_size"]
    return Volume.create_new_info(**{**dict(zip(names, LAYOUT, strict=True)), **changes})


def test_create_new_info_is_cloudvolumes():
    made = Volume.create_new_info(*LAYOUT, "mesh_dir", True, (32, 32, 16))
    assert made == {
        "@type": "neuroglancer_multiscale_volume",
        "type": "image",
        "data_type": "uint16",
        "num_channels": 1,
        "mesh": "mesh_dir",
        "skeletons": "skeletons",
        "scales": [
            {
                "key": "4_4_40",
                "size": [64, 64, 32],
                "voxel_offset": [0, 0, 0],
                "resolution": [4, 4, 40],
                "chunk_sizes": [[32, 32, 16]],
                "encoding": "raw",
            }
        ],
    }
    assert type(made) is dict
    json.dumps(made)


def test_create_new_info_takes_numpy_and_vec_values():
    made = info(
        num_channels=np.int64(2), resolution=np.array([4, 4, 40]), voxel_offset=np.array([-1, 2, 3]), data_type=np.uint8
    )
    assert made["data_type"] == "uint8"
    assert json.loads(json.dumps(made)) == made


def test_compressed_segmentation_gets_its_block_size():
    made = info(layer_type="segmentation", data_type="uint64", encoding="compressed_segmentation")
    assert made["scales"][0]["compressed_segmentation_block_size"] == [8, 8, 8]
    made = info(data_type="uint64", encoding="compressed_segmentation", compressed_segmentation_block_size=(4, 8, 16))
    assert made["scales"][0]["compressed_segmentation_block_size"] == [4, 8, 16]


def test_further_members():
    made = info(encoding="jpeg", data_type="uint8", jpeg_quality=70)
    assert made["scales"][0]["jpeg_quality"] == 70


@pytest.mark.parametrize(
    "changes",
    [
        {"num_channels": 0},
        {"num_channels": 1.5},
        {"layer_type": "picture"},
        {"data_type": "float64"},
        {"data_type": "no such"},
        {"data_type": None},
        {"resolution": (4, 4)},
        {"resolution": (4, 0, 4)},
        {"resolution": (4, float("nan"), 4)},
        {"volume_size": (0, 1, 1)},
        {"volume_size": (1, 1)},
        {"volume_size": (1, 1, 2**63)},
        {"volume_size": (1.5, 1, 1)},
        {"voxel_offset": (0.5, 0, 0)},
        {"chunk_size": (0, 1, 1)},
        {"chunk_size": (2, 2)},
        {"encoding": "jpeg"},
        {"encoding": "compressed_segmentation"},
        {"max_mip": 1, "factor": (0, 1, 1)},
    ],
    ids=str,
)
def test_impossible_infos(changes):
    with pytest.raises(OptionError):
        info(**changes)


def test_a_new_volume_is_nothing_until_committed(tmp_path):
    volume = Volume(str(tmp_path / "v"), info=info())
    assert not (tmp_path / "v").exists()
    with pytest.raises(DatasetNotFoundError):
        Volume(str(tmp_path / "v"))
    volume.commit_info()
    assert files(tmp_path / "v") == {"info"}
    assert Volume(str(tmp_path / "v")).info == volume.info


def test_the_info_file_looks_as_cloudvolume_writes_it(tmp_path):
    volume = empty(tmp_path / "v")
    text = (tmp_path / "v" / "info").read_text()
    assert text == json.dumps(volume.info, sort_keys=True, indent=2)


def test_the_info_given_is_not_the_volumes_own(tmp_path):
    given = info()
    volume = Volume(str(tmp_path / "v"), info=given)
    volume.add_scale((2, 2, 1))
    assert len(given["scales"]) == 1
    other = Volume(str(tmp_path / "w"), info=volume.info)
    other.reset_scales()
    assert len(volume.scales) == 2
    volume.info = given
    volume.add_scale((2, 2, 1))
    assert len(given["scales"]) == 1


def test_unknown_members_are_kept(tmp_path):
    volume = empty(tmp_path / "v")
    volume.info["my_own"] = {"a": [1, 2]}
    volume.scale["mine"] = "too"
    volume.commit_info()
    again = Volume(volume.cloudpath)
    again.add_scale((2, 2, 1))
    again.commit_info()
    stored = json.loads((tmp_path / "v" / "info").read_text())
    assert (stored["my_own"], stored["scales"][0]["mine"]) == ({"a": [1, 2]}, "too")


def test_numpy_values_in_the_info(tmp_path):
    volume = empty(tmp_path / "v")
    volume.scale["voxel_offset"] = np.array([1, 2, 3])
    volume.scale["resolution"] = [np.float32(4), np.float64(4), np.int64(40)]
    assert volume.voxel_offset.tolist() == [1, 2, 3]
    volume.commit_info()
    assert Volume(volume.cloudpath).info["scales"][0]["voxel_offset"] == [1, 2, 3]


def test_commit_refuses_what_could_not_be_opened(tmp_path):
    volume = empty(tmp_path / "v")
    before = (tmp_path / "v" / "info").read_bytes()
    for member, value in (("size", [0, 1, 1]), ("encoding", 3), ("resolution", [1, 2]), ("voxel_offset", "abc")):
        volume.refresh_info()
        volume.scale[member] = value
        with pytest.raises(OptionError):
            volume.commit_info()
    volume.refresh_info()
    volume.info["note"] = object()
    with pytest.raises((OptionError, TypeError)):
        volume.commit_info()
    assert (tmp_path / "v" / "info").read_bytes() == before


def test_compressed_segmentation_without_its_block_size(tmp_path):
    volume = empty(tmp_path / "v", dtype="uint32", encoding="compressed_segmentation")
    del volume.scale["compressed_segmentation_block_size"]
    with pytest.raises(OptionError, match="block_size"):
        volume.commit_info()


def test_refresh_info_sees_other_writers_and_forgets_edits(tmp_path):
    volume = empty(tmp_path / "v")
    other = Volume(volume.cloudpath)
    other.add_scale((2, 2, 1))
    other.commit_info()
    volume.info["note"] = 1
    assert volume.refresh_info() is volume.info
    assert "note" not in volume.info
    assert len(volume.scales) == 2


def test_refresh_info_after_the_dataset_is_gone(tmp_path):
    volume = empty(tmp_path / "v")
    (tmp_path / "v" / "info").unlink()
    with pytest.raises(DatasetNotFoundError):
        volume.refresh_info()


def test_info_can_be_assigned(tmp_path):
    volume = empty(tmp_path / "v", max_mip=2)
    volume.mip = 2
    volume.info = info(data_type="uint8")
    assert (volume.dtype, volume.mip, volume.shape) == (np.uint8, 0, (64, 64, 32, 1))
    with pytest.raises(MetadataError):
        volume.info = {"data_type": "uint8"}
    assert volume.dtype == np.uint8


def test_copy_info(tmp_path):
    volume = empty(tmp_path / "v")
    volume.copy_info()["scales"].clear()
    assert len(volume.scales) == 1


def test_paths(tmp_path):
    volume = empty(tmp_path / "set" / "layer")
    place = f"precomputed://file://{tmp_path}/set"
    assert volume.cloudpath == volume.layer_cloudpath == f"{place}/layer"
    assert volume.base_cloudpath == place
    assert volume.info_cloudpath == f"{place}/layer/info"
    assert (volume.dataset_name, volume.layer) == ("set", "layer")


def test_moving_to_another_layer_or_dataset(tmp_path):
    for dataset, layer, value in (("a", "x", 1), ("a", "y", 2), ("b", "y", 3)):
        empty(tmp_path / dataset / layer, dtype=["", "uint8", "uint16", "uint32"][value])[:] = value
    volume = Volume(str(tmp_path / "a" / "x"))
    assert (volume[:] == 1).all()
    volume.layer = "y"
    assert (volume.layer, volume.dtype) == ("y", np.uint16)
    assert (volume[:] == 2).all()
    volume.dataset_name = "b"
    assert (volume.dataset_name, volume.layer, volume.dtype) == ("b", "y", np.uint32)
    assert (volume[:] == 3).all()
    assert volume[:].dataset_name == "b"
    with pytest.raises(DatasetNotFoundError):
        volume.layer = "z"
    assert (volume.layer, volume.dataset_name) == ("y", "b")
    assert (volume[:] == 3).all()


def test_redirects(tmp_path):
    target, array = make(tmp_path / "target")
    away = info(redirect=f"precomputed://file://{tmp_path}/target")
    Volume(str(tmp_path / "source"), info=away).commit_info()
    volume = Volume(str(tmp_path / "source"))
    assert volume.cloudpath == target.cloudpath
    np.testing.assert_array_equal(volume[:], array)
    for write in (
        lambda: volume.__setitem__((), 1),
        lambda: volume.delete(()),
        volume.commit_info,
        volume.commit_provenance,
        lambda: volume.__setitem__(([0], [10], [105]), 1),
    ):
        with pytest.raises(ReadOnlyError, match="redirect"):
            write()
    np.testing.assert_array_equal(target[:], array)
    volume.layer = "target"
    volume[:] = 1


def test_layers_may_redirect(tmp_path):
    make(tmp_path / "target")
    away = info(redirect=f"precomputed://file://{tmp_path}/target")
    Volume(str(tmp_path / "source"), info=away).commit_info()
    other = empty(tmp_path / "other")
    other.layer = "source"
    with pytest.raises(ReadOnlyError, match="redirect"):
        other[:] = 1


def test_provenance(tmp_path):
    volume = empty(tmp_path / "v")
    assert volume.provenance == {"sources": [], "owners": [], "processing": [], "description": ""}
    volume.provenance.owners.append("ada@example.org")
    volume.provenance.description = "cells"
    volume.provenance["extra"] = 1
    assert not (tmp_path / "v" / "provenance").exists()
    volume.commit_provenance()
    again = Volume(volume.cloudpath).provenance
    assert (again.owners, again.description, again["extra"]) == (["ada@example.org"], "cells", 1)
    volume.provenance.description = "other"
    assert volume.refresh_provenance().description == "cells"
    volume.provenance = {"description": "assigned"}
    volume.commit_provenance()
    assert Volume(volume.cloudpath).provenance.description == "assigned"
    assert Volume(volume.cloudpath, provenance={"description": "given"}).provenance.description == "given"


def test_bad_provenance(tmp_path):
    volume = empty(tmp_path / "v")
    volume.provenance.owners = ["ada", "ada"]
    with pytest.raises(MetadataError, match="owners"):
        volume.commit_provenance()
    assert not (tmp_path / "v" / "provenance").exists()
    (tmp_path / "v" / "provenance").write_text("{")
    again = Volume(volume.cloudpath)
    with pytest.raises(MetadataError, match="provenance"):
        again.provenance  # noqa: B018
    again.provenance = {}
    again.commit_provenance()
    assert Volume(volume.cloudpath).provenance.owners == []


def test_from_numpy(tmp_path):
    array = np.random.default_rng(1).integers(0, 255, (50, 40, 30), dtype=np.uint8)
    volume = Volume.from_numpy(array, tmp_path / "v", resolution=(4, 4, 40), voxel_offset=(1, 2, 3), max_mip=2)
    np.testing.assert_array_equal(volume[..., 0], array)
    np.testing.assert_array_equal(Volume(tmp_path / "v")[..., 0], array)
    assert volume.voxel_offset.tolist() == [1, 2, 3]
    assert volume.available_mips == range(3)
    assert files(tmp_path / "v") >= {"info", "provenance"}
    mask = Volume.from_numpy(array > 9, tmp_path / "mask", layer_type="segmentation")
    assert (mask.dtype, mask.layer_type) == (np.uint8, "segmentation")


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2,) * 5), np.zeros((2, 2, 2), np.float64), np.zeros((2, 2, 2), "U1")]
)
def test_what_from_numpy_refuses(tmp_path, array):
    with pytest.raises((ShapeError, OptionError)):
        Volume.from_numpy(array, tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_from_numpy_with_an_info(tmp_path):
    array = np.ones((64, 64, 32), np.uint16)
    volume = Volume.from_numpy(array, tmp_path / "v", info=info(chunk_size=(32, 32, 32)))
    assert volume.chunk_size.tolist() == [32, 32, 32]
    assert (Volume(tmp_path / "v")[:] == 1).all()
    with pytest.raises(ShapeError):
        Volume.from_numpy(array[1:], tmp_path / "w", info=info())


def test_equality_and_hash(tmp_path):
    volume = empty(tmp_path / "v")
    assert volume == Volume(f"file://{tmp_path}/v") == Volume(f"precomputed://{tmp_path}/v/")
    assert volume != empty(tmp_path / "w")
    assert volume != volume.cloudpath
    assert len({volume, Volume(volume.cloudpath, bounded=False)}) == 1


def test_repr(tmp_path):
    volume = empty(tmp_path / "v")
    for part in (str(tmp_path), "mip=0", "(37, 30, 19, 1)", "uint16", "raw", "Bbox"):
        assert part in repr(volume)


@pytest.mark.parametrize("layer_type", ["image", "segmentation"])
def test_the_notebook_card(tmp_path, layer_type):
    volume, _ = make(tmp_path / "a<b", layer_type=layer_type, max_mip=1)
    volume.mip = 1
    card = volume._repr_html_()
    for part in ("a&lt;b", "<img", "4_4_40", "<b>1</b>", "uint16", "raw", "37 × 30 × 19"):
        assert part in card
    assert "a<b" not in card


def test_the_card_of_a_volume_that_cannot_be_read(tmp_path):
    volume, _ = make(tmp_path / "v", max_mip=1)
    (tmp_path / "v" / "4_4_40" / "-5-11_7-23_108-116").write_bytes(b"damaged")
    for encoding in ("raw", "no such", "jpeg"):
        for scale in volume.scales:
            scale["encoding"] = encoding
        volume.scales[1]["size"] = [0, 0, 0]
        if encoding != "jpeg":
            assert "<img" not in volume._repr_html_()
    assert "key: info" not in repr(Volume(volume.cloudpath))
