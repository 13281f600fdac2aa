# SPDX-License-Identifier: GPL-3.0-or-later
"""From sums over members to filtered, centred averages."""

import numpy as np
import pytest

from cryoralib_plugin.align2d.averages import (
    class_frc,
    filter_profiles,
    filtered,
    half_and_full_averages,
    wiener_profile,
)
from cryoralib_plugin.align2d.maximization import maximization
from cryoralib_plugin.align2d.state import Assignments
from cryoralib_plugin.fourier.centring import phase_centre
from cryoralib_plugin.fourier.filters import apply_filter, tanh_lowpass, tanh_profile
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.fourier.transform import backward, forward
from cryoralib_plugin.geometry.rigid2d import Poses2D, recentre
from cryoralib_plugin.kernels.class_sums import ClassSums, accumulate
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.kernels.transform2d import transform_images
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d


def sums_of(images, *, n_classes=1, reference=None, poses=None, ctf=None, pixel_size_angst=None):
    n = len(images)
    sums = ClassSums.zeros(n_classes, images.shape[-1], CpuDevice(), with_ctf=ctf is not None)
    accumulate(
        sums,
        images.astype(np.float32),
        poses or Poses2D.identity(n),
        np.zeros(n, dtype=np.int32) if reference is None else reference,
        np.arange(n) % 2,
        ctf=ctf,
        pixel_size_angst=pixel_size_angst,
    )
    return sums


def blob(box, centre, width=4.0):
    x, y = np.meshgrid(*[np.arange(box) - box // 2] * 2)
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))


def test_a_noiseless_wiener_average_is_the_object_weighted_by_the_ctf(views):
    n, box, pixel_size, snr = 12, 48, 4.0, 2.0
    ctf = CtfParameters(
        np.linspace(8000, 20000, n), np.linspace(7500, 19800, n), np.linspace(0, 150, n),
        np.full(n, 300.0), np.full(n, 2.7), np.full(n, 0.1), np.zeros(n),
    )  # fmt: skip
    transfer = ctf_2d(ctf, box, pixel_size).astype(np.float64)
    truth = forward(views.references[0].astype(np.float64))
    images = backward(truth * transfer * transfer, box)
    _, average = half_and_full_averages(sums_of(images, ctf=ctf, pixel_size_angst=pixel_size), snr)
    power = (transfer**2).sum(axis=0)
    expected = backward(truth * power / (power + 1.0 / snr), box)
    np.testing.assert_allclose(average[0], expected, atol=2e-4 * np.abs(expected).max())


def test_the_frc_of_equal_halves_is_one_and_of_noise_about_zero(rng):
    mask = circular_mask(64, 24, 4.0).astype(np.float64)
    image = rng.normal(size=(1, 1, 64, 64))
    np.testing.assert_allclose(class_frc(np.repeat(image, 2, axis=1), mask)[0, 1:], 1.0)
    noise = class_frc(rng.normal(size=(20, 2, 64, 64)), mask)
    assert abs(noise[:, 10:].mean()) < 0.03


def test_the_wiener_profile_follows_the_curve_and_never_rises():
    curve = np.array([1.0, 0.9, 0.9, 0.9, 0.5, 0.1, 0.4, -0.2, 0.3])
    profile = wiener_profile(curve)
    assert (np.diff(profile) <= 1e-12).all()
    assert profile[2] == pytest.approx(np.sqrt(2 * 0.9 / 1.9))
    assert profile.min() >= 0.0 and profile[0] == 1.0


@pytest.mark.parametrize("kind", ["class_wiener", "class_tanh", "mean_tanh", "none"])
def test_filters_pass_what_is_reproducible_and_stop_what_is_not(kind):
    ring = np.arange(33)
    curves = np.stack([1.0 / (1.0 + np.exp((ring - cut) / 1.0)) for cut in (8, 16)])
    profiles = filter_profiles(curves, np.array([50, 50]), kind)
    if kind == "none":
        assert (profiles == 1.0).all()
        return
    assert (profiles[:, 2] > 0.9).all() and (profiles[:, 30] < 0.1).all()
    own = profiles[1, 12] > profiles[0, 12] + 0.1
    assert own == (kind != "mean_tanh")


