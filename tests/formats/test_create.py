"""New precomputed volumes that would lose what is put into them."""

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import OptionError


def test_labels_are_not_stored_lossily(tmp_path):
    with pytest.raises(OptionError, match="labels"):
        Volume.from_numpy(np.zeros((8, 8, 8), np.uint8), tmp_path / "v", layer_type="segmentation", encoding="jpeg")
    assert not (tmp_path / "v").exists()
