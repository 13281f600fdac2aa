# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring matching: geometry, invariances and the slow reference, on every backend."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.ring_match import (
    MatchPlan,
    match_rings,
    prepare_references,
    shift_grid,
)
from tests.reference import ring_match as reference
from tests.reference.blobs import angle_difference_deg, blob_images

SMALL = RingLayout.from_radii(1, 12)


def _plan(rings=SMALL, reach=1.0, step=1.0, **options):
    return MatchPlan(rings, shift_grid(reach, reach, step), **options)


def _match(backend, images, shifts, averages, plan, *, normalise=True, **options):
    references = prepare_references(averages, plan, normalise=normalise)
    return match_rings(
        backend.put(np.asarray(images, np.float32)),
        np.asarray(shifts, float),
        references,
        plan,
        **options,
    )


def _noisy(box, n, n_references, seed=0):
    """Noisy particles of a few references, and the references."""
    rng = np.random.default_rng(seed)
    averages = np.concatenate(
        [blob_images(box, [0.0], [(0, 0)], [0], seed=s, reach_px=8.0) for s in range(n_references)]
    )
    images = np.concatenate(
        [
            blob_images(
                box,
                [rng.uniform(0, 360)],
                [rng.uniform(-1, 1, 2)],
                [i % 2],
                seed=i % n_references,
                reach_px=8.0,
            )
            for i in range(n)
        ]
    )
    return images + rng.normal(scale=images.std(), size=images.shape).astype(np.float32), averages


@pytest.mark.parametrize(
    "box, step, ring_norm, mirror",
    [
        (32, 1.0, True, True),
        (33, 1.0, True, True),
        (32, 0.5, True, True),
        (32, 1.0, False, True),
        (32, 1.0, True, False),
        (32, 0.3, True, True),
    ],
)
def test_agrees_with_the_exhaustive_reference(backend, box, step, ring_norm, mirror):
    images, averages = _noisy(box, 4, 3)
    shifts = np.array([(0.0, 0.0), (0.4, -1.0), (-2.0, 2.5), (3.0, 3.0)])[: len(images)]
    plan = _plan(reach=1.0, step=step, normalise_rings=ring_norm, mirror=mirror)
    found = _match(backend, images, shifts, averages, plan)
    truth = reference.match_rings(
        images, shifts, reference.prepare_references(averages, plan, normalise=True), plan
    )
    np.testing.assert_array_equal(found.reference, truth.reference)
    np.testing.assert_array_equal(found.mirror, truth.mirror)
    np.testing.assert_allclose(found.shift_px, truth.shift_px, atol=1e-9)
    np.testing.assert_allclose(found.score, truth.score, rtol=1e-6)
    assert angle_difference_deg(found.psi_deg, truth.psi_deg).max() < 1e-3


def test_every_reference_and_ranges_agree_with_the_exhaustive_reference(backend):
    images, averages = _noisy(32, 3, 4)
    plan, shifts = _plan(), np.zeros((3, 2))
    spectra = reference.prepare_references(averages, plan, normalise=True)
    each = _match(backend, images, shifts, averages, plan, per_reference=True)
    truth = reference.match_rings(images, shifts, spectra, plan, per_reference=True)
    np.testing.assert_allclose(each.score, truth.score, rtol=1e-6)
    np.testing.assert_array_equal(each.mirror, truth.mirror)
    np.testing.assert_allclose(each.reference_scores, truth.score, rtol=2e-3)
    ranges = np.array([(0, 2), (1, 4), (3, 4)])
    some = _match(backend, images, shifts, averages, plan, candidates=ranges)
    truth = reference.match_rings(images, shifts, spectra, plan, candidates=ranges)
    np.testing.assert_array_equal(some.reference, truth.reference)
    np.testing.assert_allclose(some.score, truth.score, rtol=1e-6)
    assert np.isinf(some.reference_scores[2, :3]).all()


def test_an_image_matches_itself_with_the_area_of_its_rings(backend):
    plan = _plan()
    image = blob_images(32, [0.0], [(0, 0)], [0], reach_px=8.0)
    found = _match(backend, image, [(0, 0)], image, plan)
    assert found.score[0] == pytest.approx((SMALL.sample_weights * SMALL.lengths).sum(), rel=1e-6)
    assert angle_difference_deg(found.psi_deg, 0.0).max() < 1e-6
    assert not found.mirror[0] and (found.shift_px[0] == 0).all()


def test_quarter_turns_and_mirrors_of_the_image_move_only_the_pose(backend):
    images, averages = _noisy(33, 1, 2)
    plan = _plan()
    turned = np.stack([images[0], np.rot90(images[0]), images[0][:, ::-1]])
    found = _match(backend, turned, np.zeros((3, 2)), averages, plan)
    np.testing.assert_allclose(found.score, found.score[0], rtol=1e-6)
    assert set(found.reference) == {found.reference[0]}
    # rot90 turns the content from +x (columns) to -y (rows): by -90 degrees.
    assert angle_difference_deg(found.psi_deg[1], found.psi_deg[0] + 90.0) < 1e-3
    assert found.mirror[1] == found.mirror[0] and found.mirror[2] != found.mirror[0]
    assert angle_difference_deg(found.psi_deg[2], -found.psi_deg[0]) < 1e-3


