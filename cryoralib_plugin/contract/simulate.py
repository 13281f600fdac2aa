# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the program ``simulate``: particle images whose truth is known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, List

from ._param import param

_IN_VIEWS = "view_choice == 'discrete'"
_WITH_CTF = "apply_ctf == True"


@dataclass(frozen=True)
class SimulateFiles:
    """The folder a simulation fills, and maps that take the place of its own molecule."""

    title: ClassVar[str] = "Files"
    in_form: ClassVar[bool] = False

    output_dir: str = param(
        "simulated",
        label="Output folder",
        help="Folder that receives particles.mrcs, particles.star, truth.star, phantom.mrc and "
        "settings.json.",
        required=True,
    )
    map_file: str = param(
        "",
        label="Map",
        help="MRC file with a map to simulate from, in its own symmetry, centred at voxel N // 2. "
        "Its box and voxels may differ from those of the images. Left empty, a molecule is made "
        "up: object_diameter_angst, n_domains and blob_sigma_angst describe it.",
    )
    second_map_file: str = param(
        "",
        label="Second map",
        help="MRC file with another state of the molecule, on the same grey scale: each particle "
        "shows one of the two.",
    )
    second_share: float = param(
        0.5,
        label="Share of the second map",
        help="Share of the particles that show the second map.",
        minimum=0.0,
        maximum=1.0,
        when="second_map_file != ''",
    )
    wrong_map_file: str = param(
        "",
        label="Wrong molecule",
        help="MRC file with a molecule that half of the junk shows, with as much signal as the "
        "particles; the other half is empty. Left empty, that half is contamination.",
    )


@dataclass(frozen=True)
class SimulatedObject:
    """The molecule and the images of it."""

    title: ClassVar[str] = "Object"

    n_particles: int = param(
        2000, label="Particles", help="Number of images.", minimum=1, maximum=100000000
    )
    box_size_px: int = param(
        90, label="Box size", help="Side of the images.", unit="px", minimum=16, maximum=2048
    )
    pixel_size_angst: float = param(
        2.5,
        label="Pixel size",
        help="Sampling of the images.",
        unit="A/px",
        minimum=0.1,
        maximum=50,
    )
    object_diameter_angst: float = param(
        165.0,
        label="Object diameter",
        help="Diameter of the sphere around the molecule, a chain of residues folded into domains, "
        "without symmetry.",
        unit="A",
        minimum=10.0,
        maximum=5000.0,
    )
    n_domains: int = param(
        7,
        label="Domains",
        help="Number of compact domains of the molecule.",
        minimum=1,
        maximum=100,
        expert=True,
    )
    blob_sigma_angst: float = param(
        3.5,
        label="Blob sigma",
        help="The molecule is a sum of Gaussian blobs of this standard deviation: the finest "
        "detail that it has. At least 0.8 px, or its projections could not be sampled.",
        unit="A",
        minimum=0.1,
        maximum=100.0,
        expert=True,
    )
    random_seed: int = param(
        1000,
        label="Random seed",
        help="The same seed and settings give the same images; particle i does not depend on how "
        "many there are.",
        minimum=0,
        maximum=2**31 - 1,
    )


