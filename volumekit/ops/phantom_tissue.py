"""The geometry of synthetic tissue, and how a section of it looks.

The cells are a power diagram whose seeds are chained into neurites, seen through a smooth random
displacement, so that membranes undulate. The geometry is analytic and drawn section by section: only a few
planes are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Index = tuple[slice, slice]

_MEMBRANE, _GAP, _LUMEN = 48.0, 196.0, 178.0
_TILE = 24
_FAR = np.float32(1e30)


class _Field:
    """A smooth random field of unit variance: cubic B-splines over a lattice of normal numbers.

    Sums instead of matrix products: for ones as small as these, threads of BLAS cost more than they give,
    many times more on a busy machine.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int, int],
        resolution: tuple[float, float, float],
        wavelength: float,
        components: int,
    ) -> None:
        steps = np.minimum(np.array(resolution) / wavelength, (0.25, 0.25, 1.0))
        self._axes = [_splines(np.arange(n) * step) for n, step in zip(shape, steps, strict=True)]
        knots = [int(knot[-1]) + 4 for knot, _ in self._axes]
        self._lattice = rng.standard_normal((components, *knots), dtype=np.float32)

    def section(self, z: int) -> Plane:
        """Return the field in section z, (component, x, y)."""
        (x, across), (y, down), (depth, through) = self._axes
        field: Plane = sum(through[j, z] * self._lattice[..., depth[z] + j] for j in range(4))
        field = sum(down[j] * field[:, :, y + j] for j in range(4))
        section: Plane = sum(across[j][:, None] * field[:, x + j] for j in range(4))
        return section