def test_brightness_and_contrast_do_not_matter_when_rings_are_normalised(backend):
    images, averages = _noisy(32, 2, 3)
    plan, shifts = _plan(), np.zeros((2, 2))
    plain = _match(backend, images, shifts, averages, plan)
    scaled = np.array([0.5, 2.0, 3.0])[:, None, None] * averages + 1.0
    found = _match(backend, 4.0 * images + 2.0, shifts, scaled, plan)
    np.testing.assert_array_equal(found.reference, plain.reference)
    np.testing.assert_allclose(found.score, plain.score, rtol=1e-5)
    assert angle_difference_deg(found.psi_deg, plain.psi_deg).max() < 1e-2


def test_contrast_attracts_when_references_are_not_normalised(backend):
    averages = np.concatenate(
        [blob_images(32, [0.0], [(0, 0)], [0], seed=s, reach_px=8.0) for s in (0, 1)]
    )
    loud = averages * np.array([1.0, 100.0], np.float32)[:, None, None]
    compatible = _match(backend, averages[:1], [(0, 0)], loud, _plan(), normalise=False)
    assert compatible.reference[0] == 1
    assert _match(backend, averages[:1], [(0, 0)], loud, _plan()).reference[0] == 0


def test_later_references_and_the_unmirrored_hand_win_ties(backend):
    image = blob_images(33, [0.0], [(0, 0)], [0], reach_px=8.0)
    twins = np.concatenate([image, image])
    assert _match(backend, image, [(0, 0)], twins, _plan()).reference[0] == 1
    symmetric = image + image[:, :, ::-1]
    assert not _match(backend, symmetric, [(0, 0)], symmetric, _plan()).mirror[0]


def test_what_lies_beyond_the_frame_never_enters(backend):
    rings = RingLayout.from_radii(1, 14)
    plan = _plan(rings, reach=2.0)
    images, averages = _noisy(32, 2, 2)
    found = _match(backend, images, [(1, -1), (1, -1)], averages, plan)
    assert np.abs(found.shift_px).max() <= 1.0 + 1e-9


def test_half_pixel_steps_move_the_samples(backend):
    averages = blob_images(32, [0.0], [(0, 0)], [0], reach_px=8.0)
    moved = blob_images(32, [0.0], [(0.5, -0.5)], [0], reach_px=8.0)
    found = _match(backend, moved, [(0, 0)], averages, _plan(step=0.5))
    np.testing.assert_allclose(found.shift_px[0], (0.5, -0.5))
    coarse = _match(backend, moved, [(0, 0)], averages, _plan(step=1.0))
    assert found.score[0] > coarse.score[0]


def test_angles_lie_in_one_turn_and_negative_correlations_are_compared(backend):
    images, averages = _noisy(32, 6, 1)
    found = _match(backend, images, np.zeros((6, 2)), averages, _plan())
    assert ((found.psi_deg >= 0) & (found.psi_deg < 360)).all()
    ring = np.hypot(*(np.mgrid[:32, :32] - 16)) < 6
    opposite = _match(backend, [-1.0 * ring], [(0, 0)], ring[None].astype(float), _plan(reach=0))
    assert opposite.score[0] < 0


def test_smooth_references_need_few_harmonics_and_rough_ones_all():
    smooth = blob_images(90, [0.0], [(0, 0)], [0])
    plan = _plan(RingLayout.from_radii(1, 36))
    assert prepare_references(smooth, plan, normalise=True).n_harmonics < 64
    rough = np.random.default_rng(0).normal(size=(1, 90, 90))
    assert prepare_references(rough, plan, normalise=True).n_harmonics > 120


def test_results_do_not_depend_on_batch_or_threads():
    images, averages = _noisy(32, 9, 3)
    plan = _plan(refine_shift=True)
    references = prepare_references(averages, plan, normalise=True)
    shifts = np.zeros((9, 2))
    whole = match_rings(images, shifts, references, plan)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        parts = [
            match_rings(images[i : i + 2], shifts[i : i + 2], references, plan)
            for i in range(0, 9, 2)
        ]
    finally:
        numba.set_num_threads(before)
    for name in ("reference", "psi_deg", "shift_px", "mirror", "score", "reference_scores"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_refused_arguments():
    plan = _plan()
    averages = np.zeros((1, 32, 32))
    averages[0, 3, 16] = 1.0
    references = prepare_references(averages, plan, normalise=True)
    images = np.zeros((2, 32, 32), np.float32)
    with pytest.raises(ValueError, match="must stay within 3 px for an outer radius of 12 px"):
        match_rings(images, [(0, 0), (4.0, 0)], references, plan)
    with pytest.raises(ValueError, match="must stay within 3 px"):
        match_rings(images, [(0, 0), (np.nan, 0)], references, plan)
    with pytest.raises(ValueError, match="outer radius must be at most 10 px in a box of 22 px"):
        match_rings(np.zeros((1, 22, 22), np.float32), [(0, 0)], references, plan)
    with pytest.raises(ValueError, match="candidate ranges must be non-empty and within 0 .. 1"):
        match_rings(images, np.zeros((2, 2)), references, plan, candidates=[(0, 1), (1, 1)])
    with pytest.raises(ValueError, match="shift step must be above 0 px"):
        shift_grid(1, 1, 0)
    with pytest.raises(ValueError, match="must not be negative"):
        shift_grid(-1, 1, 1)


def test_a_constant_particle_is_no_error(backend):
    averages = blob_images(32, [0.0], [(0, 0)], [0], reach_px=8.0)
    found = _match(backend, np.ones((1, 32, 32)), [(0, 0)], averages, _plan())
    # Samples less their mean are zeros to rounding only.
    np.testing.assert_allclose(found.score, 0.0, atol=1e-9)