@dataclass(frozen=True)
class SimulatedViews:
    """Where the molecule is seen from and how it lies in the image."""

    title: ClassVar[str] = "Views and shifts"

    view_choice: str = param(
        "uniform",
        label="Views",
        help="uniform: all directions alike. preferred: most particles lie near one view, as they "
        "do on an air-water interface. discrete: a few well separated views, for "
        "classification.",
        choices=("uniform", "preferred", "discrete"),
    )
    n_views: int = param(
        10,
        label="Number of views",
        help="Views that particles are drawn from.",
        minimum=1,
        maximum=1000,
        when=_IN_VIEWS,
    )
    view_separation_deg: float = param(
        30.0,
        label="Separation of views",
        help="Smallest angle between the directions of two views, opposite directions included, so "
        "that no view is nearly the mirror image of another.",
        unit="deg",
        minimum=0.0,
        maximum=90.0,
        when=_IN_VIEWS,
    )
    class_imbalance: float = param(
        1.0,
        label="Imbalance of views",
        help="How many times more particles the largest view has than the smallest; sizes "
        "between form a geometric series.",
        minimum=1.0,
        maximum=1000.0,
        when=_IN_VIEWS,
    )
    mirrored_fraction: float = param(
        0.0,
        label="Seen from behind",
        help="Share of the particles seen from the opposite direction of their view, which gives "
        "its mirror image.",
        minimum=0.0,
        maximum=1.0,
        when=_IN_VIEWS,
    )
    preferred_fraction: float = param(
        0.7,
        label="Share in the preferred view",
        help="Share of the particles that lie near the preferred view; the others are uniform.",
        minimum=0.0,
        maximum=1.0,
        when="view_choice == 'preferred'",
    )
    preferred_spread_deg: float = param(
        20.0,
        label="Spread of the preferred view",
        help="Largest angle from the preferred view.",
        unit="deg",
        minimum=0.0,
        maximum=180.0,
        when="view_choice == 'preferred'",
    )
    shift_max_px: float = param(
        3.0,
        label="Largest shift",
        help="Shifts are uniform between minus and plus this, in x and in y.",
        unit="px",
        minimum=0.0,
        maximum=512.0,
    )


@dataclass(frozen=True)
class SimulatedOptics:
    """The microscope."""

    title: ClassVar[str] = "Microscope"

    apply_ctf: bool = param(
        True, label="Apply CTF", help="Multiply the images by a contrast transfer function."
    )
    voltage_kv: float = param(
        300.0, label="Voltage", help="Of the microscope.", unit="kV", minimum=20, maximum=3000
    )
    cs_mm: float = param(
        2.7, label="Spherical aberration", help="Cs.", unit="mm", minimum=0.0, maximum=20.0
    )
    amplitude_contrast: float = param(
        0.1, label="Amplitude contrast", help="Share of it.", minimum=0.0, maximum=1.0
    )
    phase_shift_deg: float = param(
        0.0,
        label="Phase shift",
        help="Of a phase plate.",
        unit="deg",
        minimum=0.0,
        maximum=180.0,
        expert=True,
    )
    defocus_min_angst: float = param(
        10000.0,
        label="Smallest defocus",
        help="Defocus is uniform between the two, per micrograph; its particles differ by about "
        "150 A.",
        unit="A",
        minimum=0.0,
        maximum=200000.0,
        when=_WITH_CTF,
    )
    defocus_max_angst: float = param(
        25000.0,
        label="Largest defocus",
        help="Underfocus is positive.",
        unit="A",
        minimum=0.0,
        maximum=200000.0,
        when=_WITH_CTF,
    )
    astigmatism_max_angst: float = param(
        1000.0,
        label="Largest astigmatism",
        help="Difference of the two defoci; uniform from 0 to this, in any direction, per "
        "micrograph.",
        unit="A",
        minimum=0.0,
        maximum=50000.0,
        when=_WITH_CTF,
    )
    bfactor_angst2: float = param(
        80.0,
        label="B-factor",
        help="Decay of the signal, exp(-B s^2 / 4); 0: none.",
        unit="A^2",
        minimum=0.0,
        maximum=10000.0,
        expert=True,
    )
    particles_per_micrograph: int = param(
        50,
        label="Particles per micrograph",
        help="Particles that share a defocus.",
        minimum=1,
        maximum=100000,
        expert=True,
    )


