"""Which chunks of a volume are stored."""

from __future__ import annotations

from typing import Any

from volumekit.engine.objects import any_present, present
from volumekit.model.grid import cells_touching
from volumekit.volume.report import ChunkReport
from volumekit.volume.shared import Shared


class Stored(Shared):
    """Reports on chunks."""

    def exists(self, bbox: Any = (), mip: Any = None) -> ChunkReport:
        """Tell which chunks of a box are stored; no chunk is downloaded.

        Parameters
        ----------
        bbox : Bbox or slices, optional
            Every chunk it touches counts; default: the whole level.
        mip : int or sequence of float, optional
            Default: the current one.

        Returns
        -------
        ChunkReport
            A mapping of chunk names to bool.

        Raises
        ------
        OutOfBoundsError
            If the box reaches outside.
        PermissionDeniedError, StorageError
            If it cannot be found out.
        """
        number = self._mip if mip is None else self.to_mip(mip)
        array = self.array(number)
        box = self._grid_box(bbox, array.level)
        first = [r.start for r in cells_touching(array.level.bounds, array.level.chunk[:3], box)]
        grid = present(array, box)
        return ChunkReport(str(self._url), self._format, array.level, (first[0], first[1], first[2]), grid)

    def has_data(self, mip: Any = None) -> bool:
        """Tell whether any chunk of a mip is stored."""
        return any_present(self.array(self._mip if mip is None else self.to_mip(mip)))
