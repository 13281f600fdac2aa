# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan of rotations common to all particles, streamed: memory does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.kernels._dispatch import twin_of

from . import WhitenedParticles, matched_filters, real_planes


@dataclass(frozen=True)
class Scan:
    """State of the scan of n particles; :func:`update_scan` changes its arrays.

    With w_T the prior weight of shifts and l(i, j) the log-likelihood, the *mass* of rotation i is
    ``sum_j w_T(j) exp l(i, j)``. Sums are kept relative to ``exp(offset)``, the largest term so
    far, so that nothing overflows.

    Attributes
    ----------
    filters : (n, n_shifts, 2, n_terms) float32, real and imaginary parts of the matched filters.
    ctf_power : (n, n_terms) float32, C^2.
    log_shift_weight : (n_shifts,) float32, log w_T, sum of w_T = 1.
    offset : (n,) float64.
    shift_mass : (n, n_shifts) float64, ``w_T(j) sum_i exp(l(i, j) - offset)``.
    kept_log_mass : (n, n_kept) float32, falling; log of the masses of the heaviest rotations.
    kept_rotation : (n, n_kept) int64, their numbers; -1 where there are none yet.
    kept_shift : (n, n_kept) int32, the likeliest shift at each.
    best_score : (n,) float32, the largest log-likelihood of all, and where it is:
    best_rotation : (n,) int64.
    best_shift : (n,) int32.
    """

    filters: Any
    ctf_power: Any
    log_shift_weight: Any
    offset: Any
    shift_mass: Any
    kept_log_mass: Any
    kept_rotation: Any
    kept_shift: Any
    best_score: Any
    best_rotation: Any
    best_shift: Any

    def log_evidence(self) -> Any:
        """Return the log of the sum of all masses, (n,) float64: the normaliser."""
        xp = namespace_of(self.offset)
        return self.offset + xp.log(self.shift_mass.sum(axis=1))


def start_scan(
    particles: WhitenedParticles,
    shift_px: Any,
    band: FourierBand,
    *,
    n_kept: int,
    log_shift_weight: Optional[Any] = None,
) -> Scan:
    """Return the state before any rotation has been seen.

    It holds one matched filter for every particle and shift: ``8 n n_shifts n_terms`` bytes.

    Parameters
    ----------
    particles : n of them, with one defocus each.
    shift_px : (n_shifts, 2) float, x and y, pixels; the same for all particles.
    band : the terms.
    n_kept : heaviest rotations to remember for each particle.
    log_shift_weight : (n_shifts,) float, log of prior weights up to a constant; equal by default.

    Raises
    ------
    ValueError
        If shapes do not fit, or there is more than one defocus, or nothing to keep.
    """
    xp = namespace_of(particles.spectra, shift_px)
    n, n_terms = particles.spectra.shape
    if tuple(particles.ctf.shape) != (n, 1, n_terms):
        raise ValueError(
            f"a scan takes one defocus: ctf must have shape ({n}, 1, {n_terms}), but has "
            f"{tuple(particles.ctf.shape)}"
        )
    if shift_px.ndim != 2 or shift_px.shape[1] != 2 or not shift_px.shape[0]:
        raise ValueError(f"shift_px must have shape (n_shifts, 2), but has {shift_px.shape}")
    if n_kept < 1:
        raise ValueError(f"at least one rotation must be kept, but n_kept is {n_kept}")
    n_shifts = shift_px.shape[0]
    if log_shift_weight is None:
        log_shift_weight = xp.zeros(n_shifts)
    if tuple(log_shift_weight.shape) != (n_shifts,):
        raise ValueError(
            f"log_shift_weight must have shape ({n_shifts},), but has "
            f"{tuple(log_shift_weight.shape)}"
        )
    weight = log_shift_weight.astype(xp.float64) - log_shift_weight.max()
    weight = weight - xp.log(xp.exp(weight).sum())
    filters = matched_filters(particles, shift_px, band)
    return Scan(
        filters=real_planes(filters[:, :, 0]),
        ctf_power=particles.ctf[:, 0] * particles.ctf[:, 0],
        log_shift_weight=weight.astype(xp.float32),
        offset=xp.full(n, -np.inf),
        shift_mass=xp.zeros((n, n_shifts)),
        kept_log_mass=xp.full((n, n_kept), -np.inf, dtype=xp.float32),
        kept_rotation=xp.full((n, n_kept), -1, dtype=xp.int64),
        kept_shift=xp.full((n, n_kept), -1, dtype=xp.int32),
        best_score=xp.full(n, -np.inf, dtype=xp.float32),
        best_rotation=xp.full(n, -1, dtype=xp.int64),
        best_shift=xp.full(n, -1, dtype=xp.int32),
    )


def update_scan(scan: Scan, slices: Any, first_slice: int) -> None:
    """Compare every particle with a block of slices at every shift; the state takes it in.

    A slice stands for two rotations: slice i is that of rotation 2 i, and its complex conjugate
    that of rotation 2 i + 1, half a turn further in the plane. With a + b i a matched filter and
    c + d i a slice, their scores come from ``a c + b d`` and ``a c - b d``: real matrix products
    (twice n n_shifts x n_terms x n_slices, and n x n_terms x n_slices for the penalty they share),
    half of what the rotations would take one by one, and one pass over the scores while they are
    near.

    Parameters
    ----------
    scan : changed in place.
    slices : (n_slices, n_terms) complex64, on the scan's device.
    first_slice : number of the block's first slice; the others follow.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If arrays live on different devices.
    """
    xp = namespace_of(slices)
    n_terms = scan.filters.shape[3]
    if slices.ndim != 2 or slices.shape[1] != n_terms:
        raise ValueError(
            f"slices must have shape (n_slices, {n_terms}), but have {tuple(slices.shape)}"
        )
    twin = twin_of("cryoralib_plugin.kernels.score", slices=slices, scan=scan.filters)
    if slices.shape[0] and scan.filters.shape[0]:
        twin.update(scan, xp.ascontiguousarray(slices, dtype=xp.complex64), int(first_slice))
