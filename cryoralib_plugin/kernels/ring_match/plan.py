# SPDX-License-Identifier: GPL-3.0-or-later
"""What is searched: rings, shifts and hands, and the tables both twins derive from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cryoralib_plugin.geometry.rings import RingLayout


def shift_grid(range_x_px: float, range_y_px: float, step_px: float) -> np.ndarray:
    """Return (n_shifts, 2) float64 increments of the particle's shift, x and y, in scan order.

    The grid is symmetric about zero with ``int(range / step)`` steps on each side. The order is
    that of SPARX, whose window moves over the image with y in the outer loop: an increment of
    the shift is the opposite of the window's move.

    Raises
    ------
    ValueError
        If the step is not positive or a range is negative.
    """
    if step_px <= 0:
        raise ValueError(f"the shift step must be above 0 px, but it is {step_px} px")
    if range_x_px < 0 or range_y_px < 0:
        raise ValueError(
            f"shift ranges must not be negative, but are {range_x_px} and {range_y_px} px"
        )
    n_x, n_y = (int(extent / step_px + 1e-6) for extent in (range_x_px, range_y_px))
    window = [
        (ix * step_px, iy * step_px) for iy in range(-n_y, n_y + 1) for ix in range(-n_x, n_x + 1)
    ]
    return -np.array(window, dtype=np.float64)


@dataclass(frozen=True)
class MatchPlan:
    """The search of one ring matching.

    Attributes
    ----------
    rings : rings on which particles and references are compared.
    shift_grid_px : (n_shifts, 2) float64 x, y, pixels; added to each particle's shift in turn.
    mirror : compare the mirrored hand too.
    normalise_rings : bring the rings of each particle and shift to mean 0 and standard deviation
        1, weighted by area (SPARX ``Normalize_ring``).
    refine_shift : refine the winning shift below the grid step by a parabola through the
        neighbouring peak heights, then sample once more there.
    """

    rings: RingLayout
    shift_grid_px: np.ndarray
    mirror: bool = True
    normalise_rings: bool = True
    refine_shift: bool = False

    @property
    def n_shifts(self) -> int:
        """Number of shifts that are compared."""
        return len(self.shift_grid_px)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """(n_shifts, 4) int32: index of the next shift in -x, +x, -y, +y, or -1 at the border."""
        keys = {tuple(np.round(shift, 6) + 0.0): i for i, shift in enumerate(self.shift_grid_px)}
        step = self.step_px
        table = np.full((self.n_shifts, 4), -1, dtype=np.int32)
        moves = ((-step, 0.0), (step, 0.0), (0.0, -step), (0.0, step))
        for i, shift in enumerate(self.shift_grid_px):
            for side, move in enumerate(moves):
                table[i, side] = keys.get(tuple(np.round(shift + move, 6) + 0.0), -1)
        return table

    @cached_property
    def step_px(self) -> float:
        """Smallest distance between two grid shifts along an axis, pixels; 1 for a single shift."""
        gaps = np.concatenate([np.diff(np.unique(self.shift_grid_px[:, axis])) for axis in (0, 1)])
        gaps = gaps[gaps > 1e-6]
        return float(gaps.min()) if len(gaps) else 1.0

    @cached_property
    def tiles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shifts grouped so that one set of bilinear weights serves a whole rectangle of them.

        Window positions that differ by whole pixels share their fractions. Returns the fractions
        (n_tiles, 2) float64; first column, first row, width, height and first lane
        (n_tiles, 5) int64; and the lane of each shift (n_shifts,) int64.
        """
        window = -self.shift_grid_px
        whole = np.floor(window + 1e-9)
        fraction = np.round(window - whole, 9)
        groups: dict[tuple[float, float], list[int]] = {}
        for i, key in enumerate(map(tuple, fraction)):
            groups.setdefault(key, []).append(i)
        fractions, boxes = [], []
        lane_of_shift = np.zeros(len(window), dtype=np.int64)
        lane = 0
        for key, members in groups.items():
            filled = len(members) == np.prod(np.ptp(whole[members], axis=0) + 1)
            for rectangle in [members] if filled else [[i] for i in members]:
                corner = whole[rectangle].min(axis=0)
                width, height = (np.ptp(whole[rectangle], axis=0) + 1).astype(int)
                offset = (whole[rectangle] - corner).astype(int)
                lane_of_shift[rectangle] = lane + offset[:, 1] * width + offset[:, 0]
                fractions.append(key)
                boxes.append((int(corner[0]), int(corner[1]), width, height, lane))
                lane += len(rectangle)
        return np.array(fractions), np.array(boxes, dtype=np.int64), lane_of_shift
