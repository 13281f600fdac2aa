# SPDX-License-Identifier: GPL-3.0-or-later
"""How a map's resolution depends on direction, from its half maps and the views behind it."""

from __future__ import annotations

from typing import Dict, Optional

import numpy as np
import pandas as pd

from cryoralib_plugin.contract.results import ANISOTROPY_COLUMNS, DIRECTIONAL_FSC_COLUMNS
from cryoralib_plugin.figures import DirectionalFsc, RefinedParticles, RoundResults
from cryoralib_plugin.fourier.directional_fsc import (
    conical_area_ratio,
    conical_fsc,
    sampling_compensation,
    slices_through,
)
from cryoralib_plugin.fourier.maps import resample_volume
from cryoralib_plugin.geometry.directions import directions_of_pixels
from cryoralib_plugin.geometry.rotations import from_euler, multiply, view_directions
from cryoralib_plugin.geometry.symmetry import symmetry_operators

from .collect3d import ClassMaps

_CONE_N_SIDE, _SAMPLING_N_SIDE = 4, 8
_MOST_VIEWS = 10_000
"""As many particles as the published limit of SCF* was found with."""

_LEAST_BOX_PX = 64
_BEYOND = 1.5
"""Shells are compared to so many times the cut-off; beyond are noise and time."""


def directional(maps: ClassMaps, results: RoundResults, number: int) -> Optional[DirectionalFsc]:
    """Return the directional correlation of a class; None where a half map is missing."""
    if maps.half1 is None or maps.half2 is None:
        return None
    box = _box_needed(results)
    mask = 1.0 if maps.mask is None else maps.mask
    first, second = (resample_volume(half * mask, box) for half in (maps.half1, maps.half2))
    directions = half_sphere(_CONE_N_SIDE)
    curves = conical_fsc(first, second, directions)
    # The Nyquist shell of the smaller box is not whole.
    shells = np.arange(1, box // 2 if box < results.box_size_px else box // 2 + 1)
    return DirectionalFsc(
        directions=directions,
        frequency_inv_angst=shells / (results.box_size_px * results.pixel_size_angst),
        curves=curves[:, shells],
        area_ratio=conical_area_ratio(curves),
        sampling=_sampling(results.particles, number, results.symmetry),
    )


def half_sphere(n_side: int) -> np.ndarray:
    """Return centres of HEALPix pixels, (6 n_side^2, 3), one of each pair of opposite ones."""
    directions = directions_of_pixels(n_side)
    x, y, z = np.round(directions, 9).T
    return directions[(z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x > 0))))]


def directional_frame(found: Dict[int, DirectionalFsc]) -> pd.DataFrame:
    """Return directional correlations as a table, `contract.results.DIRECTIONAL_FSC_COLUMNS`."""
    parts = []
    for number, one in found.items():
        n_directions, n_shells = one.curves.shape
        x, y, z = one.directions.T
        columns = (
            np.full(one.curves.size, number),
            np.repeat(np.rad2deg(np.arctan2(y, x)), n_shells),
            np.repeat(np.rad2deg(np.arccos(np.clip(z, -1.0, 1.0))), n_shells),
            np.tile(np.arange(1, n_shells + 1), n_directions),
            one.curves.ravel(),
        )
        parts.append(pd.DataFrame(dict(zip(DIRECTIONAL_FSC_COLUMNS, columns))))
    return pd.concat(parts).round(4)


def anisotropy_frame(found: Dict[int, DirectionalFsc]) -> pd.DataFrame:
    """Return cFAR and SCF* of the classes, `contract.results.ANISOTROPY_COLUMNS`."""
    rows = [(number, one.area_ratio, one.sampling) for number, one in found.items()]
    return pd.DataFrame(rows, columns=list(ANISOTROPY_COLUMNS)).round(4)


def _box_needed(results: RoundResults) -> int:
    """The even box that holds the shells to be compared, at most that of the maps."""
    if not np.isfinite(results.cutoff_px):
        return results.box_size_px
    box = 2 * int(np.ceil(_BEYOND * results.cutoff_px)) + 4
    return min(results.box_size_px, max(box, _LEAST_BOX_PX))


def _sampling(particles: Optional[RefinedParticles], number: int, symmetry: str) -> float:
    """SCF* of the members of a class at all their symmetry mates."""
    if particles is None:
        return float("nan")
    own = (particles.number == number) & np.isfinite(particles.tilt_deg + particles.rot_deg)
    rows = np.flatnonzero(own)
    if len(rows) == 0:
        return float("nan")
    rows = rows[:: -(-len(rows) // _MOST_VIEWS)]
    rotations = from_euler(particles.rot_deg[rows], particles.tilt_deg[rows], np.zeros(len(rows)))
    operators = symmetry_operators(symmetry)
    views = view_directions(multiply(operators[:, None], rotations[None])).reshape(-1, 3)
    return sampling_compensation(slices_through(views, half_sphere(_SAMPLING_N_SIDE)))
