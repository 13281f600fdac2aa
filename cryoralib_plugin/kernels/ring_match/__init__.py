# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotational matching of particles with references over shifts, in-plane angles and both hands.

The correlation of particle ``f`` and reference ``g`` on rings ``r`` of length ``L_r`` is

    C(phi) = sum_r 2 pi r / L_r sum_n g(r, theta_n + phi) f(r, theta_n)

(SPARX ``Crosrng_ms``); the mirrored hand uses ``g(r, -theta)``. One real matrix product per angular
harmonic gives the four sums from which both hands follow, and the inverse transform keeps the
peak height only, so that no table of correlations exists. The few candidates that rounding or the
harmonic cut-off could confuse are compared again, in float64 with the whole spectrum: winner,
angle and score do not depend on backend, batch or ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from cryoralib_plugin.arrays import device_of
from cryoralib_plugin.geometry.rigid2d import Poses2D

from . import cpu
from .plan import MatchPlan, shift_grid
from .references import ReferenceRings

__all__ = [
    "MatchPlan",
    "Matches",
    "ReferenceRings",
    "match_rings",
    "prepare_references",
    "shift_grid",
]


@dataclass(frozen=True)
class Matches:
    """Best match of each particle: arrays (n,), or (n, n_references) if kept for each reference.

    Attributes
    ----------
    reference : int32, index of the best reference.
    psi_deg : float64, in-plane rotation in [0, 360) degrees that follows the shift.
    shift_px : (..., 2) float64 x, y, pixels; moves the particle onto the reference.
    mirror : bool, mirrored in x after shift and rotation.
    score : float64, correlation at the peak.
    reference_scores : (n, n_references) float32, best peak height with every reference searched,
        within the error of the fast pass; minus infinity elsewhere.
    """

    reference: np.ndarray
    psi_deg: np.ndarray
    shift_px: np.ndarray
    mirror: np.ndarray
    score: np.ndarray
    reference_scores: np.ndarray

    @property
    def poses(self) -> Poses2D:
        """The poses of a match that keeps one reference for each particle."""
        return Poses2D(psi_deg=self.psi_deg, shift_px=self.shift_px, mirror=self.mirror)


def prepare_references(averages: Any, plan: MatchPlan, *, normalise: bool) -> ReferenceRings:
    """Return the rings and spectra of references.

    Parameters
    ----------
    averages : (n_references, N, N) float32 or float64.
    plan : the search; its rings are used.
    normalise : bring each reference to ring mean 0 and standard deviation 1, so that references
        of high variance do not attract particles.

    Raises
    ------
    ValueError
        If the averages are not square or the rings leave their frame.
    """
    _check_frame(averages, plan)
    from cryoralib_plugin.kernels.polar import resample_polar

    from .references import build_references, normalised

    host = averages.get() if device_of(averages=averages) == "cuda" else np.asarray(averages)
    samples = resample_polar(host, np.zeros((len(host), 2)), plan.rings)
    if normalise:
        samples = normalised(samples, plan.rings)
    return build_references(samples, plan.rings)


def match_rings(
    images: Any,
    shift_px: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    *,
    candidates: Optional[np.ndarray] = None,
    per_reference: bool = False,
) -> Matches:
    """Find reference, hand, shift and in-plane angle of the highest correlation.

    Parameters
    ----------
    images : (n, N, N) float32, rows then columns, on the host or on a CUDA device.
    shift_px : (n, 2) float64 x, y, pixels, on the host: shifts the search starts from.
    references : from :func:`prepare_references` with the same plan.
    candidates : (n, 2) integers, on the host: half-open range of references each particle may
        choose from; all by default.
    per_reference : keep the best match with every reference instead of the best of all.

    Returns
    -------
    Matches on the host. Ties go to the later reference, shift and angle and to the unmirrored
    hand, as in SPARX. Shifts whose outer ring would leave the frame are passed over.

    Raises
    ------
    ValueError
        If shapes do not fit or a starting shift takes the outer ring out of the frame.
    """
    _check_frame(images, plan)
    shift_px = np.ascontiguousarray(shift_px, dtype=np.float64)
    if shift_px.shape != (len(images), 2):
        raise ValueError(f"shift_px must have shape ({len(images)}, 2), but has {shift_px.shape}")
    room = images.shape[-1] // 2 - 1 - plan.rings.outer_radius_px
    worst = float(np.abs(shift_px).max()) if len(shift_px) else 0.0
    if not worst <= room + 1e-6:
        raise ValueError(
            f"starting shifts must stay within {room} px for an outer radius of "
            f"{plan.rings.outer_radius_px} px in a box of {images.shape[-1]} px, but one is "
            f"{worst:.3f} px: clamp the shifts or choose a smaller radius"
        )
    allowed = _candidate_ranges(candidates, len(images), references.n_references)
    if device_of(images=images) == "cuda":
        from . import cuda

        fields = cuda.match_rings(images, shift_px, references, plan, allowed, per_reference)
    else:
        fields = cpu.match_rings(images, shift_px, references, plan, allowed, per_reference)
    return Matches(*fields)


def _candidate_ranges(
    candidates: Optional[np.ndarray], n_images: int, n_references: int
) -> np.ndarray:
    """Return the checked (n, 2) int64 reference ranges."""
    if candidates is None:
        return np.tile(np.array([0, n_references], dtype=np.int64), (n_images, 1))
    ranges = np.ascontiguousarray(candidates, dtype=np.int64)
    if ranges.shape != (n_images, 2):
        raise ValueError(f"candidates must have shape ({n_images}, 2), but has {ranges.shape}")
    if n_images and not (
        ranges.min() >= 0 and ranges.max() <= n_references and (ranges[:, 0] < ranges[:, 1]).all()
    ):
        raise ValueError(f"candidate ranges must be non-empty and within 0 .. {n_references}")
    return ranges


def _check_frame(images: Any, plan: MatchPlan) -> None:
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images must have shape (n, N, N), but have {tuple(images.shape)}")
    box, radius = int(images.shape[-1]), plan.rings.outer_radius_px
    if radius > box // 2 - 1:
        raise ValueError(
            f"the outer radius must be at most {box // 2 - 1} px in a box of {box} px, "
            f"but it is {radius} px"
        )
