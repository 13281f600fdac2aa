# SPDX-License-Identifier: GPL-3.0-or-later
"""Every style of RELION's particle files brought to one: particles with optics groups (3.1).

RELION 3.1 and later keep pixel size, voltage, Cs and amplitude contrast per optics group; 3.0 and
earlier repeat them in every row, shifts are in pixels, and the pixel size may be told only as
detector pixel (um) over magnification.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional, Tuple

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels

_OF_THE_GROUP = (
    labels.VOLTAGE,
    labels.SPHERICAL_ABERRATION,
    labels.AMPLITUDE_CONTRAST,
    labels.IMAGE_PIXEL_SIZE,
)
_OLD_PIXEL_SIZE = (labels.MAGNIFICATION, labels.DETECTOR_PIXEL_SIZE)
_UM_IN_ANGST = 1e4
_LARGEST_SPREAD = 1e-3
_OPTICS = "optics"


def split_blocks(path: Path, blocks: Mapping[str, object]) -> Tuple[pd.DataFrame, pd.DataFrame]:
    """Return (particles, optics) of a particle file in the style of RELION 3.1.

    Raises
    ------
    ValueError
        No table with rlnImageName; no particles; an optics group that is not listed.
    """
    tables = {name: block for name, block in blocks.items() if isinstance(block, pd.DataFrame)}
    found = [name for name in tables if name != _OPTICS and labels.IMAGE_NAME in tables[name]]
    if not found:
        raise ValueError(
            f"STAR file {path} has no table with the column {labels.IMAGE_NAME}; it must list "
            "particle images, not micrographs, models or coordinates"
        )
    particles = tables["particles" if "particles" in found else found[0]]
    if len(particles) == 0:
        raise ValueError(f"STAR file {path} holds zero particles")
    optics = tables.get(_OPTICS)
    if optics is None and isinstance(blocks.get(_OPTICS), Mapping):
        optics = _frame_of_pairs(blocks[_OPTICS])  # type: ignore[arg-type]
    if optics is None:
        particles, optics = _make_groups(particles)
    else:
        _check_groups(path, particles, optics)
        if labels.OPTICS_GROUP not in particles:
            particles = particles.assign(**{labels.OPTICS_GROUP: optics[labels.OPTICS_GROUP][0]})
    return _shifts_in_angst(particles, optics), optics


def _frame_of_pairs(pairs: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame([dict(pairs)])
    for name in frame.columns:
        if name in labels.COLUMNS and labels.COLUMNS[name].kind is not str:
            frame[name] = pd.to_numeric(frame[name])
    return frame


def _check_groups(path: Path, particles: pd.DataFrame, optics: pd.DataFrame) -> None:
    if labels.OPTICS_GROUP not in optics:
        raise ValueError(f"block data_optics of {path} lacks the column {labels.OPTICS_GROUP}")
    known = optics[labels.OPTICS_GROUP]
    if known.duplicated().any():
        raise ValueError(f"block data_optics of {path} lists an optics group twice")
    if labels.OPTICS_GROUP not in particles:
        if len(optics) != 1:
            raise ValueError(
                f"{path} has {len(optics)} optics groups, but its particles lack the column "
                f"{labels.OPTICS_GROUP}: nobody knows which is whose"
            )
        return
    unknown = particles.loc[~particles[labels.OPTICS_GROUP].isin(known), labels.OPTICS_GROUP]
    if len(unknown):
        raise ValueError(
            f"row {unknown.index[0] + 1} of {path} is of optics group {unknown.iloc[0]}, which "
            "block data_optics does not list"
        )


def _make_groups(particles: pd.DataFrame) -> Tuple[pd.DataFrame, pd.DataFrame]:
    particles = particles.reset_index(drop=True)
    pixel_size = _old_pixel_size(particles)
    if pixel_size is not None:
        particles[labels.IMAGE_PIXEL_SIZE] = pixel_size
    keys = [name for name in _OF_THE_GROUP if name in particles]
    if keys:
        optics = particles[keys].drop_duplicates().reset_index(drop=True)
        optics.insert(0, labels.OPTICS_GROUP, np.arange(1, len(optics) + 1))
        group = particles[keys].merge(optics, on=keys, how="left")[labels.OPTICS_GROUP].to_numpy()
    else:
        optics = pd.DataFrame({labels.OPTICS_GROUP: [1]})
        group = np.ones(len(particles), np.int64)
    names = [f"opticsGroup{number}" for number in optics[labels.OPTICS_GROUP]]
    optics.insert(1, labels.OPTICS_GROUP_NAME, names)
    dropped = [name for name in (*keys, *_OLD_PIXEL_SIZE, labels.PIXEL_SIZE) if name in particles]
    return particles.drop(columns=dropped).assign(**{labels.OPTICS_GROUP: group}), optics


def _old_pixel_size(particles: pd.DataFrame) -> Optional[pd.Series]:
    for name in (labels.IMAGE_PIXEL_SIZE, labels.PIXEL_SIZE):
        if name in particles:
            return particles[name]
    if all(name in particles for name in _OLD_PIXEL_SIZE):
        magnification = particles[labels.MAGNIFICATION]
        if (magnification <= 0).any():
            raise ValueError(f"column {labels.MAGNIFICATION} must be positive, but a row is not")
        return particles[labels.DETECTOR_PIXEL_SIZE] * _UM_IN_ANGST / magnification
    return None


def _shifts_in_angst(particles: pd.DataFrame, optics: pd.DataFrame) -> pd.DataFrame:
    old = {
        labels.ORIGIN_X_PX: labels.ORIGIN_X_ANGST,
        labels.ORIGIN_Y_PX: labels.ORIGIN_Y_ANGST,
    }
    present = [name for name in old if name in particles]
    if not present:
        return particles
    if labels.IMAGE_PIXEL_SIZE in optics:
        pixel_size = value_of_group(particles, optics, labels.IMAGE_PIXEL_SIZE)
        new = {
            old[name]: particles[name].to_numpy(np.float64) * pixel_size
            for name in present
            if old[name] not in particles
        }
        particles = particles.assign(**new)
    elif (particles[present] != 0).to_numpy().any():
        raise ValueError(
            f"shifts are given in pixels ({present[0]}) but the file does not tell the pixel size: "
            f"add {labels.MAGNIFICATION} and {labels.DETECTOR_PIXEL_SIZE}"
        )
    return particles.drop(columns=present)


def value_of_group(particles: pd.DataFrame, optics: pd.DataFrame, name: str) -> np.ndarray:
    """Return a number of the optics group for every particle, (n,) float64."""
    by_group = optics.set_index(labels.OPTICS_GROUP)[name].astype(np.float64)
    return np.asarray(by_group.reindex(particles[labels.OPTICS_GROUP]))


def common_pixel_size(optics: pd.DataFrame) -> float:
    """Return the pixel size of all optics groups, angst; 0 where the file does not tell it.

    Raises
    ------
    ValueError
        If the groups differ by more than 0.1 % or one is not positive.
    """
    if labels.IMAGE_PIXEL_SIZE not in optics:
        return 0.0
    sizes = optics[labels.IMAGE_PIXEL_SIZE].to_numpy(np.float64)
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(
            f"pixel sizes must be positive, but {labels.IMAGE_PIXEL_SIZE} holds {sizes.min()}"
        )
    if sizes.max() - sizes.min() > _LARGEST_SPREAD * sizes.min():
        raise ValueError(
            "all particles must have one pixel size, but the optics groups have "
            f"{', '.join(f'{size:g}' for size in np.unique(sizes))} A: extract or rescale the "
            "particles to one pixel size first"
        )
    return float(sizes[0])
