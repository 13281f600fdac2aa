# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps as surfaces: the level to draw them at, and a script that opens them in ChimeraX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .style import BLUE, CYCLE, GREY, ORANGE

_BINS = 256
_NOISE_STDS = 3.0
MASK_LEVEL = 0.5


@dataclass(frozen=True)
class Surface:
    """A map file and how it is drawn.

    Parameters
    ----------
    path : as the script names it
    name : in ChimeraX's list of models
    level : of the surface, in units of the map
    colour : #rrggbb
    opacity : percent
    shown : False for what is opened but hidden
    """

    path: str
    name: str
    level: float
    colour: str = GREY
    opacity: int = 100
    shown: bool = True


def contour_level(volume: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return a level that shows the molecule and not the noise round it.

    Voxels inside the mask, or inside the inscribed sphere, are parted into dark and bright ones so
    that the variance between the two is largest (Otsu, IEEE Trans. Syst. Man Cybern. 9, 62
    (1979)); the level is at least three standard deviations of the voxels outside.

    Parameters
    ----------
    volume : (N, N, N) float
    mask : (N, N, N) float, between 0 and 1; None where there is none
    """
    inside = _sphere(volume.shape[0]) if mask is None or not (mask >= 0.5).any() else mask >= 0.5
    values = volume[inside & np.isfinite(volume)]
    if values.size == 0 or values.max() <= values.min():
        return float(values.max()) if values.size else 0.0
    counts, edges = np.histogram(values, _BINS)
    centres = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)
    mean_below = np.cumsum(counts * centres)
    above, total = below[-1] - below, mean_below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mean_below / below - (total - mean_below) / above) ** 2
    level = float(edges[1:][np.nanargmax(between)])
    outside = volume[~inside & np.isfinite(volume)]
    noise = _NOISE_STDS * float(outside.std()) + float(outside.mean()) if outside.size else level
    return min(max(level, noise), float(values.max()))


def surfaces_of_class(
    number: int, paths: dict[str, str], levels: dict[str, float]
) -> list[Surface]:
    """Return merged map, half maps and mask of a class; the merged map is shown, the rest hidden.

    Parameters
    ----------
    paths, levels : "merged", "half1", "half2" and "mask" to file and level; what is absent is left
        out
    """
    colour = CYCLE[(number - 1) % len(CYCLE)]
    looks = {
        "merged": (f"class {number}", colour, 100, True),
        "half1": (f"class {number} half 1", BLUE, 60, False),
        "half2": (f"class {number} half 2", ORANGE, 60, False),
        "mask": (f"class {number} mask", GREY, 30, False),
    }
    return [
        Surface(paths[part], name, levels[part], colour, opacity, shown)
        for part, (name, colour, opacity, shown) in looks.items()
        if part in paths and part in levels
    ]


def chimerax_script(surfaces: Sequence[Surface], title: str) -> str:
    """Return commands of ChimeraX (.cxc) that open the maps at their levels.

    ChimeraX runs a script in the script's folder, so `Surface.path` may be relative to that.
    Several shown maps stand side by side.
    """
    lines = [f"# {title}: open this file in ChimeraX, or: chimerax FILE.cxc", "close session"]
    for place, surface in enumerate(surfaces, start=1):
        lines += [
            f'open "{surface.path}" name "{surface.name}"',
            f"volume #{place} style surface step 1 level {surface.level:.6g} color "
            f"{surface.colour}",
        ]
        if surface.opacity < 100:
            lines.append(f"transparency #{place} {100 - surface.opacity} target s")
        if not surface.shown:
            lines.append(f"hide #{place} models")
    shown = [place for place, surface in enumerate(surfaces, start=1) if surface.shown]
    if len(shown) > 1:
        lines.append(f"tile #{','.join(map(str, shown))}")
    lines += ["set bgColor white", "lighting soft", "graphics silhouettes true", "view"]
    return "\n".join(lines) + "\n"


def _sphere(box: int) -> np.ndarray:
    z, y, x = (np.arange(box) - box // 2 for _ in range(3))
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= (box // 2) ** 2
