# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a 3D program can work on its input, and how it prepares its particles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract._param import ConfigError, raise_together
from cryoralib_plugin.particles.catalogue import StackCatalogue
from cryoralib_plugin.particles.checks import check_optics
from cryoralib_plugin.particles.preprocess import Preprocessing, Preprocessor
from cryoralib_plugin.particles.table import STAR_SUFFIX, ParticleTable

from .input_maps import check_map, check_mask_file
from .task import diameter_angst

logger = logging.getLogger(__name__)

_CENTRED_PX = 0.01
"""Shifts below this are none."""


def preprocessing_of(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> Preprocessing:
    """Return what is done to the particles; their background lies outside their diameter.

    Images are neither masked nor multiplied by their CTF: the likelihood wants them as they are.
    """
    box, pixel_size = prepared_size(config, table, catalogue)
    radius = diameter_angst(config, box, pixel_size) / 2 / pixel_size
    return Preprocessing.from_config(config.preprocess, "none", radius)


def prepared_size(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> Any:
    """Return box and pixel size, px and Angstrom, of the images after down-sampling."""
    box = config.preprocess.downsample_box_px or catalogue.box_size_px
    return box, table.image_pixel_size_angst * catalogue.box_size_px / box


def check_refinement(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> None:
    """Check the input of a refinement: parameters against particles, maps against both.

    Raises
    ------
    ValueError, OSError
        With all that is wrong, one sentence a line.
    """
    box, pixel_size = prepared_size(config, table, catalogue)
    checks = [
        lambda: check_particles(config, table, catalogue),
        lambda: _check_number(table, config.reference.n_classes),
        lambda: _check_resolutions(config, pixel_size),
        lambda: _check_filters(config),
    ]
    if config.files.reference_file:
        checks.append(lambda: check_map(config.files.reference_file, box, pixel_size))
    if config.files.mask_file:
        checks.append(lambda: check_mask_file(config.files.mask_file, box, pixel_size))
    if config.reference.start_from_poses:
        checks.append(lambda: check_poses(table, searches_rest=True))
        checks.append(lambda: _check_centres(config, table))
    raise_together(*checks)
    for sentence in config.cautions():
        logger.warning("%s", sentence)


def check_reconstruction(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> None:
    """Check the input of a reconstruction from known poses; see :func:`check_refinement`."""
    box, pixel_size = prepared_size(config, table, catalogue)
    checks = [
        lambda: check_particles(config, table, catalogue),
        lambda: _check_number(table, 1),
        lambda: check_poses(table, searches_rest=False),
    ]
    if config.files.mask_file:
        checks.append(lambda: check_mask_file(config.files.mask_file, box, pixel_size))
    raise_together(*checks)


def check_particles(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> None:
    """Check what every 3D program asks of particles: optics, pixel size, room around them."""
    raise_together(
        lambda: check_optics(table, "a 3D program needs"),
        lambda: _check_pixel_size(config, catalogue),
        lambda: _check_diameter(config, table, catalogue),
        lambda: Preprocessor(
            preprocessing_of(config, table, catalogue),
            catalogue.box_size_px,
            table.image_pixel_size_angst,
        ),
    )


def check_poses(table: ParticleTable, *, searches_rest: bool) -> None:
    """Check that there are poses to begin with, and the halves that belong to them.

    Parameters
    ----------
    searches_rest
        Whether particles without a pose are searched globally; else they are left out. Either is
        logged.

    Raises
    ------
    ConfigError
        If no particle has a pose, or one half is empty or has no pose.
    """
    known = table.poses3d()[2]
    if not known.any():
        raise ConfigError(
            f"none of the {len(table)} particles has a pose: the columns {labels.ANGLE_ROT}, "
            f"{labels.ANGLE_TILT} and {labels.ANGLE_PSI} are missing or tell nothing. Give the "
            "particle file of a 3D refinement"
            + (", or switch start_from_poses off" if searches_rest else "")
        )
    _check_halves(table, known)
    n_rest = int((~known).sum())
    if n_rest:
        logger.warning(
            "%d of %d particles have no pose: they are %s",
            n_rest,
            len(table),
            "searched globally in the first round" if searches_rest else "left out",
        )


def _check_halves(table: ParticleTable, known: np.ndarray) -> None:
    """Refuse to divide particles anew that come from a refinement: their halves would mix."""
    if labels.RANDOM_SUBSET not in table.particles or len(table) < 2:
        return
    halves = table.particles[labels.RANDOM_SUBSET].to_numpy()
    if not np.isin(halves, (1, 2)).all():
        return
    for half in (1, 2):
        if not (halves == half).any():
            raise ConfigError(
                f"half {half} is empty: {labels.RANDOM_SUBSET} is {3 - half} for all "
                f"{len(table)} particles. Give both halves, or remove the column to divide the "
                "particles anew"
            )
        if not (known & (halves == half)).any():
            raise ConfigError(
                f"no particle of half {half} has a pose ({labels.RANDOM_SUBSET}, "
                f"{labels.ANGLE_ROT}): give poses in both halves, or switch start_from_poses off"
            )


def _check_centres(config: Any, table: ParticleTable) -> None:
    """Refuse poses with shifts where particles are not to be shifted."""
    if config.filter.shift_std_px > 0.0:
        return
    shift_px = np.abs(table.poses3d()[1]).max(initial=0.0)
    if shift_px > _CENTRED_PX:
        raise ConfigError(
            "shift_std_px is 0, so particles are not shifted, but the poses to start from have "
            f"shifts of up to {shift_px:.3g} px: raise shift_std_px, or extract centred particles"
        )


def _check_filters(config: Any) -> None:
    """Refuse filtered images: a shell without noise would explain everything."""
    used = [
        name
        for name in ("highpass_angst", "lowpass_angst")
        if getattr(config.preprocess, name) > 0.0
    ]
    if used:
        raise ConfigError(
            f"{' and '.join(used)} must be 0 in a 3D refinement, which weighs every shell by its "
            "noise and needs the noise as it is: limit what is compared with "
            "lowest_resolution_angst and highest_resolution_angst instead"
        )


def _check_number(table: ParticleTable, n_classes: int) -> None:
    needed = 4 * n_classes
    if len(table) < needed:
        what = "a map" if n_classes == 1 else f"{n_classes} maps (n_classes)"
        raise ConfigError(
            f"{what} from two halves needs at least {needed} particles, but there are {len(table)}"
        )


def _check_pixel_size(config: Any, catalogue: StackCatalogue) -> None:
    path, given = Path(config.files.particles_file), config.files.pixel_size_angst
    if not (given or catalogue.pixel_size_angst) and path.suffix.lower() != STAR_SUFFIX:
        raise ConfigError(
            f"neither {path} nor its stacks tell the pixel size, without which defocus means "
            "nothing: give it with pixel_size_angst"
        )


def _check_diameter(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> None:
    box, pixel_size = prepared_size(config, table, catalogue)
    diameter, side = config.mask.particle_diameter_angst, box * pixel_size
    if diameter > side:
        raise ConfigError(
            f"particle_diameter_angst ({diameter:g} A) must not exceed the box, {box} px of "
            f"{pixel_size:.4g} A, which is {side:.4g} A wide: correct it, or extract larger boxes"
        )


def _check_resolutions(config: Any, pixel_size_angst: float) -> None:
    nyquist = 2.0 * pixel_size_angst
    wrong = [
        f"{name} ({value:g} A) must not be finer than Nyquist, which is {nyquist:.4g} A for pixels "
        f"of {pixel_size_angst:.4g} A: raise it, or use smaller pixels"
        for name, value in (
            ("initial_resolution_angst", config.reference.initial_resolution_angst),
            ("highest_resolution_angst", config.stages.highest_resolution_angst),
        )
        if 0.0 < value < nyquist
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
