# SPDX-License-Identifier: GPL-3.0-or-later
"""The CTF against RELION's formula term by term, and against what it must do to content."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.band import FourierBand, band_values
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.optics.ctf import (
    CtfParameters,
    ctf_2d,
    ctf_in_band,
    move_with_content,
    wavelength_angst,
)


def parameters(n: int = 1, **changes: float) -> CtfParameters:
    values = {
        "defocus_u_angst": 18000.0,
        "defocus_v_angst": 17000.0,
        "defocus_angle_deg": 30.0,
        "voltage_kv": 300.0,
        "cs_mm": 2.7,
        "amplitude_contrast": 0.1,
        "phase_shift_deg": 0.0,
    }
    values.update(changes)
    return CtfParameters(**{name: np.full(n, value) for name, value in values.items()})


def relion_value(p: CtfParameters, x: float, y: float) -> float:
    """RELION's ctf.cpp written out for one spatial frequency (x, y) in cycles per Angstrom."""
    volt = float(p.voltage_kv[0]) * 1e3
    wavelength = 12.2643247 / np.sqrt(volt * (1.0 + volt * 0.978466e-6))
    k1 = np.pi / 2 * 2 * wavelength
    k2 = np.pi / 2 * float(p.cs_mm[0]) * 1e7 * wavelength**3
    a = float(p.amplitude_contrast[0])
    k3 = np.arctan(a / np.sqrt(1 - a**2))
    k5 = np.radians(float(p.phase_shift_deg[0]))
    az = np.radians(float(p.defocus_angle_deg[0]))
    turn = np.array([[np.cos(az), np.sin(az)], [-np.sin(az), np.cos(az)]])
    axx_axy = turn.T @ np.diag([-p.defocus_u_angst[0], -p.defocus_v_angst[0]]) @ turn
    s = np.array([x, y])
    gamma = k1 * (s @ axx_axy @ s) + k2 * (s @ s) ** 2 - k5 - k3
    return float(-np.sin(gamma))


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
@pytest.mark.parametrize("phase_shift", [0.0, 90.0])
@pytest.mark.parametrize("box", [64, 65])
def test_values_are_relions_to_nyquist(xp, angle, phase_shift, box):
    p = parameters(defocus_angle_deg=angle, phase_shift_deg=phase_shift, defocus_u_angst=30000.0)
    on_device = CtfParameters(*(xp.asarray(value) for value in vars(p).values()))
    image = np.asarray(ctf_2d(on_device, box, 1.1)[0].tolist())
    ky, kx = np.fft.fftfreq(box, 1.1), np.fft.rfftfreq(box, 1.1)
    expected = [[relion_value(p, x, y) for x in kx] for y in ky]
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_white_protein_stays_white_at_low_resolution():
    image = ctf_2d(parameters(defocus_v_angst=18000.0), 128, 2.0)[0]
    assert image[0, 0] == pytest.approx(0.1, abs=1e-6)
    wavelength = wavelength_angst(300.0)
    first_zero = np.sqrt(1.0 / (wavelength * 18000.0)) * 128 * 2.0
    assert (image[0, : int(first_zero) - 1] > 0.0).all()
    assert image[0, int(first_zero) + 2] < 0.0


def test_phase_plate_of_ninety_degrees_passes_the_mean():
    image = ctf_2d(parameters(phase_shift_deg=90.0), 32, 2.0)[0]
    assert image[0, 0] == pytest.approx(np.sqrt(1 - 0.01), abs=1e-6)


def test_wavelength_of_common_microscopes():
    np.testing.assert_allclose(
        wavelength_angst(np.array([100.0, 200.0, 300.0])), [0.03701, 0.02508, 0.01969], atol=1e-5
    )


def test_defocus_u_lies_along_its_angle_from_x_towards_y():
    box, pixel = 256, 2.0
    image = ctf_2d(parameters(defocus_u_angst=20000.0, defocus_v_angst=10000.0), box, pixel)[0]
    # A stronger defocus reaches its first zero at a lower frequency.
    along, across = np.radians(30.0), np.radians(120.0)

    def first_zero(direction: float) -> float:
        radii = np.arange(2, 60, 0.5)
        ky = np.rint(radii * np.sin(direction)).astype(int)
        kx = np.rint(radii * np.cos(direction)).astype(int)
        # Friedel mates have one value.
        ky, kx = np.where(kx < 0, -ky, ky), np.abs(kx)
        return radii[np.flatnonzero(image[ky, kx] < 0)[0]]

    assert first_zero(along) < first_zero(across)
    assert first_zero(along) == pytest.approx(
        box * pixel * np.sqrt(1 / (wavelength_angst(300.0) * 20000.0)), abs=1.5
    )


@pytest.mark.parametrize("mirror", [False, True])
def test_the_ctf_of_a_moved_image_is_the_moved_ctf(mirror):
    # A quarter turn and a mirror are permutations of an odd grid of frequencies.
    box = 33
    before = parameters(defocus_u_angst=25000.0)
    pose = Poses2D(np.array([90.0]), np.array([[4.0, -3.0]]), np.array([mirror]))
    after = ctf_2d(move_with_content(before, pose), box, 1.5)[0]

    def full(half: np.ndarray) -> np.ndarray:
        return np.fft.fftshift(np.fft.fft2(np.fft.irfft2(half, s=(box, box))).real)

    plane = full(ctf_2d(before, box, 1.5)[0])
    # Content at (x, y) goes to (-y, x): the value at (row, column) comes from (x, y) = (row, -col).
    moved = np.rot90(plane, -1)
    if mirror:
        moved = moved[:, ::-1]
    np.testing.assert_allclose(full(after), moved, atol=2e-5)


def test_an_image_has_the_same_ctf_in_any_batch():
    rng = np.random.default_rng(1)
    p = parameters(70)
    p = CtfParameters(**{**vars(p), "defocus_u_angst": rng.uniform(8000, 30000, 70)})
    everything = ctf_2d(p, 45, 1.7)
    for rows in (slice(3, 4), slice(10, 17), slice(1, 66)):
        np.testing.assert_array_equal(ctf_2d(p[rows], 45, 1.7), everything[rows])


def test_rows_of_parameters_can_be_taken():
    p = parameters(4)
    assert len(p[np.array([0, 2])]) == 2
    assert len(p[1:]) == 3


def test_a_band_holds_the_values_of_the_half_plane():
    optics = CtfParameters(
        *(np.array(v) for v in ([15e3, 9e3], [14e3, 9e3], [30.0, 0.0], [300.0, 200.0])),
        *(np.array(v) for v in ([2.7, 0.0], [0.1, 0.07], [0.0, 90.0])),
    )
    band = FourierBand.between(33, 2, 15)
    np.testing.assert_allclose(
        ctf_in_band(optics, band, 2.5), band_values(ctf_2d(optics, 33, 2.5), band),
        atol=1e-6,
    )  # fmt: skip
