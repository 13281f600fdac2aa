# SPDX-License-Identifier: GPL-3.0-or-later
"""Shell correlation along directions, and how evenly a set of views samples Fourier space."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .fsc import last_shell_above
from .maps import check_cube, forward_centred
from .shells import shell_radius
from .transform import half_plane_weights


def conical_fsc(first: Any, second: Any, directions: Any, half_angle_deg: float = 20.0) -> Any:
    """Return the Fourier shell correlation inside double cones, (n_directions, N // 2 + 1) float64.

    Terms within the angle of a direction or of its opposite count, and the mean (Tan et al., Nat.
    Methods 14, 793 (2017)). The coarsest shells have no term in some cones; there the correlation
    of the whole shell is given.

    Parameters
    ----------
    first, second : (N, N, N) float, masked as wanted.
    directions : (n_directions, 3) float, x y z, unit; those of a half sphere are enough.
    half_angle_deg : between 0 and 90; at 90 every curve is the common one.

    Raises
    ------
    ValueError
        If the shapes differ or the angle is out of bounds.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"maps to correlate must have one shape, but they are {first.shape} and {second.shape}"
        )
    if not 0.0 < half_angle_deg <= 90.0:
        raise ValueError(
            f"the half-angle of a cone must lie in (0, 90] degrees, but it is {half_angle_deg}"
        )
    xp, box = namespace_of(first, second, directions), check_cube(first)
    n_shells = box // 2 + 1
    radius = shell_radius(box, xp)
    shell = xp.rint(radius).astype(xp.int64)
    inside = shell < n_shells
    weights = xp.broadcast_to(half_plane_weights(box, xp), radius.shape)[inside]
    f, g = forward_centred(first)[inside], forward_centred(second)[inside]
    terms = [
        weights * values for values in ((f * g.conj()).real, xp.abs(f) ** 2.0, xp.abs(g) ** 2.0)
    ]
    shell, radius = shell[inside], radius[inside]
    unit = _frequency_vectors(box, xp)[inside] / xp.maximum(radius, 1.0)[:, None]
    lowest = np.cos(np.deg2rad(half_angle_deg)) - 1e-6
    curves = xp.zeros((len(directions), n_shells))
    common = _correlation(shell, terms, n_shells, xp)[0]
    for row, direction in enumerate(directions):
        in_cone = (xp.abs(unit @ direction.astype(unit.dtype)) >= lowest) | (shell == 0)
        curve, n_terms = _correlation(shell[in_cone], [t[in_cone] for t in terms], n_shells, xp)
        curves[row] = xp.where(n_terms > 0, curve, common)
    return curves


def conical_area_ratio(curves: Any, threshold: float = 0.143) -> float:
    """Return the smallest area below a directional curve over the largest: 1 is isotropic.

    The area ends where a curve first falls below the threshold. Modelled on the public description
    of cryoSPARC's cFAR (cones of 20 degrees; below 0.5 the map is anisotropic), without a claim to
    give the same digits. 0 if a direction is not resolved at all.

    Parameters
    ----------
    curves : (n_directions, N // 2 + 1) float, of `conical_fsc`.
    threshold : 0.143 for half maps.
    """
    areas = [float(curve[1 : last_shell_above(curve, threshold) + 1].sum()) for curve in curves]
    return min(areas) / max(areas) if max(areas) > 0.0 else 0.0


def slices_through(
    views: Any, directions: Any, *, radius_px: float = 50.0, weights: Any = None
) -> Any:
    """Return how many central slices pass within half a voxel of points on a shell, (m,) float64.

    The slice of view v holds the frequencies at right angles to v, so it passes through direction d
    at radius r if ``|d v| r < 1/2``.

    Parameters
    ----------
    views : (n, 3) float, unit
        `rotations.view_directions`, with those of all symmetry mates.
    directions : (m, 3) float, unit, evenly spread over the sphere or half of it.
    radius_px : r of the shell, Fourier pixels.
    weights : (n,) float; None counts every view once.
    """
    xp = namespace_of(views, directions)
    share = xp.ones(len(views)) if weights is None else weights.astype(xp.float64)
    counts = xp.zeros(len(directions))
    for row, direction in enumerate(directions):
        counts[row] = share[xp.abs(views @ direction) * radius_px < 0.5].sum()
    return counts


def sampling_compensation(counts: Any) -> float:
    """Return SCF*, how evenly views sample Fourier space: 1 is even, near 0 leaves much unseen.

    ``1 / SCF* = mean(s) [mean(1 / s) + f / (2 (1 - f))]``, s the counts, the mean of 1 / s over
    directions with any, f the share of those without (Baldwin and Lyumkis, Prog. Biophys. Mol.
    Biol. 160, 53 (2021), and their published program; below 0.81 views are called anisotropic).
    It depends a little on the radius, 50 px there, and on the number of views.

    Parameters
    ----------
    counts : (m,) float, of `slices_through`.
    """
    seen = counts[counts > 0.0]
    if len(seen) == 0:
        return 0.0
    unseen = 1.0 - len(seen) / len(counts)
    return float(1.0 / (counts.mean() * ((1.0 / seen).mean() + 0.5 * unseen / (1.0 - unseen))))


def _correlation(shell: Any, terms: Any, n_shells: int, xp: Any) -> tuple[Any, Any]:
    """Return the correlation of each shell, 0 without power, and its number of terms."""
    cross, power_f, power_g = (
        xp.bincount(shell, weights=values, minlength=n_shells) for values in terms
    )
    power = xp.sqrt(power_f * power_g)
    curve = xp.where(power > 0.0, cross / xp.where(power > 0.0, power, 1.0), 0.0)
    return curve, xp.bincount(shell, minlength=n_shells)


def _frequency_vectors(box_size_px: int, xp: Any) -> Any:
    """Return kx, ky, kz of half spectra, (N, N, N // 2 + 1, 3) float32, Fourier pixels."""
    k = xp.rint(xp.fft.fftfreq(box_size_px) * box_size_px).astype(xp.float32)
    k_x = xp.arange(box_size_px // 2 + 1, dtype=xp.float32)
    shape = (box_size_px, box_size_px, box_size_px // 2 + 1)
    along = (k_x, k[:, None], k[:, None, None])
    return xp.stack([xp.broadcast_to(axis, shape) for axis in along], axis=-1)
