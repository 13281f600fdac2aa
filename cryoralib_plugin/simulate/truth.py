# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of every simulated particle: pose, view, optics, background, junk."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.kernels.random import normal, uniform
from cryoralib_plugin.optics.ctf import CtfParameters

from .draws import Phase
from .project import Poses3D
from .views import (
    balanced_quantiles,
    distinct_views,
    random_views,
    rot_tilt,
    view_of_quantile,
    view_proportions,
)

PARTICLE, EMPTY, CONTAMINATION, WRONG_MOLECULE = 0, 1, 2, 3
"""Kinds of images."""

_DEFOCUS_SPREAD_ANGST = 150.0
_CALIBRATION_IDS = 2**40
_N_CALIBRATION = 256
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Truth:
    """What is true of n particles.

    Attributes
    ----------
    particle_ids : (n,) int64, from 0.
    poses : in three dimensions; for a view seen from behind tilt is 180 degrees more, so
        that psi is the same in two and in three dimensions.
    view : (n,) int64, from 0; 0 for all where views are not discrete.
    mirror : (n,) bool, seen from behind.
    kind : (n,) int64, PARTICLE, EMPTY, CONTAMINATION or WRONG_MOLECULE.
    molecule : (n,) int64, row of `Scene.molecules` that the image shows, if it shows one.
    micrograph : (n,) int64, from 0.
    ctf : optics.
    intensity : (n,) float64, grey scale of the whole image.
    ramp : (n, 2) float64, slope of the background along x and y, noise standard deviations
        from the centre to the edge of the box.
    """

    particle_ids: np.ndarray
    poses: Poses3D
    view: np.ndarray
    mirror: np.ndarray
    kind: np.ndarray
    molecule: np.ndarray
    micrograph: np.ndarray
    ctf: CtfParameters
    intensity: np.ndarray
    ramp: np.ndarray

    def __len__(self) -> int:
        return len(self.particle_ids)

    def poses_in_plane(self) -> Poses2D:
        """Return the poses that move each particle onto the image of its view at psi = 0."""
        return Poses2D(self.poses.angles_deg[:, 2], self.poses.shift_px, self.mirror)


def draw_truth(config: SimulateConfig, particle_ids: np.ndarray) -> Truth:
    """Return the truth of particles; each depends on the settings and its own id alone."""
    seed, ids = config.object.random_seed, np.asarray(particle_ids, dtype=np.int64)
    draws = uniform(seed, 0, Phase.VIEW, ids, 3)
    if config.views.view_choice == "discrete":
        draws[:, 0] = balanced_quantiles(seed, ids, config.views.n_views)
    view, mirror, angles = _orient(config, draws)
    draws = uniform(seed, 0, Phase.POSE, ids, 3)
    angles[:, 2] = 360.0 * draws[:, 0] - 180.0
    shift = (2.0 * draws[:, 1:] - 1.0) * config.views.shift_max_px
    micrograph = ids // config.optics.particles_per_micrograph
    kind = _junk_kind(config, ids)
    return Truth(
        ids,
        Poses3D(angles, shift),
        view,
        mirror,
        kind,
        _molecule(config, ids, kind),
        micrograph,
        _optics(config, ids, micrograph),
        *_background(config, ids),
    )


