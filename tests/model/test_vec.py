import copy
import pickle

import numpy as np
import pytest

from volumekit.errors import OptionError
from volumekit.model.vec import Vec


def test_integers_are_int64_and_fractions_float64():
    assert Vec(1, 2, 3).dtype == np.int64
    assert Vec(np.uint8(1), np.int16(2)).dtype == np.int64
    assert Vec(1, 2, 3.5).dtype == np.float64
    assert Vec(1, 2, 3, dtype=np.uint8).dtype == np.uint8


def test_named_coordinates():
    v = Vec(5, 6, 7, 8)
    assert (v.x, v.y, v.z, v.w) == (5, 6, 7, 8)
    with pytest.raises(IndexError):
        _ = Vec(1, 2, 3).w


def test_compares_element_by_element():
    equal = Vec(1, 2, 3) == Vec(1, 0, 3)
    assert isinstance(equal, Vec)
    assert equal.tolist() == [True, False, True]


def test_hash_is_that_of_the_numbers():
    assert hash(Vec(1, 2, 3)) == hash((1, 2, 3)) == hash(Vec(1.0, 2.0, 3.0))
    assert hash(Vec(1, 23)) != hash(Vec(12, 3))
    assert hash(Vec(1, 2)[0]) == hash(1)


def test_arithmetic_keeps_the_class_and_reductions_are_numbers():
    assert isinstance(Vec(1, 2) * 2 + (1, 1), Vec)
    assert type(Vec(1, 2).sum()) is np.int64
    assert (Vec(1, 2) / 2).tolist() == [0.5, 1.0]


def test_clone_can_be_changed_alone():
    v = Vec(1, 2, 3)
    w = v.clone()
    w[0] = 9
    assert v.tolist() == [1, 2, 3]
    assert w.tolist() == [9, 2, 3]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies(again):
    v = again(Vec(1, 2, 3))
    assert isinstance(v, Vec)
    assert v.tolist() == [1, 2, 3]


def test_repr():
    assert repr(Vec(1, 2, 3)) == str(Vec(1, 2, 3)) == "Vec(1, 2, 3)"
    assert repr(Vec(0.5, 2)) == "Vec(0.5, 2.0)"


def test_too_large():
    with pytest.raises(OptionError):
        Vec(2**63)
