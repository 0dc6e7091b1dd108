"""Plans: tasks own whole chunks, nothing is done twice, memory is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volumekit.errors import OptionError
from volumekit.model.bbox import Bbox
from volumekit.model.grid import coarser_bounds, is_aligned
from volumekit.model.level import CodecSpec, Level, Sharding
from volumekit.ops.ladder import PROGRAM_BYTES, Ladder
from volumekit.ops.memory import format_amount, parse_amount
from volumekit.ops.plan import Plan, Stage, Task, cut
from volumekit.ops.pyramid import Rows, column_bytes


def levels_of(low, size, chunks, factors, dtype="uint8", channels=1, shards=None):
    bounds = Bbox(low, [a + n for a, n in zip(low, size, strict=True)])
    found = []
    for n, chunk in enumerate(chunks):
        if n:
            bounds = coarser_bounds(bounds, factors[n - 1])
        found.append(
            Level(
                key=str(n),
                bounds=bounds,
                chunk=(*chunk, channels),
                dtype=np.dtype(dtype),
                channels=channels,
                resolution=(1.0, 1.0, 1.0),
                codec=CodecSpec("raw"),
                sharding=None if shards is None else shard_of(chunk, shards[n]),
            )
        )
    return tuple(found)


def shard_of(chunk, times):
    """Return shards of some chunks along each axis; None: chunks are scattered."""
    return Sharding("any", {}, None if times is None else tuple(a * b for a, b in zip(chunk, times, strict=True)))


def ladder(
    low,
    size,
    *,
    chunk=(8, 8, 8),
    factor=(2, 2, 2),
    mips=2,
    copies=True,
    halo=0,
    buffers=1 << 40,
    chunks=None,
    rows=None,
    threads=2,
    shards=None,
):
    factors = (factor,) * mips
    levels = levels_of(low, size, chunks or [chunk] * (mips + 1), factors, shards=shards)
    return Ladder(
        levels=levels,
        mips=tuple(range(len(levels))),
        factors=factors,
        copies=copies,
        halo=halo,
        memory=PROGRAM_BYTES + buffers,
        threads=threads,
        rows=rows,
    )


def check_complete(plan: Plan, made: Ladder) -> None:
    """Every chunk of every level that is to be written belongs to exactly one task."""
    written = {}
    for stage in plan.stages:
        for n, rung in enumerate(stage.rungs):
            if n == 0 and not stage.copies:
                continue
            level = made.levels[rung.mip]
            for task in stage.tasks:
                box = stage.owned(task.box, n)
                assert is_aligned(level.bounds, level.chunk[:3], box)
                written.setdefault(rung.mip, []).append(box)
    first = 0 if made.copies else 1
    assert sorted(written) == list(range(first, len(made.levels)))
    for mip, boxes in written.items():
        bounds = made.levels[mip].bounds
        assert sum(int(box.volume()) for box in boxes) == int(bounds.volume())
        assert all(bounds.contains_bbox(box) for box in boxes if not box.empty())
        for a, b in itertools.combinations([box for box in boxes if not box.empty()], 2):
            assert a.intersection(b).empty()


def check_sufficient(plan: Plan) -> None:
    """What a task reads holds every voxel its cells are made of."""
    for stage in plan.stages:
        base = stage.rungs[0].bounds
        for task in stage.tasks:
            source = stage.source(task.box)
            for n, rung in enumerate(stage.rungs):
                box = stage.owned(task.box, n)
                if box.empty():
                    continue
                low = [a * f for a, f in zip(box.minpt.tolist(), rung.factor, strict=True)]
                high = [b * f for b, f in zip(box.maxpt.tolist(), rung.factor, strict=True)]
                assert source.contains_bbox(Bbox(low, high).intersection(base))


ANY = {
    "low": st.tuples(*[st.integers(-50, 50)] * 3),
    "size": st.tuples(*[st.integers(1, 120)] * 3),
    "chunk": st.tuples(*[st.integers(1, 9)] * 3),
    "factor": st.tuples(*[st.integers(1, 3)] * 3),
    "copies": st.booleans(),
    "scale": st.floats(0.001, 1.5),
}


@settings(max_examples=60, deadline=None)
@given(
    **ANY,
    mips=st.integers(0, 3),
    halo=st.sampled_from([0, 2]),
    rows=st.none() | st.builds(Rows, st.integers(-9, 9), st.integers(1, 9)),
)
def test_any_plan_is_complete_and_within_memory(low, size, chunk, factor, mips, copies, halo, scale, rows):
    if not copies and not mips:
        mips = 1
    halo = halo if mips else 0
    made = ladder(low, size, chunk=chunk, factor=factor, mips=mips, copies=copies, halo=halo, rows=rows)
    whole = max(stage.task_bytes for stage in made.plan().stages)
    tight = replace(made, memory=PROGRAM_BYTES + int(whole * scale) + 1)
    try:
        plan = tight.plan()
    except OptionError as error:
        assert "too little" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert plan.peak_bytes(4) <= tight.budget
    check_complete(plan, tight)
    check_sufficient(plan)
    check_strips(plan, rows)


def check_strips(plan: Plan, rows) -> None:
    """Nothing reaches from one strip into another: no chunk, no cell, and nothing that is read whole."""
    for stage in plan.stages:
        if not stage.rows:
            continue
        first = stage.rungs[0]
        for task in stage.tasks:
            (_, low, bottom), (_, high, top) = (c.tolist() for c in (task.box.minpt, task.box.maxpt))
            assert stage.source(task.box).minpt.tolist()[1:] == [low, bottom]
            assert [n.minpt.tolist()[1:] for n in (stage.region(task.box, k) for k in range(len(stage.rungs)))] == [
                n.minpt.tolist()[1:] for n in (stage.owned(task.box, k) for k in range(len(stage.rungs)))
            ]
            for cut_at in range(low + stage.rows, high, stage.rows):
                assert cut_at % stage.rungs[min(1, len(stage.rungs) - 1)].factor[1] == 0
                if stage.copies:
                    assert (cut_at - first.bounds.minpt.tolist()[1]) % first.chunk[1] == 0
                    assert (cut_at - rows[0]) % rows[1] == 0
            if len(stage.rungs) > 1:
                assert all(z % stage.rungs[1].factor[2] == 0 for z in range(bottom, top, first.chunk[2]))


@settings(max_examples=60, deadline=None)
@given(
    **ANY,
    mips=st.integers(1, 3),
    shards=st.lists(st.none() | st.tuples(*[st.sampled_from([1, 2, 4])] * 3), min_size=4, max_size=4),
    rows=st.none() | st.just(Rows(0, 1)),
)
def test_no_two_tasks_touch_one_shard(low, size, chunk, factor, mips, copies, scale, shards, rows):
    """Whatever the memory, and at any mip; chunks that are scattered over the shards are all of one task."""
    made = ladder(low, size, chunk=chunk, factor=factor, mips=mips, copies=copies, shards=shards, rows=rows)
    try:
        whole = max(stage.task_bytes for stage in made.plan().stages)
        plan = replace(made, memory=PROGRAM_BYTES + int(whole * scale) + 1).plan()
    except OptionError as error:
        assert "too little" in str(error)  # noqa: PT017 - either outcome is right
        return
    check_complete(plan, made)
    check_sufficient(plan)
    for stage in plan.stages:
        for n, rung in enumerate(stage.rungs):
            level = made.levels[rung.mip]
            if n == 0 and not stage.copies:
                continue
            if level.sharding.shape is None:
                assert len([task for task in stage.tasks if not stage.owned(task.box, n).empty()]) == 1
                continue
            assert all(is_aligned(level.bounds, level.sharding.shape, stage.owned(t.box, n)) for t in stage.tasks)
            assert not stage.rows or rung.chunk == level.sharding.shape, "strips would share a shard"


def test_strips_are_where_nothing_reaches_across():
    size = (512, 512, 64)
    assert ladder((0, 0, 0), size, rows=Rows(0, 1)).plan().stages[0].rows == 128
    assert ladder((0, 0, 0), size, rows=Rows(0, 1), threads=8).plan().stages[0].rows == 32
    assert ladder((5, 8, 4), size, rows=Rows(0, 1)).plan().stages[0].rows == 128, "x does not matter"
    for low, rows in [((0, 2, 0), Rows(0, 1)), ((0, 0, 1), Rows(0, 1)), ((0, 0, 0), None), ((0, 0, 0), Rows(4, 8))]:
        assert ladder(low, size, rows=rows).plan().stages[0].rows == 0, (low, rows)
    assert ladder((0, 0, 0), (512, 16, 64), rows=Rows(0, 1)).plan().stages[0].rows == 0, "too few for two threads"
    assert ladder((0, 0, 0), size, rows=Rows(0, 1), halo=2).plan().stages[1].rows == 0


def test_strips_take_less_memory_than_slabs():
    how = {"chunk": (64, 64, 64), "mips": 5, "buffers": 776 << 20}
    slabs, strips = (ladder((0, 0, 0), (2048, 2048, 512), rows=rows, **how).plan() for rows in (None, Rows(0, 1)))
    assert strips.stages[0].task_bytes < slabs.stages[0].task_bytes // 2
    assert [len(plan.stages) for plan in (slabs, strips)] == [1, 1]


def test_whole_planes_are_preferred():
    plan = ladder((0, 0, 0), (500, 300, 4000), chunk=(8, 8, 8)).plan()
    assert len(plan.stages) == 1
    assert {tuple(task.box.size()[:2].tolist()) for task in plan.tasks} == {(500, 300)}


def test_y_is_cut_before_x():
    made = ladder((0, 0, 0), (512, 512, 64))
    narrow = ladder((0, 0, 0), (512, 512, 64), buffers=made.plan().stages[0].task_bytes // 3)
    sizes = {tuple(task.box.size()[:2].tolist()) for task in narrow.plan().tasks}
    assert {x for x, _ in sizes} == {512}
    assert all(y < 512 for _, y in sizes)


def test_x_is_cut_when_one_row_does_not_fit():
    made = ladder((0, 0, 0), (512, 512, 64))
    narrow = ladder((0, 0, 0), (512, 512, 64), buffers=made.plan().stages[0].task_bytes // 40)
    sizes = {tuple(task.box.size()[:2].tolist()) for task in narrow.plan().tasks}
    assert all(x < 512 and y <= 32 for x, y in sizes)


def test_fewer_levels_at_a_time_when_memory_is_short():
    wide = ladder((0, 0, 0), (512, 512, 64), mips=4)
    assert [len(stage.rungs) for stage in wide.plan().stages] == [5]
    rungs = wide.plan().stages[0].rungs[:3]
    short = ladder((0, 0, 0), (512, 512, 64), mips=4, buffers=column_bytes(rungs, 32, 32, halo=0, threads=2))
    stages = short.plan().stages
    assert [[rung.mip for rung in stage.rungs] for stage in stages] == [[0, 1, 2], [2, 3, 4]]
    assert [stage.copies for stage in stages] == [True, False]


def test_what_does_not_fit_says_what_would():
    with pytest.raises(OptionError, match=r"memory of .* is too little") as caught:
        ladder((0, 0, 0), (512, 512, 64), chunk=(64, 64, 64), buffers=1000).plan()
    wanted = int(str(caught.value).split('memory="')[1].split("MB")[0])
    enough = ladder((0, 0, 0), (512, 512, 64), chunk=(64, 64, 64), buffers=wanted * 10**6 - PROGRAM_BYTES)
    assert enough.plan().tasks


def test_numbers_are_unique_over_all_stages():
    plan = ladder((0, 0, 0), (200, 200, 200), halo=2).plan()
    assert [task.number for task in plan.tasks] == list(range(len(plan.tasks)))
    assert [stage.rungs[-1].mip for stage in plan.stages] == [0, 1, 2]


def test_each_voxel_is_read_once_where_offsets_are_multiples():
    plan = ladder((-8, 16, 0), (100, 90, 80), mips=3, factor=(2, 2, 1), buffers=100_000).plan()
    stage = plan.stages[0]
    assert sum(int(stage.source(task.box).volume()) for task in stage.tasks) == 100 * 90 * 80
    assert stage.nbytes == 100 * 90 * 80


def test_levels_of_different_chunks():
    made = ladder((3, 0, -5), (100, 90, 80), chunks=[(8, 8, 8), (6, 4, 10), (5, 5, 5)], buffers=400_000)
    plan = made.plan()
    check_complete(plan, made)
    check_sufficient(plan)


def test_an_absurd_number_of_tasks_is_refused():
    made = ladder((0, 0, 0), (2**60, 4, 4), mips=0, chunk=(1, 1, 1), buffers=100_000)
    with pytest.raises(OptionError, match="tasks"):
        made.plan()


def test_cut_covers_the_box_x_fastest():
    boxes = list(cut(Bbox((-3, 0, 0), (4, 2, 3)), (5, 2, 2)))
    assert boxes == [
        Bbox((-3, 0, 0), (2, 2, 2)),
        Bbox((2, 0, 0), (4, 2, 2)),
        Bbox((-3, 0, 2), (2, 2, 3)),
        Bbox((2, 0, 2), (4, 2, 3)),
    ]


def test_tasks_at_once_depend_on_jobs_number_and_memory():
    tasks = tuple(Task(n, 0, Bbox((n, 0, 0), (n + 1, 1, 1))) for n in range(5))
    stage = Stage(tasks, task_bytes=100, nbytes=5)
    assert [Plan((stage,), budget).parallel(stage, 8) for budget in (50, 100, 250, 10_000)] == [1, 1, 2, 5]
    assert Plan((stage,), 10_000).parallel(stage, 3) == 3
    assert Plan((stage,), 250).peak_bytes(8) == 200


@pytest.mark.parametrize(
    ("text", "count"),
    [("1GB", 10**9), ("1GiB", 2**30), ("1.5g", 15 * 10**8), ("500 MB", 5 * 10**8), ("7", 7), (12, 12), ("2k", 2000)],
)
def test_amounts(text, count):
    assert parse_amount(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1XB", "1e9", 0, -5, None, True, 1.5, "1GBB", "9" * 40])
def test_no_amounts(text):
    with pytest.raises(OptionError, match="memory is"):
        parse_amount(text)


def test_amounts_for_reading():
    assert [format_amount(n) for n in (5, 1500, 10**9, 123_400_000)] == ["5 B", "1.5 kB", "1 GB", "123 MB"]
