# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores are log-likelihoods; a scan's sums do not depend on how it is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.band import FourierBand, shift_phases
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.geometry.so3_grid import scan_rotations
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.kernels.score import WhitenedParticles, cpu, local_scores, whiten
from cryoralib_plugin.kernels.score.scan import Scan, start_scan, update_scan
from tests.reference import fourier_grid
from tests.reference import score as reference

BOX, N, N_SLICES = 16, 5, 37
BAND = FourierBand.between(BOX, 1, 7)
SHIFTS = np.array([[x, y] for x in (-1.5, 0.0, 1.0) for y in (-1.0, 0.5)])


def _volume():
    values = np.random.default_rng(1).normal(size=(BOX, BOX, BOX)).astype(np.float32)
    return fourier_volume(values, max_radius_px=7)


def _particles(volume, rotations, *, n_defoci=1, seed=2, strength=0.02):
    """Particles at the given rotations, shifted, with a CTF, in noise of variance 1 per part."""
    rng = np.random.default_rng(seed)
    n = len(rotations)
    ctf = (strength * rng.uniform(-1, 1, (n, n_defoci, BAND.n_terms))).astype(np.float32)
    shift = SHIFTS[rng.integers(len(SHIFTS), size=n)]
    signal = ctf[:, 0] * project(volume, rotations, BAND) * shift_phases(shift, BAND)
    noise = rng.normal(size=(n, BAND.n_terms, 2)) @ np.array([1, 1j])
    return WhitenedParticles((signal + noise).astype(np.complex64), ctf), shift


def _case(**options):
    volume = _volume()
    rotations = fourier_grid.random_rotations(N_SLICES, seed=3)
    particles, shift = _particles(volume, rotations[:N], **options)
    return volume, particles, project(volume, rotations, BAND), shift


def _scanned(backend, particles, slices, cuts=(), **options):
    if "log_shift_weight" in options:
        options["log_shift_weight"] = backend.put(options["log_shift_weight"])
    scan = start_scan(backend.put(particles), backend.put(SHIFTS), BAND, **{"n_kept": 4, **options})
    for block in np.split(np.arange(len(slices)), list(cuts)):
        update_scan(scan, backend.put(slices[block]), int(block[0]) if len(block) else 0)
    return backend.get(scan)


def _in_pairs(slices):
    """The slices of all rotations that are scanned: each one's, and that half a turn further."""
    return np.stack([slices, slices.conj()], axis=1).reshape(-1, slices.shape[1])


def _direct(particles, slices, row, shifts=SHIFTS):
    return reference.log_likelihoods(
        particles.spectra[row], particles.ctf[row], slices, shifts, BAND.kx, BAND.ky, BOX
    )


@pytest.mark.parametrize("strength", [0.003, 0.02, 0.3])
def test_a_scan_gives_the_sums_of_the_likelihoods(backend, strength):
    _, particles, slices, _ = _case(strength=strength)
    log_shift = np.random.default_rng(4).normal(size=len(SHIFTS))
    scan = _scanned(backend, particles, slices, [10, 11], log_shift_weight=log_shift)
    for row in range(N):
        scores = _direct(particles, _in_pairs(slices), row)[..., 0]
        rotation_mass, shift_mass, evidence = reference.masses(scores, log_shift)
        close = {"abs": 2e-3, "rel": 1e-6}
        assert scan.log_evidence()[row] == pytest.approx(evidence, **close)
        near = shift_mass > evidence - 60.0
        found = scan.offset[row] + np.log(scan.shift_mass[row][near])
        np.testing.assert_allclose(found, shift_mass[near], atol=2e-3, rtol=1e-6)
        order = np.argsort(-rotation_mass)[:4]
        np.testing.assert_array_equal(scan.kept_rotation[row], order)
        np.testing.assert_allclose(
            scan.kept_log_mass[row], rotation_mass[order], atol=2e-3, rtol=1e-6
        )
        np.testing.assert_array_equal(scan.kept_shift[row], scores[order].argmax(axis=1))
        best = np.unravel_index(scores.argmax(), scores.shape)
        assert (scan.best_rotation[row], scan.best_shift[row]) == best
        assert scan.best_score[row] == pytest.approx(scores.max(), **close)


