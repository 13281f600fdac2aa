# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a 2D program can work on its input, and how it prepares its particles."""

from __future__ import annotations

from typing import Any

from cryoralib_plugin.align2d.references import check_references
from cryoralib_plugin.align2d.task import class_numbers_of
from cryoralib_plugin.contract._param import raise_together
from cryoralib_plugin.contract.presets import apply_preset
from cryoralib_plugin.contract.schedule import outer_radius
from cryoralib_plugin.io.stack import read_stack_header
from cryoralib_plugin.particles.catalogue import StackCatalogue
from cryoralib_plugin.particles.checks import check_ctf
from cryoralib_plugin.particles.preprocess import Preprocessing, Preprocessor
from cryoralib_plugin.particles.table import ParticleTable


def check_input(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> None:
    """Check the parameters against the particles, and the references against both.

    Raises
    ------
    ValueError, OSError
        With all that is wrong, one sentence a line.
    """
    config = apply_preset(config)
    box = config.preprocess.downsample_box_px or catalogue.box_size_px
    pixel_size = table.image_pixel_size_angst
    asked = config.ctf.ctf_correction
    preprocessing = Preprocessing.from_config(config.preprocess, asked)
    raise_together(
        lambda: Preprocessor(preprocessing, catalogue.box_size_px, pixel_size),
        lambda: outer_radius(config.search, box),
        lambda: check_ctf(table, asked),
        lambda: _check_classes(config, table, box, pixel_size * catalogue.box_size_px / box),
    )


def preprocessing_of(config: Any, table: ParticleTable, catalogue: StackCatalogue) -> Preprocessing:
    """Return what is done to the particles; their background lies outside the last ring."""
    box = config.preprocess.downsample_box_px or catalogue.box_size_px
    radius = outer_radius(config.search, box)
    return Preprocessing.from_config(config.preprocess, config.ctf.ctf_correction, radius)


def _check_classes(config: Any, table: ParticleTable, box: int, pixel_size: float) -> None:
    path = getattr(config.files, "references_file", "")
    if not path:
        class_numbers_of(config, table, 0)
        return
    header = read_stack_header(path)
    raise_together(
        lambda: check_references(header, box, pixel_size),
        lambda: class_numbers_of(config, table, header.n_images),
    )
