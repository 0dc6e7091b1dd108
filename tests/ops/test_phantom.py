from __future__ import annotations

import errno

import numpy as np
import pytest
import tifffile

from volumekit.errors import NoSpaceError, OptionError, ReadOnlyError, StorageError
from volumekit.ops.phantom import Phantom, cells, write_stack
from volumekit.ops.phantom_tissue import Tissue, _Field


@pytest.fixture(scope="module")
def tissue() -> Phantom:
    return cells((160, 144, 24), seed=1)


def at_borders(labels: np.ndarray) -> np.ndarray:
    """Voxels of a cell whose neighbour along x or y belongs to another cell."""
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        a, b = labels[tuple(low)], labels[tuple(high)]
        border[tuple(low)] |= (a != b) & (a > 0) & (b > 0)
    return border


def test_types_shapes_and_order(tissue: Phantom) -> None:
    assert tissue.image.shape == tissue.labels.shape == (160, 144, 24)
    assert (tissue.image.dtype, tissue.labels.dtype) == (np.uint8, np.uint32)
    assert tissue.image.flags.f_contiguous
    assert tissue.labels.flags.f_contiguous
    assert tissue.resolution == (4.0, 4.0, 40.0)


def test_same_seed_same_tissue_other_seed_other_tissue() -> None:
    first, again, other = (cells((40, 40, 3), seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.image != other.image).mean() > 0.5
    assert (first.labels != other.labels).mean() > 0.5


def test_membranes_are_dark_exactly_where_labels_change(tissue: Phantom) -> None:
    border = at_borders(tissue.labels)
    inside = (tissue.labels > 0) & ~border
    assert tissue.image[border].mean() < tissue.image[inside].mean() - 40
    shifted = np.roll(border, 12, axis=0)
    assert tissue.image[shifted].mean() > tissue.image[border].mean() + 30


def test_labels_are_not_mirrored_or_swapped_against_the_image() -> None:
    square = cells((128, 128, 6), seed=2)
    right = square.image[at_borders(square.labels)].mean()
    for wrong in (square.labels.swapaxes(0, 1), square.labels[::-1], square.labels[:, :, ::-1]):
        assert square.image[at_borders(wrong)].mean() > right + 25


def test_gaps_between_cells_are_bright_and_few(tissue: Phantom) -> None:
    gap = tissue.labels == 0
    assert 0.001 < gap.mean() < 0.1
    assert tissue.image[gap].mean() > tissue.image[~gap].mean() + 20


def test_many_cells_of_varied_size(tissue: Phantom) -> None:
    ids, sizes = np.unique(tissue.labels[tissue.labels > 0], return_counts=True)
    assert len(ids) > 40
    assert np.percentile(sizes, 90) > 5 * np.percentile(sizes, 30)


def test_neighbouring_sections_resemble_each_other(tissue: Phantom) -> None:
    same = [(tissue.labels[:, :, 0] == tissue.labels[:, :, z]).mean() for z in (1, 20)]
    assert same[0] > 0.5
    assert same[1] < 0.3


def test_displacement_bends_membranes_but_hardly_folds_space() -> None:
    tissue = Tissue((200, 200, 24), (4, 4, 40), 180, 0)
    at = np.stack([tissue._displaced(z)[0] for z in range(24)], -1)
    straight = np.indices((200, 200, 24)) * np.array([4, 4, 40])[:, None, None, None]
    assert 0.08 * 180 < (at - straight).std() < 0.2 * 180
    assert (np.diff(at[0], axis=0) > 0).mean() > 0.99
    assert (np.diff(at[1], axis=1) > 0).mean() > 0.99


def test_field_has_unit_variance_and_is_smooth() -> None:
    field = _Field(np.random.default_rng(0), (200, 200, 40), (4, 4, 40), 160.0, 2)
    stack = np.stack([field.section(z) for z in range(40)], -1)
    assert stack.shape == (2, 200, 200, 40)
    assert 0.85 < stack.std() < 1.15
    assert np.abs(np.diff(stack, axis=1)).max() < 0.3
    assert 0.1 < np.abs(np.diff(stack, axis=3)).mean() < 0.7


@pytest.mark.parametrize(
    ("shape", "resolution"),
    [
        ((1, 1, 1), (4, 4, 40)),
        ((1, 90, 2), (4, 4, 40)),
        ((33, 17, 3), (8, 8, 8)),
        ((9, 8, 2), (1e-3, 1e9, 1)),
    ],
)
def test_odd_shapes_and_voxels(shape: tuple[int, int, int], resolution: tuple[float, float, float]) -> None:
    made = cells(shape, resolution=resolution)
    assert made.image.shape == made.labels.shape == shape
    assert made.image.max() > 0


def test_diameter_sets_the_size_of_cells() -> None:
    few, many = (len(np.unique(cells((96, 96, 4), diameter=d).labels)) for d in (800, 120))
    assert many > 4 * few


@pytest.mark.parametrize(
    "shape", [(0, 4, 4), (-1, 4, 4), (4, 4), (2.5, 4, 4), "abc", None, (2**14, 1, 1), (4096, 4096, 2**20)]
)
def test_impossible_shapes(shape: object) -> None:
    with pytest.raises(OptionError, match="shape"):
        cells(shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("resolution", [(4, 4), (0, 4, 4), (4, 4, -1), (4, 4, np.nan), (4, 4, np.inf), ("a", 4, 4)])
def test_impossible_resolutions(resolution: object) -> None:
    with pytest.raises(OptionError, match="resolution"):
        cells((4, 4, 4), resolution=resolution)  # type: ignore[arg-type]


@pytest.mark.parametrize("diameter", [0, -5, 100, np.nan, np.inf])
def test_impossible_diameters(diameter: float) -> None:
    with pytest.raises(OptionError, match="diameter"):
        cells((4, 4, 4), diameter=diameter)


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_impossible_seeds(seed: object) -> None:
    with pytest.raises(OptionError, match="seed"):
        cells((4, 4, 4), seed=seed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small() -> Phantom:
    return cells((40, 30, 11), seed=3)


def test_stack_on_disk_equals_the_phantom(tmp_path, small: Phantom) -> None:
    image, labels = write_stack(small, tmp_path / "new" / "stack")
    assert sorted(path.name for path in image.iterdir()) == sorted(f"{z}.tif" for z in range(11))
    for z in range(11):
        np.testing.assert_array_equal(tifffile.imread(image / f"{z}.tif"), small.image[:, :, z].T)
        np.testing.assert_array_equal(tifffile.imread(labels / f"{z}.tif"), small.labels[:, :, z].T)
    with tifffile.TiffFile(labels / "10.tif") as file:
        assert file.pages[0].compression.name == "ADOBE_DEFLATE"
        assert (file.pages[0].imagewidth, file.pages[0].imagelength) == (40, 30)
        assert file.pages[0].dtype == np.uint32


def test_an_earlier_stack_is_kept_unless_overwritten(tmp_path, small: Phantom) -> None:
    image, _ = write_stack(small, tmp_path)
    (image / "99.tif").write_bytes(b"old")
    (image / "mine.tif").write_bytes(b"not a section")
    with pytest.raises(OptionError, match="12 sections"):
        write_stack(small, tmp_path)
    assert (image / "99.tif").exists()
    write_stack(small, tmp_path, overwrite=True)
    assert not (image / "99.tif").exists()
    assert (image / "mine.tif").read_bytes() == b"not a section"


def test_a_file_in_the_way(tmp_path, small: Phantom) -> None:
    (tmp_path / "image").write_text("in the way")
    with pytest.raises(StorageError, match=str(tmp_path)):
        write_stack(small, tmp_path)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoSpaceError), (errno.EACCES, ReadOnlyError), (errno.EROFS, ReadOnlyError)],
)
def test_a_full_or_read_only_disk(tmp_path, small: Phantom, monkeypatch, number: int, kind: type[Exception]) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(kind, match="cannot write"):
        write_stack(small, tmp_path)