def test_small_classes_do_not_enter_the_mean_curve():
    good = np.r_[np.ones(10), np.zeros(23)]
    curves = np.stack([good, np.zeros(33)])
    both = filter_profiles(curves, np.array([50, 3]), "mean_tanh")
    alone = filter_profiles(good[None], np.array([50]), "mean_tanh")
    np.testing.assert_array_equal(both[0], alone[0])


def test_ring_profiles_filter_as_the_filter_itself(rng):
    images = rng.normal(size=(2, 32, 32)).astype(np.float32)
    frequency = np.linspace(0, 0.5, 17)
    profile = np.tile(tanh_profile(frequency, 0.2, 0.4), (2, 1))
    expected = apply_filter(images, tanh_lowpass(32, 0.2, 0.4))
    np.testing.assert_allclose(filtered(images, profile), expected, atol=0.02)


def test_centring_moves_average_and_members_together(program):
    box, centre = 48, np.array([3.0, -2.0])
    config = program.config(average_filter="none")
    poses = Poses2D(
        np.array([0.0, 30.0, 200.0, -75.0]), np.zeros((4, 2)), np.array([False, True, False, True])
    )
    # Particles that the poses bring onto a blob off the centre.
    images = np.empty((4, box, box), dtype=np.float32)
    for i in range(4):
        x, y = np.meshgrid(*[np.arange(box) - box // 2] * 2)
        angle = np.deg2rad(poses.psi_deg[i])
        out_x = np.cos(angle) * x - np.sin(angle) * y
        out_y = np.sin(angle) * x + np.cos(angle) * y
        out_x = -out_x if poses.mirror[i] else out_x
        images[i] = np.exp(-((out_x - centre[0]) ** 2 + (out_y - centre[1]) ** 2) / (2 * 4.0**2))
    members = Assignments(np.zeros(4, dtype=np.int32), poses, np.ones(4))
    state, found = maximization(
        sums_of(images, poses=poses), config, iteration=1, outer_radius_px=18, members=members
    )
    np.testing.assert_allclose(found[0], centre, atol=0.2)
    np.testing.assert_allclose(phase_centre(state.averages + 1.0)[0], 0.0, atol=0.1)
    again = transform_images(images, recentre(poses, np.tile(found[0], (4, 1))))
    for image in again:
        np.testing.assert_allclose(image[8:40, 8:40], blob(box, (0, 0))[8:40, 8:40], atol=0.05)


def test_averages_have_no_mean_in_the_mask_and_empty_classes_are_flat(program, views):
    sums = sums_of(views.images[:10], n_classes=2)
    members = Assignments(np.zeros(10, dtype=np.int32), Poses2D.identity(10), np.ones(10))
    state, centre = maximization(
        sums, program.config(), iteration=3, outer_radius_px=18, members=members
    )
    mask = circular_mask(48, 18, 4.0)
    assert abs((state.averages[0] * mask).sum()) < 1e-3
    assert state.iteration == 3 and state.sizes.tolist() == [10, 0]
    assert (state.averages[1] == 0).all() and (centre[1] == 0).all()
    assert np.isfinite(state.frc).all()


def test_mean_shift_centring_undoes_the_mean_shift_of_the_members(program, views):
    config = program.config(centring="mean_shift")
    poses = Poses2D(np.zeros(10), np.tile([1.5, -0.5], (10, 1)), np.zeros(10, dtype=bool))
    members = Assignments(np.zeros(10, dtype=np.int32), poses, np.ones(10))
    _, centre = maximization(
        sums_of(views.images[:10], poses=poses),
        config,
        iteration=1,
        outer_radius_px=18,
        members=members,
    )
    np.testing.assert_allclose(centre[0], [1.5, -0.5])
    np.testing.assert_allclose(recentre(poses, centre[:1].repeat(10, 0)).shift_px, 0, atol=1e-12)


def test_centring_of_members_stays_within_the_frame(program):
    sums = sums_of(blob(48, (17, 0))[None].repeat(2, 0))
    members = Assignments(np.zeros(2, dtype=np.int32), Poses2D.identity(2), np.ones(2))
    given = {"iteration": 1, "outer_radius_px": 18, "members": members}
    _, bounded = maximization(sums, program.config(), **given)
    _, free = maximization(sums, program.config(centre_members=False), **given)
    assert bounded[0, 0] == 48 // 2 - 1 - 18
    assert free[0, 0] > 8
