# SPDX-License-Identifier: GPL-3.0-or-later
"""The search over all rotations: one scan shared by all particles, then clouds that close in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, List, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.contract.plan3d import BEYOND_THE_SCAN, LARGEST_SCAN
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import angular_scale_deg
from cryoralib_plugin.geometry.rotations import normalise, to_matrices
from cryoralib_plugin.geometry.shift_grid import n_scan_shifts, scan_radius_px, scan_shifts
from cryoralib_plugin.geometry.so3_grid import scan_rotations, scan_size, spacing_deg
from cryoralib_plugin.geometry.symmetry import nearest_mates
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.kernels.random import normal, uniform
from cryoralib_plugin.kernels.score.scan import start_scan, update_scan

from .closing_in import Drawn, Scanned, remembered_points, shifted, turned
from .local_search import Proposal, Search, local_search, shift_prior
from .particle_data import ParticleData
from .pose_search import Piece, Reach, Start, among_remembered, best_of, looked_for
from .posterior import Posterior

_KEPT = 512
"""Heaviest rotations of a scan that are looked at again, beyond the cut-off of the scan."""

_NO_SHARE = 1e-12
"""Share of the mass of a scan below which shifts are told apart by where they are."""

_TRIED_STREAM = 2
"""Number of the first random stream of the moves of a scan."""

_SLICES_PER_BLOCK = 1024

_ROUNDS_BETWEEN_SCANS, _ROUNDS_BETWEEN_SCANS_OF_SETTLED = 2, 4
"""A particle that knows poses is scanned in one round of so many; its number decides in which."""


@dataclass(frozen=True)
class ScanSet:
    """The rotations and shifts every particle is compared with in a round.

    Attributes
    ----------
    rotations : (n_rotations, 4) float64, in the asymmetric unit, in pairs: see `scan_rotations`.
    shift_px : (n_shifts, 2) float64.
    tried_rotations, tried_shift_px : (n_rotations, 4) and (n_shifts, 2) float64
        Each of them moved at random by half a step: what particles try next of the heaviest.
        Moves go with the numbers: one more or less leaves the others where they are.
    cutoff_px : exclusive radius of the scan, at most that of the round.
    reach : distance of neighbours.
    """

    rotations: Any
    shift_px: Any
    tried_rotations: Any
    tried_shift_px: Any
    cutoff_px: int
    reach: Reach

    @property
    def n_in_all_rotations(self) -> int:
        """Rotations of the scan and all their mates."""
        return len(self.rotations) * len(self.reach.operators)

    def slices(self, volume: FourierVolume, band: FourierBand) -> Iterator[Tuple[int, Any]]:
        """Yield the slices of every second rotation in blocks, and the number of the first."""
        firsts = self.rotations[::2]
        for first in range(0, len(firsts), _SLICES_PER_BLOCK):
            block = to_matrices(firsts[first : first + _SLICES_PER_BLOCK])
            yield first, project(volume, block, band)


def make_scan_set(
    search: Search,
    *,
    box_size_px: int,
    diameter_px: float,
    cutoff_px: int,
    lowest_px: int,
    operators: np.ndarray,
) -> ScanSet:
    """Return the scan of a round, on the host; another turn of the same set in each round.

    Parameters
    ----------
    diameter_px : of the particle.
    cutoff_px, lowest_px : band of the round.
    operators : (order, 4) float64.
    """
    order = len(operators)
    settings = search.filter
    radius = cutoff_px
    while radius > lowest_px + 2 and (
        scan_size(box_size_px, diameter_px, radius, order) * order > LARGEST_SCAN
    ):
        radius -= 1
    fine = min(cutoff_px, round(BEYOND_THE_SCAN * radius))
    n_rotations = settings.n_scan_rotations or scan_size(box_size_px, diameter_px, radius, order)
    key = np.zeros(1, np.int64)
    turn = normalise(normal(search.seed, search.iteration, 0, key, 4)[0])
    angle = 2.0 * np.pi * uniform(search.seed, search.iteration, 1, key, 1)[0, 0]
    rotations = scan_rotations(n_rotations, operators, turn)
    # Of no consequence where nothing is shifted, but not 0.
    shifts, step_px = np.zeros((1, 2)), 1.0
    if settings.shift_std_px > 0.0:
        disk_px = scan_radius_px(settings.shift_std_px)
        density = settings.shift_density * (fine / box_size_px) ** 2
        shifts = scan_shifts(n_scan_shifts(disk_px, density), disk_px, angle)
        step_px = float(disk_px * np.sqrt(np.pi / len(shifts)))
    reach = Reach(operators, spacing_deg(n_rotations, order), step_px)
    steps, number = reach.steps(), np.arange(len(rotations))
    tried = turned(number, rotations[:, None], steps.rotation_deg, _TRIED_STREAM, search)
    number = np.arange(len(shifts))
    moved = shifted(number, shifts[:, None], steps.shift_px, _TRIED_STREAM + 1, search)
    return ScanSet(rotations, shifts, tried[:, 0], moved[:, 0], fine, reach)


def global_search(
    data: ParticleData,
    volume: FourierVolume,
    before: Proposal,
    cloud: Tuple[Any, Any],
    known: Any,
    doubtful: Any,
    scan_set: ScanSet,
    search: Search,
) -> Tuple[Posterior, Any]:
    """Return the posterior of the poses of n particles over all rotations, and their phases.

    The scan keeps many of the heaviest rotations of each particle; points drawn from them close in
    on the peaks by halves, while the cut-off grows to that of the round. Particles that have one
    pose are searched near it; the others keep all their poses, beside those of a scan. Those that
    know poses are not scanned in every round, unless they are doubtful: between scans their points
    close in from those they remember. A particle that had one pose leaves it only for one whose
    log-likelihood is higher by a margin. Spreads may still fall when a round ends: the next one
    goes on from there.

    Parameters
    ----------
    data : particles in the band of the round.
    volume : spectrum of the map.
    before : centre and spread of the clouds particles come with.
    cloud : their rotations (n, n_points, 4) and shifts (n, n_points, 2).
    known : (n,) bool, whether those say anything.
    doubtful : (n,) bool, which are scanned in every round.
    scan_set : rotations and shifts, on the device.
    search : shared settings.
    """
    xp = namespace_of(data.spectra)
    reach = scan_set.reach
    narrow = angular_scale_deg(before.rotation.ratio).max(axis=1) < reach.step_deg
    settled = known & narrow & ~doubtful
    turn = data.ids + search.iteration
    is_due = xp.where(
        settled, turn % _ROUNDS_BETWEEN_SCANS_OF_SETTLED == 0, turn % _ROUNDS_BETWEEN_SCANS == 0
    )
    pieces: List[Piece] = []
    rows = xp.flatnonzero(settled)
    if len(rows):
        local = local_search(data[rows], volume, before[rows], search, to_rest=False)
        pieces.append(Piece(rows, *local, xp.zeros(len(rows), dtype=bool)))
    last_px, n_local = data.band.highest_px, search.filter.n_local_rotations
    steps = reach.steps()
    remembers, is_scanned = known & ~settled, is_due | doubtful | ~known
    rows = xp.flatnonzero(is_scanned)
    if len(rows):
        scanned, best = _scanned_points(data[rows], volume, scan_set, search)
        for enriched in (False, True):
            some = xp.flatnonzero(remembers[rows] == enriched)
            chosen, first = rows[some], scanned[some]
            if not len(some):
                continue
            if enriched:
                mates = nearest_mates(cloud[0][chosen], best[some][:, None], reach.operators)
                first = remembered_points(
                    data[chosen].ids, mates, cloud[1][chosen], steps.halved(), search,
                    Scanned(first, scan_set.n_in_all_rotations, reach.step_px**-2),
                )  # fmt: skip
            sizes = (max(first.rotations.shape[1] // 2, n_local), n_local)
            radii = np.geomspace(scan_set.cutoff_px, last_px, len(sizes) + 2)[1:]
            radii_px = [int(radius) for radius in np.rint(radii)]
            start = Start(chosen, before[chosen], settled[chosen], first, sizes, radii_px, steps)
            pieces.append(looked_for(data[chosen], volume, start, reach, search))
    rows = xp.flatnonzero(remembers & ~is_scanned)
    if len(rows):
        pieces.append(among_remembered(data, volume, rows, before, cloud, reach, search))
    return best_of(pieces, len(data), search.filter.keep_pose_margin)


def _scanned_points(
    data: ParticleData, volume: FourierVolume, scan_set: ScanSet, search: Search
) -> Tuple[Drawn, Any]:
    """Return points near the heaviest rotations and shifts of a scan, all alike, and the best."""
    xp = namespace_of(data.spectra)
    settings = search.filter
    coarse = data.within(data.band.lowest_px, scan_set.cutoff_px)
    ones = xp.ones((len(data), 1))
    n_kept = max(settings.n_local_rotations, min(_KEPT, len(scan_set.rotations) // 2))
    scan = start_scan(
        coarse.whitened(ones), scan_set.shift_px, coarse.band, n_kept=n_kept,
        log_shift_weight=shift_prior(scan_set.shift_px, settings.shift_std_px),
    )  # fmt: skip
    for first, slices in scan_set.slices(volume, coarse.band):
        update_scan(scan, slices, first)
    # Mates of one pose on both sides of the border of the unit become one cloud.
    best = scan_set.rotations[xp.maximum(scan.best_rotation, 0)]
    # By number: the order of almost equal masses is a matter of rounding, which matrix products
    # of other sizes do otherwise.
    kept = xp.sort(scan.kept_rotation, axis=1)
    rotations = nearest_mates(
        scan_set.tried_rotations[xp.maximum(kept, 0)], best[:, None], scan_set.reach.operators
    )
    rows = _heavy_shifts(scan.shift_mass, scan_set, settings.n_shifts_each)
    # All that was kept is looked at once, whatever its mass.
    even = xp.where(kept >= 0, 0.0, -xp.inf)
    return Drawn(rotations, scan_set.tried_shift_px[rows], even, xp.zeros(rows.shape)), best


def _heavy_shifts(mass: Any, scan_set: ScanSet, n_shifts: int) -> Any:
    """Return the numbers of the heaviest shifts, (n, n_shifts) at most, by number.

    Below a share of 1e-12 of the mass, the nearer to the heaviest the better.
    """
    xp = namespace_of(mass)
    whole = mass.sum(axis=1, keepdims=True)
    share = mass / xp.where(whole > 0.0, whole, 1.0)
    heaviest = scan_set.shift_px[mass.argmax(axis=1)]
    apart = ((scan_set.shift_px - heaviest[:, None]) ** 2).sum(axis=-1) / scan_set.reach.step_px**2
    order = xp.argsort(-(share + _NO_SHARE / (1.0 + apart)), axis=1)
    return xp.sort(order[:, :n_shifts], axis=1)