def _splines(at: NDArray[np.float64]) -> tuple[NDArray[np.intp], Plane]:
    """Return the first of four knots, and the weights of cubic B-splines there, (knot, sample).

    The weights are scaled so that normally distributed knots give unit variance.
    """
    knot = at.astype(np.intp)
    rest = at - knot
    middle = [2 / 3 - t**2 + t**3 / 2 for t in (rest, 1 - rest)]
    weights = np.stack([(1 - rest) ** 3 / 6, *middle, rest**3 / 6])
    return knot, (weights / np.linalg.norm(weights, axis=0)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Section:
    """One section while it is drawn; planes are (x, y), lengths in nm."""

    at: Plane  # (3, x, y): where each voxel lies before displacement
    owner: NDArray[np.int32]
    neighbour: NDArray[np.int32]
    inside: Plane  # distance to the own membrane; negative in extracellular space
    tone: Plane


class Tissue:
    """Where everything lies, in nm; sections can be drawn in any order.

    Parameters
    ----------
    shape : tuple of int
        Voxels, (x, y, z).
    resolution : tuple of float
        Voxel size in nm, (x, y, z).
    spacing : float
        Typical thickness of a neurite in nm.
    seed : int
        Another number, another piece of tissue.
    """

    def __init__(
        self, shape: tuple[int, int, int], resolution: tuple[float, float, float], spacing: float, seed: int
    ) -> None:
        rng = np.random.default_rng([seed, 0])
        self.shape, self.resolution, self.spacing, self.seed = shape, resolution, spacing, seed
        self.membrane = max(8.0, 1.1 * min(resolution))
        self._place_seeds(rng)
        self._place_organelles(rng)
        self._place_synapses(rng)
        self._wide = _Field(rng, shape, resolution, spacing, 4)
        self._fine = _Field(rng, shape, resolution, 0.35 * spacing, 4)
        self._grain = _Field(rng, shape, resolution, max(40.0, 10 * min(resolution)), 1)
        self._reticulum = _Field(rng, shape, resolution, 0.6 * spacing, 2)
        self._light = _Field(rng, shape, resolution, 6 * spacing, 1)

    # Where things are

    def _place_seeds(self, rng: np.random.Generator) -> None:
        from scipy.spatial import cKDTree

        extent = np.multiply(self.shape, self.resolution)
        counts = [int(n) for n in np.ceil(extent / self.spacing) + 4]
        grid = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 3)
        points = (grid - 1.5 + rng.uniform(-0.42, 0.42, grid.shape)) * self.spacing
        reach = (0.55 * self.spacing * rng.lognormal(0, 0.35, len(points))).clip(None, self.spacing)
        centres, radii = self._place_somata(rng, extent)
        for centre, radius in zip(centres, radii, strict=True):
            keep = ((points - centre) ** 2).sum(1) > (radius + 0.35 * self.spacing) ** 2
            points, reach = points[keep], reach[keep]
        cell = _chains(rng, points, self.spacing)
        first = cell.max(initial=0) + 1
        self.soma = np.arange(first, first + len(centres))
        self.points = np.concatenate([points, centres]).astype(np.float32)
        self.weights = (np.concatenate([reach, radii]) ** 2).astype(np.float32)
        self.cell = np.concatenate([cell, self.soma]).astype(np.int32)
        self._tree, self._giants = cKDTree(self.points), np.flatnonzero(np.isin(self.cell, self.soma))
        self.shade = rng.normal(150, 11, self.cell.max(initial=0) + 1).astype(np.float32)
        self.myelin = np.where(rng.random(len(self.shade)) < 0.02, 0.26 * self.spacing, 0).astype(np.float32)
        self.myelin[self.soma] = 0

    def _place_somata(self, rng: np.random.Generator, extent: NDArray[Any]) -> tuple[Any, Any]:
        radius = min(0.3 * float(extent.min()), 10 * self.spacing)
        if radius < self.spacing:
            return np.empty((0, 3)), np.empty(0)
        count = 1 + int(extent.prod() / (12 * radius) ** 3)
        centres = rng.uniform(0.15, 0.85, (count, 3)) * extent
        gaps = np.linalg.norm(centres[:, None] - centres, axis=2)
        apart = [i for i in range(count) if (gaps[i, :i] > 2.5 * radius).all()]
        return centres[apart], radius * rng.uniform(0.85, 1.1, len(apart))

    def _place_organelles(self, rng: np.random.Generator) -> None:
        hosts = np.flatnonzero((rng.random(len(self.points)) < 0.3) & ~np.isin(self.cell, self.soma))
        nuclei = np.flatnonzero(np.isin(self.cell, self.soma))
        self.organelle_owner = self.cell[np.concatenate([hosts, nuclei])]
        self.is_nucleus = np.arange(len(self.organelle_owner)) >= len(hosts)
        radius = rng.uniform(0.26, 0.42, len(hosts)) * self.spacing
        shift = rng.normal(0, 0.1 * self.spacing, (len(hosts), 3))
        nuclear = 0.72 * np.sqrt(self.weights[nuclei])
        at = np.concatenate([self.points[hosts] + shift, self.points[nuclei]])
        self.organelle_at = at.astype(np.float32)
        self.organelle_radius = np.concatenate([radius, nuclear]).astype(np.float32)
        stretch = np.where(self.is_nucleus, 1.0, rng.uniform(1.2, 2.4, len(self.is_nucleus)))
        self.organelle_stretch = stretch.astype(np.float32)
        axis = rng.normal(0, 1, (len(stretch), 3))
        self.organelle_axis = (axis / np.linalg.norm(axis, axis=1, keepdims=True)).astype(np.float32)

    def _place_synapses(self, rng: np.random.Generator) -> None:
        pairs = self._tree.query_pairs(1.2 * self.spacing, output_type="ndarray")
        pairs = pairs[np.lexsort(pairs.T[::-1])]
        foreign = self.cell[pairs[:, 0]] != self.cell[pairs[:, 1]]
        pre, post = pairs[foreign & (rng.random(len(pairs)) < 0.1)].T
        along = self.points[post] - self.points[pre]
        length = np.maximum(np.linalg.norm(along, axis=1), 1e-3)
        share = (0.5 + (self.weights[pre] - self.weights[post]) / (2 * length**2)).clip(0, 1)
        self.synapse_at = (self.points[pre] + along * share[:, None]).astype(np.float32)
        self.synapse_cells = np.stack([self.cell[pre], self.cell[post]], 1).reshape(-1, 2)
        behind = self.synapse_at - along / length[:, None] * 0.22 * self.spacing
        around = rng.normal(0, 0.13 * self.spacing, (len(behind), 18, 3))
        self.vesicle_at = (behind[:, None] + around).reshape(-1, 3).astype(np.float32)
        self.vesicle_owner = np.repeat(self.synapse_cells[:, 0], 18)

    # How a section looks

    def section(self, z: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Return image and labels of section z, (x, y)."""
        section = self._cells(z)
        grain, (sheet, where) = self._grain.section(z)[0], self._reticulum.section(z)
        section.tone[...] += 7 * grain
        slope = sum(np.abs(slope) for slope in _slopes(sheet))
        reticulum = (np.abs(sheet) < 1.3 * slope) & (slope > 0.04) & (where > 0.2)
        section.tone[reticulum & (section.inside > 2 * self.membrane)] -= 52
        self._draw_vesicles(section)
        self._draw_organelles(section, 2 * grain + sheet)
        self._draw_membranes(section)
        self._draw_densities(section)
        labels = np.where(section.inside >= 0, section.owner, 0).astype(np.uint32)
        return self._expose(section.tone, z), labels

    def _cells(self, z: int) -> _Section:
        at, gap = self._displaced(z)
        seeds = np.empty((2, *at.shape[1:]), np.int32)
        lead = np.empty(at.shape[1:], np.float32)
        for tile in _tiles(lead.shape):
            self._nearest(at[:, *tile], seeds[:, *tile], lead[tile])
        apart = np.sqrt(sum((p[seeds[0]] - p[seeds[1]]) ** 2 for p in self.points.T))
        inside = lead / np.maximum(2 * apart, 0.2 * self.spacing)
        owner, neighbour = self.cell[seeds[0]], self.cell[seeds[1]]
        return _Section(at, owner, neighbour, inside - gap, self.shade[owner].copy())

    def _nearest(self, at: Plane, seeds: NDArray[np.int32], lead: Plane) -> None:
        """Write the nearest seed, the nearest of another cell, and how much farther that is (power)."""
        low, high = at.min((1, 2)), at.max((1, 2))
        near = self._candidates((low + high) / 2, float(np.linalg.norm(high - low)) / 2)
        middle = ((low + high) / 2)[:, None, None]
        points, cell = self.points[near] - middle[:, 0, 0], self.cell[near]
        constant = np.square(points).sum(1) - self.weights[near]
        power = np.einsum("ia,axy->ixy", -2 * points, at - middle) + constant[:, None, None]
        best = power.argmin(0)
        nearest = power.min(0)
        power[cell[:, None, None] == cell[best]] = _FAR
        other = power.argmin(0)
        seeds[0], seeds[1] = near[best], near[other]
        np.subtract(power.min(0), nearest, out=lead)

    def _candidates(self, middle: Plane, radius: float) -> NDArray[np.intp]:
        """Return the seeds that may be nearest, or nearest of another cell, somewhere in a ball.

        The difference of two power distances is linear, so a seed that is farther than another by more than
        the slope allows is so everywhere in the ball.
        """
        around = self._tree.query_ball_point(middle, radius + 2.5 * self.spacing)
        near = np.union1d(around, self._giants).astype(np.intp)
        points, cell = self.points[near], self.cell[near]
        power = np.square(points - middle).sum(1) - self.weights[near]
        first = int(power.argmin())
        second = int(np.where(cell == cell[first], _FAR, power).argmin())
        may = np.zeros(len(near), bool)
        for rival in (first, second):
            slope = 2 * np.sqrt(np.square(points - points[rival]).sum(1))
            may |= power - power[rival] <= slope * radius
        return near[may]

    def _displaced(self, z: int) -> tuple[Plane, Plane]:
        wide, fine = self._wide.section(z), self._fine.section(z)
        at: Plane = (self.spacing * (0.12 * wide[:3] + 0.045 * fine[:3])).astype(np.float32)
        for axis, steps in enumerate(np.ogrid[: self.shape[0], : self.shape[1]]):
            at[axis] += (steps * self.resolution[axis]).astype(np.float32)
        at[2] += np.float32(z * self.resolution[2])
        gap: Plane = (self.membrane * (1.1 * wide[3] + 0.5 * fine[3] - np.float32(1.3))).astype(np.float32)
        return at, gap.clip(0, np.float32(0.08 * self.spacing))

    def _patches(self, at: Plane, points: Plane, reach: Plane) -> Iterator[tuple[int, Index]]:
        """Yield the things that may touch a section, and where in it."""
        low, high = at.min((1, 2)), at.max((1, 2))
        slack = 0.6 * self.spacing  # the displacement of one voxel: four times its standard deviation
        near = ((points + reach[:, None] >= low) & (points - reach[:, None] <= high)).all(1)
        for i in np.flatnonzero(near):
            distance = max(low[2] - points[i, 2], points[i, 2] - high[2], 0.0)
            radius = np.sqrt(reach[i] ** 2 - distance**2) + slack
            start = [max(0, int((points[i, a] - radius) / self.resolution[a])) for a in (0, 1)]
            stop = [max(0, int((points[i, a] + radius) / self.resolution[a]) + 1) for a in (0, 1)]
            yield int(i), (slice(start[0], stop[0]), slice(start[1], stop[1]))

    def _draw_vesicles(self, section: _Section) -> None:
        radius = 0.085 * self.spacing
        reach = np.full(len(self.vesicle_at), radius, np.float32)
        for i, patch in self._patches(section.at, self.vesicle_at, reach):
            inner = radius - _distance(section.at[:, *patch], self.vesicle_at[i])
            room = (section.owner[patch] == self.vesicle_owner[i]) & (section.inside[patch] > radius)
            section.tone[patch][room & (inner > 0)] = 78
            section.tone[patch][room & (inner > 0.45 * radius)] = _LUMEN

    def _draw_organelles(self, section: _Section, texture: Plane) -> None:
        reach = self.organelle_radius * self.organelle_stretch
        for i, patch in self._patches(section.at, self.organelle_at, reach):
            to = section.at[:, *patch] - self.organelle_at[i][:, None, None]
            along = np.einsum("a,axy->xy", self.organelle_axis[i], to)
            across = np.square(to).sum(0) - along**2
            out = np.sqrt(across.clip(0) + (along / self.organelle_stretch[i]) ** 2)
            depth = np.minimum(self.organelle_radius[i] - out, section.inside[patch] - 1.8 * self.membrane)
            depth[section.owner[patch] != self.organelle_owner[i]] = -1
            paint = self._nucleus if self.is_nucleus[i] else self._mitochondrion
            tone = paint(depth, along, texture[patch])
            np.copyto(section.tone[patch], tone, where=depth > 0)

    def _mitochondrion(self, depth: Plane, along: Plane, texture: Plane) -> Plane:
        cristae = np.sin(along * (2 * np.pi * 7 / self.spacing) + 0.9 * texture)
        matrix = 112 - 34 * (cristae > 0.55)
        tone: Plane = np.where(depth < 1.2 * self.membrane, 62, matrix).astype(np.float32)
        return tone

    def _nucleus(self, depth: Plane, along: Plane, texture: Plane) -> Plane:
        wall = self.membrane
        condensed = texture > 1.3 - 1.5 * np.exp(-depth.clip(0) / (6 * wall))
        tone = np.where(condensed, 104, 140) + 4 * texture
        tone[depth < 3 * wall] = _LUMEN
        tone[(depth < wall) | ((depth > 2.2 * wall) & (depth < 3.2 * wall))] = 66
        return tone

    def _draw_membranes(self, section: _Section) -> None:
        inside, thickness, tone = section.inside, self.membrane, section.tone
        sheath = self.myelin[section.owner]
        lamellae = 74 + 26 * np.sin(inside * (2 * np.pi / (1.9 * thickness)))
        np.copyto(tone, lamellae, where=inside < sheath)
        dark = (1.5 - inside / thickness).clip(0, 1)
        tone += (_MEMBRANE - tone) * dark
        tone[inside < 0] = _GAP

    def _draw_densities(self, section: _Section) -> None:
        radius = 0.33 * self.spacing
        reach = np.full(len(self.synapse_at), radius, np.float32)
        for i, patch in self._patches(section.at, self.synapse_at, reach):
            pre, post = self.synapse_cells[i]
            near = _distance(section.at[:, *patch], self.synapse_at[i]) < radius
            owner, inside = section.owner[patch], section.inside[patch]
            behind = (owner == post) & (section.neighbour[patch] == pre) & (inside < 2.8 * self.membrane)
            section.tone[patch][near & behind & (inside >= 0)] = 44

    def _expose(self, tone: Plane, z: int) -> NDArray[np.uint8]:
        """Return what the camera records: slightly blurred, unevenly lit, noisy, each section different."""
        from scipy.ndimage import gaussian_filter

        rng = np.random.default_rng([self.seed, 1, z])
        noise = rng.standard_normal(tone.shape, dtype=np.float32)
        gain, offset = rng.normal(1, 0.03), rng.normal(0, 3.5)
        seen = gaussian_filter(tone, 0.7) + 16 * gaussian_filter(noise, 0.45)
        seen = (seen - 128) * gain + 128 + offset + 4 * self._light.section(z)[0]
        picture: NDArray[np.uint8] = np.rint(seen).clip(0, 255).astype(np.uint8)
        return picture


def _distance(at: Plane, point: Plane) -> Plane:
    distance: Plane = np.sqrt(sum(np.square(at[axis] - point[axis]) for axis in range(3)))
    return distance


def _slopes(plane: Plane) -> list[Plane]:
    """Return the change per voxel along each axis of a plane; an axis of one voxel has none."""
    return [np.gradient(plane, axis=axis) for axis, size in enumerate(plane.shape) if size > 1]


def _tiles(shape: tuple[int, ...]) -> Iterator[Index]:
    for x in range(0, shape[0], _TILE):
        for y in range(0, shape[1], _TILE):
            yield slice(x, x + _TILE), slice(y, y + _TILE)


def _chains(rng: np.random.Generator, points: NDArray[np.float64], spacing: float) -> NDArray[np.int32]:
    """Return the cell of each seed, from 1 on: chains of neighbours that keep their heading are neurites."""
    from scipy.spatial import cKDTree

    cell = np.zeros(len(points), np.int32)
    tree = cKDTree(points)
    for label, start in enumerate(rng.permutation(len(points)), 1):
        here, heading = int(start), rng.normal(0, 1, 3)
        for _ in range(int(rng.geometric(0.22))):
            if cell[here]:
                break
            cell[here] = label
            near = np.array(sorted(tree.query_ball_point(points[here], 1.4 * spacing)))
            ahead = (points[near] - points[here]) @ heading * (cell[near] == 0)
            best = int(near[np.argmax(ahead)])
            heading = points[best] - points[here] if best != here else heading
            here = best
    return np.unique(cell, return_inverse=True)[1].astype(np.int32) + 1
