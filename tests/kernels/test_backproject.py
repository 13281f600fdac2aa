# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums of slices: the adjoint of projection, whole at the hermitian plane, exact in any order."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject, completed
from cryoralib_plugin.kernels.project import project
from tests.reference import fourier_grid as reference

BOX = 16
BAND = FourierBand.between(BOX, 0, 7)


def _case(n=9, seed=1):
    rng = np.random.default_rng(seed)
    spectra = rng.normal(size=(n, BAND.n_terms, 2)).astype(np.float32).view(np.complex64)[..., 0]
    spectra[:, (BAND.kx == 0) & (BAND.ky == 0)] = 1.0  # the spectrum of a real image is real at 0
    power = rng.random((n, BAND.n_terms)).astype(np.float32)
    return spectra, power, reference.random_rotations(n, seed)


def _views(rotations, image=None, weight=None):
    n = len(rotations)
    image = np.arange(n) if image is None else image
    weight = np.ones(n, np.float32) if weight is None else weight.astype(np.float32)
    return Views(rotations, image, weight)


def _summed(backend, spectra, power, views, batches=None, padding=2, **options):
    sums = SliceSums.zeros(BAND, backend.device, padding=padding)
    for rows in batches if batches is not None else [np.arange(len(views.image))]:
        here = Views(
            backend.put(views.rotations[rows]), views.image[rows], backend.put(views.weight[rows])
        )
        backproject(sums, backend.put(spectra), backend.put(power), here, BAND, **options)
    return backend.get(sums)


def _assert_equal(one, other):
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.weight, other.weight)


@pytest.mark.parametrize("padding", [1, 2])
def test_sums_are_those_over_the_whole_cube(backend, padding):
    spectra, power, rotations = _case()
    spectrum, weights = completed(
        _summed(backend, spectra, power, _views(rotations), padding=padding)
    )
    extent = 7 * padding
    data, expected = reference.backproject(
        (2 * extent + 1,) * 3, spectra, power, rotations, BAND.kx, BAND.ky, padding
    )
    np.testing.assert_allclose(spectrum.values, data[:, :, extent:], atol=2e-5)
    np.testing.assert_allclose(weights, expected[:, :, extent:], atol=1e-5)
    plane = spectrum.values[:, :, 0]
    np.testing.assert_array_equal(plane, plane[::-1, ::-1].conj())


def test_insertion_is_the_adjoint_of_projection(backend):
    spectra, power, rotations = _case()
    rng = np.random.default_rng(3)
    values = rng.normal(size=(29, 29, 15, 2)).astype(np.float32).view(np.complex64)[..., 0]
    values[:, :, 0] = 0.5 * (values[:, :, 0] + values[::-1, ::-1, 0].conj())
    volume = FourierVolume(values, BOX, 2, 7)
    slices = backend.get(project(backend.put(volume), backend.put(rotations), BAND))
    spectrum, _ = completed(_summed(backend, spectra, power, _views(rotations)))

    # Over whole planes and the whole cube: every term but the origin stands for two.
    terms = np.where((BAND.kx == 0) & (BAND.ky == 0), 1.0, 2.0)
    voxels = np.where(np.arange(15) == 0, 1.0, 2.0)
    left = (terms * (slices.astype(complex) * spectra.conj()).real).sum()
    right = (voxels * (values.astype(complex) * spectrum.values.conj()).real).sum()
    scale = np.linalg.norm(slices) * np.linalg.norm(spectra)
    assert abs(left - right) / scale < 1e-6
    assert abs(left) / scale > 1e-3