def calibration_truth(config: SimulateConfig) -> Truth:
    """Return centred particles that stand for all views and defoci, the same for any set size.

    None is junk; each has a micrograph of its own, and their views cover the sphere evenly (the
    additive sequence of the root of x^4 = x + 1).
    """
    rows = np.arange(_N_CALIBRATION)
    spacing = config.optics.particles_per_micrograph
    drawn = draw_truth(config, (_CALIBRATION_IDS // spacing + rows) * spacing)
    steps = 1.2207440846057594 ** -np.arange(1.0, 4.0)
    view, mirror, angles = _orient(config, np.mod((rows[:, None] + 0.5) * steps, 1.0))
    angles[:, 2] = drawn.poses.angles_deg[:, 2]
    poses = Poses3D(angles, np.zeros_like(drawn.poses.shift_px))
    molecule = _molecule(config, drawn.particle_ids, np.full(_N_CALIBRATION, PARTICLE))
    return replace(drawn, poses=poses, view=view, mirror=mirror, molecule=molecule)


def calibration_weights(config: SimulateConfig, truth: Truth) -> np.ndarray:
    """Return (n,) float64 weights of calibration particles that make the views' shares exact."""
    if config.views.view_choice != "discrete":
        return np.full(len(truth), 1.0 / len(truth))
    drawn = np.bincount(truth.view, minlength=config.views.n_views)
    wanted = np.where(drawn > 0, view_proportions(config.views), 0.0)
    return (wanted / np.maximum(drawn, 1))[truth.view] / wanted.sum()


def view_angles(config: SimulateConfig) -> np.ndarray:
    """Return rot, tilt and psi = 0 of the discrete views, (n_views, 3) float64, degrees."""
    chosen = distinct_views(
        config.object.random_seed, config.views.n_views, config.views.view_separation_deg
    )
    return np.concatenate([rot_tilt(chosen), np.zeros((len(chosen), 1))], axis=1)


def _orient(config: SimulateConfig, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return view, mirror and the angles, psi still 0, of draws (n, 3) from (0, 1)."""
    n = len(draws)
    if config.views.view_choice != "discrete":
        angles = np.zeros((n, 3))
        angles[:, :2] = random_views(config.views, draws)
        return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), angles
    view = view_of_quantile(config.views, draws[:, 0])
    mirror = draws[:, 1] < config.views.mirrored_fraction
    angles = view_angles(config)[view]
    angles[:, 1] += np.where(mirror, 180.0, 0.0)
    return view, mirror, angles


def _junk_kind(config: SimulateConfig, ids: np.ndarray) -> np.ndarray:
    draw = uniform(config.object.random_seed, 0, Phase.JUNK, ids, 1)[:, 0]
    fraction = config.noise.junk_fraction
    other = WRONG_MOLECULE if config.files.wrong_map_file else CONTAMINATION
    return np.where(draw < 0.5 * fraction, EMPTY, np.where(draw < fraction, other, PARTICLE))


def _molecule(config: SimulateConfig, ids: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Return the row of the map that each image shows; the wrong molecule's is the last."""
    second = np.zeros(len(ids), dtype=np.int64)
    if config.files.second_map_file:
        draw = uniform(config.object.random_seed, 0, Phase.MOLECULE, ids, 1)[:, 0]
        second[draw < config.files.second_share] = 1
    n_right = 2 if config.files.second_map_file else 1
    return np.where(kind == WRONG_MOLECULE, n_right, second)


def _optics(config: SimulateConfig, ids: np.ndarray, micrograph: np.ndarray) -> CtfParameters:
    optics, seed = config.optics, config.object.random_seed
    of_micrograph = uniform(seed, 0, Phase.MICROGRAPH, micrograph, 2)
    # The golden section spreads the defoci of few micrographs evenly over the range.
    start = uniform(seed, 0, Phase.DEFOCUS_START, np.zeros(1, dtype=np.int64), 1)[0, 0]
    quantile = np.mod(start + _GOLDEN * micrograph, 1.0)
    defocus_range = optics.defocus_max_angst - optics.defocus_min_angst
    mean = optics.defocus_min_angst + defocus_range * quantile
    mean = mean + _DEFOCUS_SPREAD_ANGST * normal(seed, 0, Phase.DEFOCUS, ids, 1)[:, 0]
    half_difference = 0.5 * optics.astigmatism_max_angst * of_micrograph[:, 0]

    def constant(value: float) -> np.ndarray:
        return np.full(len(ids), value)

    return CtfParameters(
        defocus_u_angst=mean + half_difference,
        defocus_v_angst=mean - half_difference,
        defocus_angle_deg=180.0 * of_micrograph[:, 1],
        voltage_kv=constant(optics.voltage_kv),
        cs_mm=constant(optics.cs_mm),
        amplitude_contrast=constant(optics.amplitude_contrast),
        phase_shift_deg=constant(optics.phase_shift_deg),
    )


def _background(config: SimulateConfig, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return intensity (n,) of mean 1 and ramp (n, 2)."""
    seed, noise = config.object.random_seed, config.noise
    # Log-normal of mean 1 and the given relative standard deviation.
    spread = np.sqrt(np.log1p(noise.intensity_variation**2))
    log_intensity = spread * normal(seed, 0, Phase.INTENSITY, ids, 1)[:, 0] - 0.5 * spread**2
    draws = uniform(seed, 0, Phase.RAMP, ids, 2)
    angle, slope = 2.0 * np.pi * draws[:, 0], noise.ramp_max * draws[:, 1]
    ramp = np.stack([slope * np.cos(angle), slope * np.sin(angle)], axis=-1)
    return np.exp(log_intensity), ramp
