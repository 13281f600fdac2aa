# SPDX-License-Identifier: GPL-3.0-or-later
"""How maps are made from particles, and what of them is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cryoralib_plugin.contract._param import param


@dataclass(frozen=True)
class MaskOfMap:
    """What belongs to the molecule and what is solvent."""

    title: ClassVar[str] = "Mask"

    particle_diameter_angst: float = param(
        0.0,
        label="Particle diameter",
        help="Diameter of the circle around the particle: the mask of images and the sphere around "
        "maps. 0: nine tenths of the box. The wizard shows it on an image.",
        unit="A",
        minimum=0.0,
        maximum=100000.0,
    )
    map_mask: str = param(
        "automatic",
        label="Mask of the map",
        help="automatic: an outline that follows the map of each round, for solvent is noise that "
        "particles would be aligned to. sphere: of the particle's diameter. given: the mask file.",
        choices=("automatic", "sphere", "given"),
    )
    mask_extend_angst: float = param(
        6.0,
        label="Extend mask by",
        help="How far an automatic mask reaches beyond the outline of the molecule.",
        unit="A",
        minimum=0.0,
        maximum=1000.0,
        expert=True,
        when="map_mask == 'automatic'",
    )
    mask_falloff_angst: float = param(
        12.0,
        label="Soft edge of the outline",
        help="Width of the raised cosine from 1 to 0 beyond that; at least three pixels are used.",
        unit="A",
        minimum=0.0,
        maximum=1000.0,
        expert=True,
        when="map_mask == 'automatic'",
    )
    mask_edge_px: float = param(
        6.0,
        label="Soft edge of circles",
        help="Width of the raised cosine from 1 to 0, of the circle around images and of spheres.",
        unit="px",
        minimum=0.0,
        maximum=200.0,
        expert=True,
    )
    mask_lowpass_angst: float = param(
        15.0,
        label="Outline at",
        help="Resolution at which the outline of an automatic mask is drawn; that of the map where "
        "it is coarser.",
        unit="A",
        minimum=1.0,
        maximum=1000.0,
        expert=True,
        when="map_mask == 'automatic'",
    )
    masked_fsc: bool = param(
        True,
        label="Resolution in the mask",
        help="Measure the correlation of the half maps inside the mask, freed of the mask's own "
        "part by randomising phases. Off: the half maps as they are.",
        expert=True,
    )


@dataclass(frozen=True)
class MapMask(MaskOfMap):
    """The same, and what a refinement does with it."""

    title: ClassVar[str] = "Mask"

    flatten_solvent: bool = param(
        True,
        label="Flatten solvent",
        help="Set the reference to zero outside the mask after every round.",
        expert=True,
    )


@dataclass(frozen=True)
class Gridding:
    """How images are put together to a map in Fourier space."""

    title: ClassVar[str] = "Reconstruction"

    padding_factor: int = param(
        2,
        label="Padding factor",
        help="How much finer than the box Fourier space is sampled. 1 saves memory and loses "
        "accuracy at the rim of the particle.",
        minimum=1,
        maximum=4,
        expert=True,
    )
    weight_balancing: str = param(
        "none",
        label="Weight balancing",
        help="none: sums are divided by their weights. stencil, fft: weights are refined until "
        "sampling is even, with neighbouring terms or by transforms; the map hardly changes.",
        choices=("none", "stencil", "fft"),
        expert=True,
    )
    weight_floor: float = param(
        0.02,
        label="Lowest weight",
        help="Weights are at least this share of the mean of their shell, so that no single term "
        "that few particles touched becomes a wave through the whole map. RELION's 0.001 lets "
        "some through.",
        minimum=0.0,
        maximum=1.0,
        expert=True,
    )


_PARTS = ((96, 8), (192, 4), (384, 2))
"""Boxes up to which halves are divided into parts: sums of each are kept."""


@dataclass(frozen=True)
class Reconstruction(Gridding):
    """The same, and what a refinement makes of the maps and of the noise."""

    title: ClassVar[str] = "Reconstruction"

    join_halves_angst: float = param(
        40.0,
        label="Join halves to",
        help="Half maps share what is coarser than this, so that they cannot drift apart.",
        unit="A",
        minimum=0.0,
        maximum=10000.0,
        expert=True,
    )
    left_out_parts: int = param(
        0,
        label="Left-out parts",
        help="Each half is divided into so many parts, and particles are compared with a map made "
        "without those of their part: a particle's own noise in the map would hold it where it is, "
        "right or wrong. 1 leaves nothing out and saves memory; 0: 8 parts for boxes up to 96 px, "
        "4 up to 192 px, 2 up to 384 px, 1 beyond.",
        minimum=0,
        maximum=20,
        expert=True,
    )
    join_halves_fsc: float = param(
        0.95,
        label="Join halves above FSC",
        help="Half maps also share the shells up to which they correlate by at least this; 1 "
        "switches it off.",
        minimum=0.5,
        maximum=1.0,
        expert=True,
    )
    noise_by_group: bool = param(
        True,
        label="Noise by group",
        help="Estimate the noise of each group of particles (rlnGroupNumber, or else the optics "
        "group) on its own.",
        expert=True,
    )
    norm_correction: bool = param(
        True,
        label="Norm correction",
        help="After the global stage: multiply images so that what is left of them when the best "
        "projection is subtracted is as strong as in the other particles of their group; between "
        "one half and two.",
        expert=True,
    )
    scale_correction: bool = param(
        False,
        label="Scale correction",
        help="Fit the intensity of each group of particles to the map, in every round but the "
        "first; between one fifth and five. Wants some tens of particles a group.",
        expert=True,
        when="noise_by_group",
    )
    recentre_map: bool = param(
        False,
        label="Recentre map",
        help="Bring the mass of the map to the centre of the box while poses are searched "
        "globally. Off: the map stays where the initial map was.",
        expert=True,
    )

    def parts_of_half(self, box_size_px: int) -> int:
        """Return into how many parts a half is divided."""
        if self.left_out_parts:
            return self.left_out_parts
        return next((n for box, n in _PARTS if box_size_px <= box), 1)
