# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled views in memory, for tests and benchmarks of classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.optics.ctf import CtfParameters

from .project import Poses3D, project
from .scene import Scene, make_scene, render_images, render_signal
from .truth import draw_truth, view_angles

QUALITY_SEEDS = (11, 12, 13, 14, 15)
"""Seeds of the five data sets on which the quality of classification is measured."""

_PLAIN = {"noise_rise": 1.0, "ramp_max": 0.0, "intensity_variation": 0.0, "junk_fraction": 0.0}


@dataclass(frozen=True)
class ViewSet:
    """Images of a few distinct views and all that is true of them.

    Attributes
    ----------
    images : (n, N, N) float32; noise of unit variance where the intensity does not vary.
    signal : (n, N, N) float32, the same without noise, background and junk.
    poses : that move each image onto its view in ``references``.
    view : (n,) int64, from 0, the row of ``references``; -1 for junk.
    ctf : optics of the images.
    references : (n_views, N, N) float32, exact projections without CTF.
    config : every setting, pixel size and disk radius among them.
    """

    images: np.ndarray
    signal: np.ndarray
    poses: Poses2D
    view: np.ndarray
    ctf: CtfParameters
    references: np.ndarray
    config: SimulateConfig


def simulate_views(
    n_views: int = 10,
    particles_per_view: int = 200,
    *,
    seed: int = QUALITY_SEEDS[0],
    **settings: Any,
) -> ViewSet:
    """Return images of distinct views of one molecule; the defaults are the quality benchmark.

    By default 10 views x 200 particles of 90 px, disk radius 36 px, SNR 0.05 after the CTF, white
    noise, shifts within 3 px, any angle, and neither ramp, junk nor variation of intensity.

    Parameters
    ----------
    n_views : directions at least 30 degrees apart, opposite directions included.
    particles_per_view : mean number; exact where views are balanced.
    seed : of everything.
    **settings : any parameter of `SimulateConfig` by name, such as ``snr=0.1``,
        ``mirrored_fraction=0.5``, ``apply_ctf=False``, ``class_imbalance=5.0``.
    """
    chosen = {"view_choice": "discrete", "n_views": n_views, "random_seed": seed, **_PLAIN}
    chosen["n_particles"] = n_views * particles_per_view
    config = from_flat(SimulateConfig, {**chosen, **settings})
    scene = make_scene(config)
    truth = draw_truth(config, np.arange(config.object.n_particles))
    signal = render_signal(scene, truth.poses, truth.ctf, truth.molecule)
    images = render_images(scene, truth, signal)
    view = np.where(truth.kind == 0, truth.view, -1)
    references = view_images(scene)
    return ViewSet(images, signal, truth.poses_in_plane(), view, truth.ctf, references, config)


def view_images(scene: Scene) -> np.ndarray:
    """Return the discrete views themselves, (n_views, N, N) float32: exact, no CTF, no decay."""
    angles = view_angles(scene.config)
    poses = Poses3D(angles, np.zeros((len(angles), 2)))
    sample = scene.config.object
    images = project(scene.molecules[0], poses, sample.box_size_px, sample.pixel_size_angst)
    return np.float32(scene.signal_scale) * images
