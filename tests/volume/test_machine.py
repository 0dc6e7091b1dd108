"""Random writes, reads and deletions on a volume, against a NumPy array."""

import itertools
import tempfile

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.volume.sample import empty
from volumekit import Volume

SHAPE, CHUNK = (11, 9, 7), (4, 4, 3)
GRID = (3, 3, 3)
OFFSETS = [(0, 0, 0), (-7, 3, -2), (1000, -5, 11)]
KINDS = [("raw", "uint8"), ("raw", "float32"), ("png", "uint16"), ("compressed_segmentation", "uint32")]
BACKGROUNDS = [0, 3]
SHARDINGS = [
    False,
    True,
    {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 4, "data_encoding": "raw"},
    {"preshift_bits": 0, "hash": "murmurhash3_x86_128", "minishard_bits": 2, "shard_bits": 1, "data_encoding": "gzip"},
]


def spans(axis):
    ends = st.tuples(st.integers(0, SHAPE[axis]), st.integers(0, SHAPE[axis])).map(sorted)
    return ends.map(lambda pair: slice(*pair))


def steps(axis):
    last = SHAPE[axis] - 1
    return st.builds(slice, st.integers(0, last), st.integers(0, last), st.integers(1, 4)) | st.builds(
        slice, st.integers(0, last), st.integers(0, last), st.integers(-4, -1)
    )


BOXES = st.tuples(*(spans(axis) for axis in range(3)))
STEPPED = st.tuples(*(st.integers(0, SHAPE[axis] - 1) | steps(axis) for axis in range(3)))
CELLS = st.tuples(*(st.tuples(st.integers(0, 2), st.integers(1, 3)) for _ in range(3)))
POINTS = st.lists(st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), min_size=1, max_size=12)


class VolumeMachine(RuleBasedStateMachine):
    """A volume and its model; indices are relative to the model."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.rng = np.random.default_rng(5)

    def teardown(self):
        self.folder.cleanup()

    @initialize(
        offset=st.sampled_from(OFFSETS),
        kind=st.sampled_from(KINDS),
        channels=st.integers(1, 2),
        compress=st.sampled_from([None, "gzip"]),
        background=st.sampled_from(BACKGROUNDS),
        lru_bytes=st.sampled_from([0, 10**7]),
        sharding=st.sampled_from(SHARDINGS),
    )
    def start(self, offset, kind, channels, compress, background, lru_bytes, sharding):
        self.offset, self.channels, self.background = offset, channels, background
        self.how = {
            "compress": compress,
            "background_color": background,
            "fill_missing": True,
            "non_aligned_writes": True,
            "lru_bytes": lru_bytes,
        }
        layout = {"shape": SHAPE, "chunk": CHUNK, "offset": offset, "channels": channels, "sharding": sharding}
        self.volume = empty(self.folder.name, encoding=kind[0], dtype=kind[1], **layout, **self.how)
        self.model = np.full((*SHAPE, channels), background, kind[1])
        self.stored = np.zeros(GRID, bool)

    def there(self, index):
        """Return an index of the model in the volume's coordinates."""
        parts = []
        for part, offset in zip(index, self.offset, strict=False):
            if isinstance(part, slice):
                parts.append(slice(part.start + offset, part.stop + offset, part.step))
            else:
                parts.append(part + offset)
        return (*parts, *index[3:])

    def values(self, shape):
        """Return few different values, the background among them."""
        if self.rng.random() < 0.3:
            return np.full(shape, self.background, self.model.dtype)
        return self.rng.integers(0, 5, shape).astype(self.model.dtype)

    def write(self, index, values):
        self.volume[self.there(index)] = values
        self.touched(index, values)

    def touched(self, index, values):
        mark = np.zeros(self.model.shape, bool)
        mark[index] = True
        self.model[index] = values
        for cell in itertools.product(*map(range, GRID)):
            box = tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, CHUNK, strict=True))
            if mark[box].any():
                black = self.volume.delete_black_uploads and (self.model[box] == self.background).all()
                self.stored[cell] = not black

    @rule(cells=CELLS)
    def write_chunks(self, cells):
        index = tuple(slice(a * c, min((a + n) * c, s)) for (a, n), c, s in zip(cells, CHUNK, SHAPE, strict=True))
        self.write(index, self.values(self.model[index].shape))

    @rule(box=BOXES)
    def write_box(self, box):
        self.write(box, self.values(self.model[box].shape))

    @rule(box=BOXES, value=st.integers(0, 4))
    def write_scalar(self, box, value):
        self.write(box, value)

    @rule(index=STEPPED)
    def write_steps(self, index):
        self.write(index, self.values(self.model[index].shape))

    @precondition(lambda self: self.channels > 1)
    @rule(box=BOXES, channel=st.integers(0, 1))
    def write_channel(self, box, channel):
        index = (*box, channel)
        self.write(index, self.values(self.model[index].shape))

    @rule(points=POINTS)
    def write_points(self, points):
        place = tuple(np.array(points).T)
        values = self.values(self.model[place].shape)
        self.volume[tuple(p + o for p, o in zip(place, self.offset, strict=True))] = values
        self.touched(place, values)

    @rule(cells=CELLS)
    def delete(self, cells):
        index = tuple(slice(a * c, min((a + n) * c, s)) for (a, n), c, s in zip(cells, CHUNK, SHAPE, strict=True))
        self.volume.delete(self.there(index))
        self.model[index] = self.background
        self.stored[tuple(slice(a, a + n) for a, n in cells)] = False

    @rule(compress=st.sampled_from([None, False, "gzip", "br", "zstd"]))
    def change_compression(self, compress):
        self.volume.compress = self.how["compress"] = compress

    @rule(black=st.booleans())
    def change_deletion(self, black):
        self.volume.delete_black_uploads = black

    @rule()
    def reopen(self):
        black = self.volume.delete_black_uploads
        self.volume = Volume(self.volume.cloudpath, delete_black_uploads=black, **self.how)

    @rule(box=BOXES)
    def read_box(self, box):
        np.testing.assert_array_equal(self.volume[self.there(box)], self.model[box])

    @rule(index=STEPPED)
    def read_steps(self, index):
        np.testing.assert_array_equal(self.volume[self.there(index)], self.model[index])

    @rule(points=POINTS)
    def read_points(self, points):
        place = np.array(points)
        np.testing.assert_array_equal(self.volume.points(place + self.offset), self.model[tuple(place.T)])

    @rule()
    def read_from_elsewhere(self):
        other = Volume(self.volume.cloudpath, fill_missing=True, background_color=self.background)
        np.testing.assert_array_equal(other[:], self.model)

    @rule()
    def report(self):
        np.testing.assert_array_equal(self.volume.exists().to_array(), self.stored)

    @invariant()
    def everything_is_equal(self):
        if hasattr(self, "volume"):
            np.testing.assert_array_equal(self.volume[:], self.model)


TestVolume = VolumeMachine.TestCase
TestVolume.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
