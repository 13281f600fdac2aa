# SPDX-License-Identifier: GPL-3.0-or-later
"""How particle images are prepared while they are read; shared by the programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cryoralib_plugin.contract._param import param


@dataclass(frozen=True)
class Preprocess:
    """What is done to every particle image while it is read."""

    title: ClassVar[str] = "Preprocessing"

    downsample_box_px: int = param(
        0,
        label="Down-sample to box",
        help="New box size after cropping the Fourier transform; 0 keeps the box. Boxes of 64 to "
        "100 px are enough to sort views and several times faster.",
        unit="px",
        minimum=0,
        maximum=4096,
    )
    highpass_angst: float = param(
        0.0,
        label="High-pass",
        help="Remove features larger than this, such as uneven ice; 0 switches the filter off.",
        unit="A",
        minimum=0.0,
        maximum=100000.0,
        expert=True,
    )
    lowpass_angst: float = param(
        0.0,
        label="Low-pass",
        help="Remove features smaller than this; 0 switches the filter off.",
        unit="A",
        minimum=0.0,
        maximum=100000.0,
        expert=True,
    )
    remove_ramp: bool = param(
        True,
        label="Remove density ramp",
        help="Fit a plane to the pixels outside the particle radius and subtract it.",
    )
    normalise_background: bool = param(
        True,
        label="Normalise background",
        help="Bring the background outside the particle radius to mean 0 and standard deviation 1.",
    )
    invert_contrast: bool = param(
        False,
        label="Invert contrast",
        help="Switch this on when the particles are dark on a light background.",
    )
    cache: str = param(
        "memory",
        label="Keep prepared images",
        help="Where prepared images wait between iterations. memory: fastest; disk: a file in the "
        "output folder, for sets larger than the memory; none: read and prepared again each time.",
        choices=("none", "memory", "disk"),
        expert=True,
    )


@dataclass(frozen=True)
class CtfCorrection:
    """How the contrast transfer function enters alignment and averages."""

    title: ClassVar[str] = "CTF"

    ctf_correction: str = param(
        "none",
        label="CTF correction",
        help="none: particles are used as they are (right for particles corrected before). "
        "phase_flip: the sign of the CTF is corrected, amplitudes are kept. "
        "wiener: particles are multiplied by their CTF and averages divided by the summed CTF^2.",
        choices=("none", "phase_flip", "wiener"),
    )
    wiener_snr: float = param(
        1.0,
        label="Wiener SNR",
        help="Averages are divided by the sum of CTF^2 over the members plus 1/SNR: a small value "
        "holds back frequencies that few members carry.",
        minimum=1e-6,
        maximum=1e6,
        expert=True,
        when="ctf_correction == 'wiener'",
    )
