"""A conversion under way: its journal, its plan, its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volumekit.ops.build import Build, plan_levels, plan_reading
from volumekit.ops.estimate import Estimate, estimate
from volumekit.ops.opening import check_whole
from volumekit.ops.proof import proving
from volumekit.ops.resume import Mend, find_begun, fingerprint, stamp
from volumekit.ops.target import check_free, finish, listed, prepare, provenance_of
from volumekit.ops.watch import Watch
from volumekit.volume.volume import Volume

if TYPE_CHECKING:
    from volumekit.ops.journal import Journal
    from volumekit.ops.proof import Proof
    from volumekit.ops.pyramid import Factor
    from volumekit.ops.runners import Runner
    from volumekit.ops.selection import Selection

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """A conversion.

    Attributes
    ----------
    chosen : Selection
        What is converted.
    target : Volume
        The result; nothing of it is stored yet.
    ladder : sequence of tuple of int
        From each level to the next, (x, y, z).
    method : str
        How to reduce.
    entry : dict
        Its entry of the provenance.
    cut : dict
        ``memory`` and ``threads``: what a new job is cut into tasks by.
    proof : Proof
        The comparison at the end.
    runner : callable
        Makes what tasks run on.
    overwrite : bool
        Whether a dataset that is there may be replaced.
    progress : bool or None
        As for `convert`.
    """

    chosen: Selection
    target: Volume
    ladder: Sequence[Factor]
    method: str
    entry: dict[str, Any]
    cut: dict[str, int]
    proof: Proof
    runner: Callable[[], Runner]
    overwrite: bool
    progress: bool | None

    def find(self, *, path: Any, z_from_name: bool, mends: bool) -> tuple[Journal | None, bool]:
        """Return the journal, none for an array, and whether all is done; errors as for `find_begun`."""
        volume = self.chosen.volume
        if volume is None:
            return None, False
        job = {**self.entry["method"], **_result(self.target), "z_from_name": z_from_name, "state": fingerprint(volume)}
        how: dict[str, Any] = {"plan": self.cut, "path": path, "mend": Mend(volume, always=mends), "source": volume}
        return find_begun(self.target, "convert", job, entry=self.entry, overwrite=self.overwrite, **how)

    def plan(self, record: Journal | None) -> Build:
        """Return the work, cut into tasks as the journal says."""
        cut = self.cut if record is None else {name: record.plan[name] for name in self.cut}
        how: dict[str, Any] = {"rows": self.chosen.made(self.target.dtype).rows, "method": self.method, **cut}
        levels = range(len(self.ladder) + 1)
        threads = self.cut["threads"]
        plan, source = plan_reading(
            self.chosen.input,
            threads,
            lambda reading: plan_levels(self.target, levels, self.ladder, copies=True, reading=reading, **how),
        )
        unread = record is None or not (record.cleared and listed(self.target))
        made = self.chosen.taking(source).made(self.target.dtype)
        return Build(plan, made, self.target, self.method, threads, unread)

    def estimate(self, build: Build, record: Journal | None) -> Estimate:
        """Return what it takes.

        Raises
        ------
        TargetExistsError
            If it could not begin.
        """
        check_free(self.target, overwrite=self.overwrite or (record is not None and record.saved))
        return estimate(build)

    def run(self, build: Build, record: Journal | None) -> Volume:
        """Do it, or what is left of it; return the result."""
        self._begin(record)
        watch = self._watch(build, record)
        told: dict[str, Any] = {} if watch is None else {"collect": watch, "failed": watch.failed}
        build.run(progress=self.progress, verb="Converting", journal=record, runner=self.runner(), **told)
        damaged = {} if watch is None else watch.end()
        with proving(record):
            proven = self.proof.run(self.runner)
        finish(self.target, job=self.entry.get("job"), **damaged, **proven)
        if record is not None:
            record.finish()
        return Volume(self.target.cloudpath)

    def _begin(self, record: Journal | None) -> None:
        """Store the journal and make the target ready, unless that was done when the job began."""
        volume = self.chosen.volume
        if record is not None and volume is not None:
            stamp(record, self.entry, [(volume.array(), self.chosen.box)])
        if record is not None and record.cleared:
            record.save()
            return
        if self.overwrite:
            check_whole(self.chosen.input, self.chosen.box)
        known = provenance_of(volume, [] if volume is None else [volume.cloudpath])
        prepare(self.target, self.entry, overwrite=self.overwrite, provenance=known, journal=record)

    def _watch(self, build: Build, record: Journal | None) -> Watch | None:
        volume, change = self.chosen.volume, self.chosen.change
        if volume is None or record is None:
            return None
        return Watch(volume, record, build.plan, change.order.index(2), self.chosen.shift)

    def look_again(self) -> Volume:
        """Return a result that is finished, compared once more if that is wanted."""
        self.proof.run(self.runner)
        log.warning("%s is the finished result of this very conversion: nothing is left to do", self.target.cloudpath)
        return Volume(self.target.cloudpath)


def _result(target: Volume) -> dict[str, Any]:
    """Return what a result depends on besides what its provenance tells."""
    metadata = {key: data.decode() for key, data in target.array(0).fmt.metadata().items()}
    return {"metadata": metadata, "compress": target.compress, "empty_chunks": not target.delete_black_uploads}