@dataclass(frozen=True)
class SimulatedNoise:
    """Noise, uneven ice, and what is no particle at all."""

    title: ClassVar[str] = "Noise and junk"

    snr: float = param(
        0.05,
        label="Signal-to-noise ratio",
        help="Variance of the signal after the CTF over variance of the noise, inside the disk of "
        "the particle; the mean over views and defoci. 0.005 to 0.1 is usual.",
        minimum=1e-5,
        maximum=1e6,
    )
    disk_radius_px: float = param(
        0.0,
        label="Radius of the disk",
        help="Of the particle's disk, in which the signal-to-noise ratio is measured; 0: 0.4 of "
        "the box.",
        unit="px",
        minimum=0.0,
        maximum=1024.0,
        expert=True,
    )
    noise_rise: float = param(
        3.0,
        label="Rise of the noise",
        help="Noise power at low frequency over that at high frequency; it falls off around 30 A. "
        "1: white noise.",
        minimum=1.0,
        maximum=100.0,
    )
    ramp_max: float = param(
        0.3,
        label="Ice gradient",
        help="Largest slope of the background, from the centre to the edge of the box in standard "
        "deviations of the noise; uniform from 0 to this, in any direction.",
        minimum=0.0,
        maximum=100.0,
    )
    intensity_variation: float = param(
        0.15,
        label="Variation of intensity",
        help="Relative standard deviation of the grey scale between images (log-normal).",
        minimum=0.0,
        maximum=2.0,
    )
    junk_fraction: float = param(
        0.05,
        label="Junk",
        help="Share of images that hold no particle: half of them empty ice, half contamination "
        "(or a wrong molecule, where its map is given).",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class SimulateConfig:
    """Everything a simulation needs to know (program ``simulate``)."""

    program: ClassVar[str] = "simulate"

    files: SimulateFiles = field(default_factory=SimulateFiles)
    object: SimulatedObject = field(default_factory=SimulatedObject)
    views: SimulatedViews = field(default_factory=SimulatedViews)
    optics: SimulatedOptics = field(default_factory=SimulatedOptics)
    noise: SimulatedNoise = field(default_factory=SimulatedNoise)

    @property
    def disk_radius_px(self) -> float:
        """Radius of the particle's disk, pixels, its automatic value included."""
        return self.noise.disk_radius_px or 0.4 * self.object.box_size_px

    def problems(self) -> List[str]:
        """Sentences on parameters that do not go together."""
        found = self._molecule_problems()
        if self.optics.defocus_min_angst > self.optics.defocus_max_angst:
            found.append(
                f"defocus_min_angst ({self.optics.defocus_min_angst:g} A) must not be above "
                f"defocus_max_angst ({self.optics.defocus_max_angst:g} A)"
            )
        if 2 * self.disk_radius_px > self.object.box_size_px:
            found.append(
                f"disk_radius_px must be at most half the box, {self.object.box_size_px / 2:g} px, "
                f"not {self.disk_radius_px:g} px"
            )
        return found

    def _molecule_problems(self) -> List[str]:
        """Sentences on a molecule that the images cannot show."""
        files = self.files
        if files.map_file:
            if files.second_map_file and self.views.view_choice == "discrete":
                return [
                    "second_map_file and view_choice 'discrete' both say what a class is: leave "
                    "the second map out or choose uniform or preferred views"
                ]
            return []
        found = [
            f"{name} is given, but map_file is not: name the map of the particles first"
            for name in ("second_map_file", "wrong_map_file")
            if getattr(files, name)
        ]
        scene, box_angst = self.object, self.object.box_size_px * self.object.pixel_size_angst
        reach = scene.object_diameter_angst + 2 * self.views.shift_max_px * scene.pixel_size_angst
        if reach > box_angst:
            found.append(
                f"object_diameter_angst ({scene.object_diameter_angst:g} A) and the largest shifts "
                f"need {reach:g} A, but the box is {box_angst:g} A wide: enlarge box_size_px"
            )
        if scene.blob_sigma_angst < 0.8 * scene.pixel_size_angst:
            found.append(
                f"blob_sigma_angst must be at least 0.8 pixels, that is "
                f"{0.8 * scene.pixel_size_angst:g} A, not {scene.blob_sigma_angst:g} A"
            )
        # Outside these there would be no room for a fold, or hours of work on 10,000 blobs.
        smallest, largest = 8 * scene.blob_sigma_angst, 100 * scene.blob_sigma_angst
        if not smallest <= scene.object_diameter_angst <= largest:
            found.append(
                "object_diameter_angst must be between 8 and 100 times blob_sigma_angst, that is "
                f"{smallest:g} to {largest:g} A, not {scene.object_diameter_angst:g} A"
            )
        return found