def test_clear_particles_are_found_where_they_are(backend):
    _, particles, slices, shift = _case(strength=0.3)
    scan = _scanned(backend, particles, slices)
    np.testing.assert_array_equal(scan.best_rotation, 2 * np.arange(N))
    np.testing.assert_array_equal(SHIFTS[scan.best_shift], shift)
    np.testing.assert_array_equal(scan.kept_rotation[:, 0], 2 * np.arange(N))


def test_rotations_of_a_scan_have_slices_in_pairs():
    rotations = scan_rotations(2 * N_SLICES, symmetry_operators("C1"), np.full(4, 0.5))
    slices = project(_volume(), to_matrices(rotations), BAND)
    np.testing.assert_allclose(slices, _in_pairs(slices[::2]), atol=1e-4 * np.abs(slices).max())


def test_blocks_of_particles_and_rotations_do_not_matter(backend, monkeypatch):
    from cryoralib_plugin.kernels.score import cuda

    _, particles, slices, _ = _case()
    whole = _scanned(backend, particles, slices)
    monkeypatch.setattr(cpu, "_SLICES_PER_BLOCK", 5)
    monkeypatch.setattr(cuda, "_ROTATIONS_PER_BLOCK", 5)
    for twin in (cpu, cuda):
        monkeypatch.setattr(twin, "_SCORES_PER_BLOCK", 2 * 5 * len(SHIFTS))
    parts = _scanned(backend, particles, slices, [1, 2, 20])
    np.testing.assert_array_equal(parts.kept_rotation, whole.kept_rotation)
    np.testing.assert_allclose(parts.log_evidence(), whole.log_evidence(), rtol=0, atol=1e-4)


def test_fewer_rotations_than_places(backend):
    _, particles, slices, _ = _case()
    scan = _scanned(backend, particles, slices[:1])
    assert set(scan.kept_rotation[0]) == {0, 1, -1}
    assert np.isneginf(scan.kept_log_mass[:, 2:]).all()


def test_a_shift_of_the_data_is_a_shift_of_the_grid(backend):
    volume, particles, _, _ = _case()
    moved = WhitenedParticles(
        particles.spectra * shift_phases(np.array([0.7, -2.3]), BAND), particles.ctf
    )
    rotations = fourier_grid.random_rotations(3 * N, seed=5).reshape(N, 3, 3, 3)

    def scores(data, shifts):
        shifts = np.broadcast_to(shifts, (N, *SHIFTS.shape)).copy()
        return backend.get(
            local_scores(
                backend.put(volume),
                backend.put(data),
                backend.put(rotations),
                backend.put(shifts),
                BAND,
            )
        )

    one, other = scores(particles, SHIFTS), scores(moved, SHIFTS + np.array([0.7, -2.3]))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_local_scores_are_likelihoods(backend, monkeypatch):
    from cryoralib_plugin.kernels.score import cuda

    monkeypatch.setattr(cuda, "_LOCAL_BYTES", 1)
    monkeypatch.setattr(cpu, "_LARGEST_STEP", 2)
    volume, particles, _, _ = _case(n_defoci=3, strength=0.1)
    rotations = fourier_grid.random_rotations(4 * N, seed=6).reshape(N, 4, 3, 3)
    rotations[:, 0] = fourier_grid.random_rotations(N_SLICES, seed=3)[:N]
    shifts = np.random.default_rng(7).normal(size=(N, 2, 2))
    found = backend.get(
        local_scores(
            backend.put(volume),
            backend.put(particles),
            backend.put(rotations),
            backend.put(shifts),
            BAND,
        )
    )
    assert found.shape == (N, 4, 2, 3)
    for row in range(N):
        slices = project(volume, rotations[row], BAND)
        expected = _direct(particles, slices, row, shifts[row])
        np.testing.assert_allclose(found[row], expected, atol=1e-3, rtol=1e-5)


