# SPDX-License-Identifier: GPL-3.0-or-later
"""The shift schedule of a 2D program and the radius that fits into the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Tuple

from cryoralib_plugin.contract._param import ConfigError, parse_numbers


@dataclass(frozen=True)
class ShiftStage:
    """Shifts that are compared in one stage: within +-range of the present one, every step."""

    range_x_px: float
    range_y_px: float
    step_px: float


def shift_stages(search: Any) -> Tuple[ShiftStage, ...]:
    """Return the stages of a search group, first to last; one-value lists hold for every stage.

    Raises
    ------
    ConfigError
        If the lists differ in length.
    """
    range_x = parse_numbers(search.shift_range_px)
    range_y = parse_numbers(search.shift_range_y_px) or range_x
    step = parse_numbers(search.shift_step_px)
    lists = {"shift_range_px": range_x, "shift_range_y_px": range_y, "shift_step_px": step}
    n_stages = max(len(values) for values in lists.values())
    for name, values in lists.items():
        if len(values) not in (1, n_stages):
            raise ConfigError(
                f"{name} has {len(values)} values, but the schedule has {n_stages} stages: "
                f"give one value, or {n_stages}"
            )

    def spread(values: Tuple[float, ...]) -> Tuple[float, ...]:
        return values if len(values) == n_stages else values * n_stages

    return tuple(map(ShiftStage, spread(range_x), spread(range_y), spread(step)))


def outer_radius(search: Any, box_size_px: int) -> int:
    """Return the radius of the outermost ring in pixels; a radius of 0 means as large as fits.

    Raises
    ------
    ConfigError
        If the circle, moved by the largest shift, would leave the box (SPARX: radius + shift
        <= (N - 1) // 2).
    """
    largest = max(max(stage.range_x_px, stage.range_y_px) for stage in shift_stages(search))
    radius = search.outer_radius_px
    if radius == 0:
        radius = int(box_size_px // 2 - 2 - largest)
        if radius < search.inner_radius_px:
            raise ConfigError(
                f"a box of {box_size_px} px has no room for a particle and shifts of "
                f"{largest:g} px: lower shift_range_px or use a larger box"
            )
    room = (box_size_px - 1) // 2
    if radius + largest > room:
        raise ConfigError(
            f"outer_radius_px ({radius}) plus the largest shift ({largest:g} px) must be at most "
            f"{room} px in a box of {box_size_px} px: lower one of them"
        )
    return radius


def stage_problems(search: Any) -> List[str]:
    """Sentences on a schedule or radii that contradict each other, whatever the box."""
    problems = []
    try:
        shift_stages(search)
    except ConfigError as error:
        problems.append(str(error))
    if 0 < search.outer_radius_px < search.inner_radius_px:
        problems.append(
            f"outer_radius_px ({search.outer_radius_px}) must not be below inner_radius_px "
            f"({search.inner_radius_px})"
        )
    return problems
