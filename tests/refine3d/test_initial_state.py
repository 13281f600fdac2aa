# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refinement begins with: a map of low resolution on the scale of the particles."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.fourier.masks3d import distance_map
from cryoralib_plugin.fourier.shells import power_spectrum
from cryoralib_plugin.geometry.map_symmetry import symmetry_agreement
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.refine3d.classes import class_shares, told_apart
from cryoralib_plugin.refine3d.start import StartMaps, initial_state
from tests.reference.gaussian_map import blobs
from tests.reference.known_poses import posed_blobs, posed_thunder, with_parameters

BOX = 32


@pytest.fixture(scope="module")
def posed():
    return posed_blobs(
        300, BOX, particle_diameter_angst=75.0, initial_resolution_angst=24.0,
        start_from_poses=False,
    )  # fmt: skip


def _scale_to_truth(found, truth):
    near = power_spectrum(truth)[1:3]
    return np.sqrt(power_spectrum(found)[1:3] / near).mean()


@pytest.mark.parametrize("given_scale", [0.01, 40.0])
def test_grey_values_come_to_the_scale_of_the_particles(posed, given_scale):
    state = initial_state(posed.task, StartMaps(given_scale * posed.volume))
    assert state.references.shape == (1, 2, BOX, BOX, BOX)
    np.testing.assert_array_equal(state.references[0, 0], state.references[0, 1])
    assert _scale_to_truth(state.references[0, 0], posed.volume) == pytest.approx(1.0, abs=0.15)


def test_a_known_scale_is_left_alone(posed):
    task = with_parameters(posed.task, "reference", reference_scale_known=True)
    state = initial_state(task, StartMaps(7.0 * posed.volume))
    assert _scale_to_truth(state.references[0, 0], posed.volume) == pytest.approx(7.0, rel=0.05)


def test_a_faded_map_gets_the_amplitudes_of_the_particles(shared_data):
    # Its power falls to a tenth of the truth's within the shells of the first round.
    folder = shared_data / "oracle" / "thunder_case"
    posed = posed_thunder(folder, initial_resolution_angst=40.0, start_from_poses=False)
    init = read_mrc(folder / "init.mrc")[0].reshape((64,) * 3)
    state = initial_state(posed.task, StartMaps(init))
    ratio = np.sqrt(power_spectrum(state.references[0, 0]) / power_spectrum(posed.volume))
    # 40 A is shell 5.
    assert ratio[1:6] == pytest.approx(1.0, abs=0.1)
    assert (ratio[8:] < 0.05).all()
    # What the map explains is noise no more, the rest is.
    assert state.noise_power[:, 0, 1:5] == pytest.approx(posed.noise_power, rel=0.15)
    assert (state.noise_power[:, 0, 7:10] > 1.8 * posed.noise_power).all()


def test_detail_beyond_the_initial_resolution_and_solvent_are_gone(posed):
    noise = np.random.default_rng(0).normal(scale=0.3, size=(BOX,) * 3)
    state = initial_state(posed.task, StartMaps((posed.volume + noise + 5.0).astype(np.float32)))
    volume = state.references[0, 0]
    assert (volume[distance_map(BOX) > 12.5 + 6.0] == 0.0).all()
    power = power_spectrum(volume)
    # 24 A is shell 4; the filter ends two shells after it.
    assert power[8:].max() < 1e-3 * power[1]
    # The level of the solvent has been taken off: no ball is left of it.
    curve = fsc(volume, posed.volume)
    assert curve[1:3].min() > 0.9


def test_poses_make_a_map_where_none_is_given(posed):
    task = with_parameters(posed.task, "reference", start_from_poses=True)
    state = initial_state(task, StartMaps())
    assert fsc(state.references[0, 0], posed.volume)[1:4].min() > 0.95
    assert _scale_to_truth(state.references[0, 0], posed.volume) == pytest.approx(1.0, abs=0.1)


def test_an_empty_map_is_refused(posed):
    with pytest.raises(ValueError, match="the initial map has no contrast between"):
        initial_state(posed.task, StartMaps(np.zeros((BOX,) * 3, np.float32)))


def test_copies_differ_between_classes_but_not_between_halves(posed):
    task = with_parameters(posed.task, "reference", n_classes=3, symmetry="C1")
    state = initial_state(task, StartMaps(posed.volume))
    assert state.references.shape == (3, 2, BOX, BOX, BOX)
    np.testing.assert_array_equal(state.references[:, 0], state.references[:, 1])
    np.testing.assert_allclose(state.class_shares, 1 / 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        a, b = state.references[first, 0].ravel(), state.references[second, 0].ravel()
        assert 0.6 < np.corrcoef(a, b)[0, 1] < 0.9999
    again = initial_state(task, StartMaps(posed.volume))
    np.testing.assert_array_equal(again.references, state.references)


def test_copies_keep_the_symmetry():
    volume, _ = blobs(BOX, [], [], n_blobs=8, widths_px=(2.0, 3.0), fold=4)
    operators = symmetry_operators("C4")
    copy = told_apart(volume, 1, key=(1, 0), operators=operators, contrast=0.3)
    assert symmetry_agreement(volume, operators) > 0.98
    assert symmetry_agreement(copy, operators) > 0.95
    assert np.corrcoef(volume.ravel(), copy.ravel())[0, 1] < 0.99


def test_shares_add_up_and_none_is_too_small():
    shares, rescued = class_shares(np.array([60.0, 40.0]), 0.05)
    np.testing.assert_allclose(shares, [0.6, 0.4])
    assert rescued == []
    shares, rescued = class_shares(np.array([0.0, 900.0, 99.0, 1.0]), 0.05)
    # Each takes half of what is the largest then.
    assert rescued == [(0, 1), (3, 0)]
    assert shares.sum() == pytest.approx(1.0) and shares.min() > 0.05
    shares, rescued = class_shares(np.zeros(2), 0.05)
    np.testing.assert_allclose(shares, 0.5)
    shares, rescued = class_shares(np.array([0.0, 10.0]), 0.0)
    assert rescued == [] and shares[0] == 0.0


@pytest.mark.parametrize("numbers", [None, 1, 7], ids=["no classes", "one class", "too many"])
def test_a_map_of_given_poses_has_all_particles_whatever_their_class(numbers):
    columns = {} if numbers is None else {"rlnClassNumber": np.full(100, numbers)}
    posed = posed_blobs(
        100, BOX, columns=columns, particle_diameter_angst=75.0, initial_resolution_angst=24.0
    )
    one = initial_state(posed.task, StartMaps()).references[0, 0]
    two = initial_state(with_parameters(posed.task, "reference", n_classes=2), StartMaps())
    # Copies are told apart by a faint density of the mean 0.
    assert np.corrcoef(two.references.mean(axis=(0, 1)).ravel(), one.ravel())[0, 1] > 0.99
    assert np.linalg.norm(two.references[0, 0]) == pytest.approx(np.linalg.norm(one), rel=0.1)
    assert not np.array_equal(two.references[0, 0], two.references[1, 0])