def test_order_batches_and_ranks_do_not_change_a_bit(backend):
    spectra, power, rotations = _case(20)
    views = _views(rotations, weight=np.linspace(0.1, 2.0, 20))
    whole = _summed(backend, spectra, power, views)
    shuffled = np.random.default_rng(0).permutation(20)
    for size in (1, 7):
        batches = [shuffled[i : i + size] for i in range(0, 20, size)]
        _assert_equal(whole, _summed(backend, spectra, power, views, batches))
    ranks = [_summed(backend, spectra, power, views, [np.arange(rank, 20, 3)]) for rank in range(3)]
    added = replace(ranks[0], data=sum(r.data for r in ranks), weight=sum(r.weight for r in ranks))
    _assert_equal(whole, added)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_threads_do_not_change_a_bit(cuda_on_host):
    from tests.kernels.conftest import Backend, CpuDevice

    spectra, power, rotations = _case(20)
    on_cpu = Backend("cpu", CpuDevice())
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = _summed(on_cpu, spectra, power, _views(rotations))
        numba.set_num_threads(2)
        _assert_equal(one, _summed(on_cpu, spectra, power, _views(rotations)))
    finally:
        numba.set_num_threads(before)
    _assert_equal(one, _summed(cuda_on_host, spectra, power, _views(rotations)))


def test_an_image_may_enter_at_several_views(backend):
    spectra, power, rotations = _case(4)
    image, weight = np.array([0, 0, 3, 1]), np.array([0.25, 0.75, 2.0, 0.5])
    found = completed(_summed(backend, spectra, power, _views(rotations, image, weight)))
    expected = completed(
        _summed(
            backend,
            spectra[image] * weight[:, None].astype(np.float32),
            power[image] * weight[:, None].astype(np.float32),
            _views(rotations),
        )
    )
    np.testing.assert_allclose(found[0].values, expected[0].values, atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_symmetry_inserts_every_mate(backend):
    spectra, power, rotations = _case(3)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    operators = np.array([np.linalg.matrix_power(quarter, i) for i in range(4)])
    symmetric = _summed(backend, spectra, power, _views(rotations), symmetry=operators)
    mates = (operators[None] @ rotations[:, None]).reshape(-1, 3, 3)
    image = np.repeat(np.arange(3), 4)
    _assert_equal(symmetric, _summed(backend, spectra, power, _views(mates, image)))
    # A quarter turn about z permutes the grid, so the weights must have it exactly.
    _, weights = completed(symmetric)
    whole = np.concatenate([weights[::-1, ::-1, :0:-1], weights], axis=2)
    np.testing.assert_allclose(np.rot90(whole, axes=(1, 2)), whole, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e8])
def test_unsound_values_are_refused(backend, value):
    spectra, power, rotations = _case(3)
    spectra[1, 5] = value
    with pytest.raises(ValueError, match="not finite or beyond"):
        _summed(backend, spectra, power, _views(rotations))


def test_bad_arguments_are_named(backend):
    spectra, power, rotations = _case(3)
    with pytest.raises(ValueError, match="views name images 0 to 3, but there are 0 to 2"):
        _summed(backend, spectra, power, _views(rotations, np.array([0, 3, 1])))
    with pytest.raises(ValueError, match=r"shape \(n_images, 73\).*\(3, 72\)"):
        _summed(backend, spectra[:, 1:], power[:, 1:], _views(rotations))
    with pytest.raises(ValueError, match="one entry for each of the 3 views"):
        views = Views(backend.put(rotations), np.arange(2), backend.put(np.ones(3)))
        sums = SliceSums.zeros(BAND, backend.device)
        backproject(sums, backend.put(spectra), backend.put(power), views, BAND)
    with pytest.raises(ValueError, match="data_magnitude must be positive, but it is 0"):
        SliceSums.zeros(BAND, backend.device, data_magnitude=0.0)
    with pytest.raises(ValueError, match="orthonormal"):
        _summed(backend, spectra, power, _views(rotations), symmetry=2 * np.eye(3)[None])


def test_nothing_to_add(backend):
    spectra, power, rotations = _case(3)
    sums = _summed(backend, spectra, power, _views(rotations[:0]))
    assert not sums.data.any() and not sums.weight.any()