def test_the_truth_scores_what_the_noise_says():
    # -1/2 sum |X - truth|^2 is minus half a chi-squared sum of two per term.
    volume, n = _volume(), 400
    rotations = fourier_grid.random_rotations(n, seed=8)
    particles, shift = _particles(volume, rotations, strength=0.1)
    scores = local_scores(volume, particles, rotations[:, None], shift[:, None], BAND)[:, 0, 0, 0]
    full = scores - 0.5 * (np.abs(particles.spectra) ** 2).sum(axis=1)
    assert full.mean() == pytest.approx(-BAND.n_terms, abs=4 * np.sqrt(BAND.n_terms / n))
    assert full.std() == pytest.approx(np.sqrt(BAND.n_terms), rel=0.15)


def test_whitening_divides_by_the_noise(backend):
    _, particles, _, _ = _case()
    power = np.linspace(0.5, 4.0, BAND.n_terms)
    white = backend.get(
        whiten(backend.put(particles.spectra), backend.put(particles.ctf), backend.put(power))
    )
    np.testing.assert_allclose(white.spectra * np.sqrt(power), particles.spectra, rtol=1e-5)
    np.testing.assert_allclose(white.ctf * np.sqrt(power), particles.ctf, rtol=1e-5)
    with pytest.raises(ValueError, match="noise power must be positive"):
        whiten(particles.spectra, particles.ctf, 0 * power)


def test_the_exponential_is_one():
    x = -np.linspace(0.0, 90.0, 20_001).astype(np.float32)
    term, bits = np.empty_like(x), np.empty(len(x), np.int32)
    cpu._exponentials(x, np.zeros_like(x), term, bits)
    exact = np.exp(x.astype(float))
    normal = x > -86.5
    # The argument's own rounding, 6e-8 of it, comes on top of the polynomial's 2e-7.
    allowed = 3e-7 + 1.2e-7 * np.abs(x)
    assert (np.abs(term / exact - 1) <= allowed)[normal].all()
    assert not term[x < -88].any()
    term_py, bits_py = np.empty_like(x), np.empty_like(bits)
    cpu._exponentials.py_func(x[:50], np.zeros(50, np.float32), term_py[:50], bits_py[:50])
    np.testing.assert_allclose(term_py[:50], term[:50], rtol=1e-6)


def test_a_particle_that_is_not_finite_harms_no_other(backend):
    _, particles, slices, _ = _case()
    clean = _scanned(backend, particles, slices)
    particles.spectra[1, 3] = np.nan
    spoilt = _scanned(backend, particles, slices)
    others = np.arange(N) != 1
    assert not np.isfinite(spoilt.log_evidence()[1])
    np.testing.assert_array_equal(spoilt.kept_rotation[others], clean.kept_rotation[others])
    np.testing.assert_array_equal(spoilt.log_evidence()[others], clean.log_evidence()[others])


def test_bad_arguments_are_named(backend):
    volume, particles, slices, _ = _case()
    here, shifts = backend.put(particles), backend.put(SHIFTS)
    scan = start_scan(here, shifts, BAND, n_kept=2)
    assert isinstance(scan, Scan)
    with pytest.raises(ValueError, match=r"slices must have shape \(n_slices, 72\)"):
        update_scan(scan, backend.put(slices[:, 1:]), 0)
    with pytest.raises(ValueError, match="n_kept is 0"):
        start_scan(here, shifts, BAND, n_kept=0)
    with pytest.raises(ValueError, match=r"log_shift_weight must have shape \(6,\)"):
        start_scan(here, shifts, BAND, n_kept=1, log_shift_weight=backend.put(np.zeros(5)))
    with pytest.raises(ValueError, match="takes one defocus"):
        twice = WhitenedParticles(particles.spectra, np.repeat(particles.ctf, 2, axis=1))
        start_scan(backend.put(twice), shifts, BAND, n_kept=1)
    with pytest.raises(ValueError, match=r"shift_px must have shape \(5, n_shifts, 2\)"):
        rotations = backend.put(np.broadcast_to(np.eye(3), (N, 1, 3, 3)).copy())
        local_scores(backend.put(volume), here, rotations, shifts, BAND)
    if backend.name != "cpu":
        with pytest.raises(TypeError, match="slices on cpu"):
            update_scan(scan, slices, 0)
