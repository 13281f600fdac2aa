# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps and masks from files, in the box and the pixels of the particles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Tuple, Union

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.fourier.maps import resample_volume, resize_box
from cryoralib_plugin.fourier.masks3d import check_mask
from cryoralib_plugin.fourier.shells import lowpass_volume
from cryoralib_plugin.geometry.map_symmetry import symmetry_agreement
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.io.volume import read_volume

logger = logging.getLogger(__name__)
PathLike = Union[str, Path]

SAME_VOXEL = 1e-3
"""Relative difference of voxel sizes that counts as none: headers are rounded."""

_LARGEST_PADDING = 64
_SYMMETRY_BOX_PX = 48
_LOWEST_AGREEMENT = 0.8


def check_map(path: PathLike, box_size_px: int, pixel_size_angst: float) -> None:
    """Refuse a file that cannot be brought to a box and pixels; see :func:`read_map`."""
    volume, voxel_size = read_volume(path)
    _voxel_size(path, volume, voxel_size, box_size_px, pixel_size_angst)


def check_mask_file(path: PathLike, box_size_px: int, pixel_size_angst: float) -> None:
    """Refuse a file that cannot serve as a mask; see :func:`read_mask`."""
    mask, voxel_size = read_volume(path)
    _check_values(path, mask)
    _voxel_size(path, mask, voxel_size, box_size_px, pixel_size_angst)


def read_map(path: PathLike, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    """Return a map in the box and the pixels of the particles, (N, N, N) float32.

    What had to be changed is logged. A map that is smaller than the box is surrounded by its own
    solvent level, which becomes 0.

    Raises
    ------
    ValueError
        If the file holds no map, or does not tell its voxel size and has another box.
    """
    volume, voxel_size = read_volume(path)
    told = _voxel_size(path, volume, voxel_size, box_size_px, pixel_size_angst)
    if told != voxel_size:
        logger.warning(
            "%s does not tell its voxel size: %.4g A, that of the particles, is assumed", path, told
        )
    if len(volume) * told < box_size_px * pixel_size_angst:
        volume = volume - np.float32(_level_of_faces(volume))
    return _fitted(path, volume, told, box_size_px, pixel_size_angst)


def read_mask(path: PathLike, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    """Return a mask in the box and the pixels of the particles, (N, N, N) float32 in [0, 1].

    Raises
    ------
    ValueError
        If values lie outside [0, 1] or are all 0, or the file cannot be fitted.
    """
    mask, voxel_size = read_volume(path)
    _check_values(path, mask)
    told = _voxel_size(path, mask, voxel_size, box_size_px, pixel_size_angst)
    return np.clip(_fitted(path, mask, told, box_size_px, pixel_size_angst), 0.0, 1.0)


def warn_of_symmetry(
    volume: np.ndarray, symmetry: str, pixel_size_angst: float, resolution_angst: float
) -> None:
    """Say so if a map, filtered to a resolution, does not have the symmetry it should have."""
    operators = symmetry_operators(symmetry)
    if len(operators) == 1:
        return
    smooth = lowpass_volume(volume.astype(np.float64), pixel_size_angst, resolution_angst)
    agreement = symmetry_agreement(
        resample_volume(smooth, min(len(volume), _SYMMETRY_BOX_PX)), operators
    )
    if agreement < _LOWEST_AGREEMENT:
        logger.warning(
            "the initial map correlates with itself turned by symmetry %s by %.2f only, where 1 is "
            "perfect: it has another symmetry, other axes (RELION's are expected) or another "
            "centre; turn it into the setting of %s, or set symmetry to C1",
            symmetry, agreement, symmetry,
        )  # fmt: skip


def _check_values(path: PathLike, mask: np.ndarray) -> None:
    try:
        check_mask(mask, len(mask))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _voxel_size(
    path: PathLike,
    volume: np.ndarray,
    voxel_size_angst: float,
    box_size_px: int,
    pixel_size_angst: float,
) -> float:
    """Return the voxel size of a map, that of the particles where the file does not know it."""
    same_box = len(volume) == box_size_px
    # 1 is what programs write that do not know the voxel size.
    if voxel_size_angst == 0.0 or (voxel_size_angst == 1.0 and same_box):
        if not same_box:
            raise ConfigError(
                f"{path} does not tell its voxel size, and its box of {len(volume)} px is not that "
                f"of the particles, {box_size_px} px of {pixel_size_angst:.4g} A: write the voxel "
                "size into its header"
            )
        return pixel_size_angst
    return voxel_size_angst


def _fitted(
    path: PathLike,
    volume: np.ndarray,
    voxel_size_angst: float,
    box_size_px: int,
    pixel_size_angst: float,
) -> np.ndarray:
    """Return a map on other voxels and in another box; what is done is logged."""
    ratio = voxel_size_angst / pixel_size_angst
    same_voxels = abs(ratio - 1.0) <= SAME_VOXEL
    if same_voxels and len(volume) == box_size_px:
        return volume
    logger.info(
        "%s, %d px of %.4g A, is brought to the particles' %d px of %.4g A",
        path, len(volume), voxel_size_angst, box_size_px, pixel_size_angst,
    )  # fmt: skip
    if not same_voxels:
        padded, resampled = _boxes(len(volume), ratio)
        volume = resample_volume(resize_box(volume, padded), resampled)
    return np.ascontiguousarray(resize_box(volume, box_size_px), dtype=np.float32)


def _boxes(box_size_px: int, ratio: float) -> Tuple[int, int]:
    """Return a padded box M and a box n for which n / M is nearest to a ratio."""
    padded = np.arange(box_size_px, box_size_px + _LARGEST_PADDING)
    resampled = np.maximum(np.rint(padded * ratio), 2)
    best = int(np.argmin(np.abs(resampled / (padded * ratio) - 1.0)))
    return int(padded[best]), int(resampled[best])


def _level_of_faces(volume: np.ndarray) -> float:
    """Return the median grey value on the six faces of a box."""
    faces = [volume.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    return float(np.median(np.concatenate(faces)))
