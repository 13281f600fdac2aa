# SPDX-License-Identifier: GPL-3.0-or-later
"""References made ready for matching: spectra up to a cut-off, and exact ring tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoralib_plugin.geometry.rings import RingLayout

# Relative norm of the reference spectrum that the fast pass may leave out. What it leaves out is
# weak against the signal and multiplies only noise of the particle: peak heights are wrong by a
# random amount of standard deviation |left out| * noise. Every candidate within twice
# ERROR_DEVIATIONS of them from the best is compared again with the whole spectrum.
TRUNCATED_NORM = 1.0e-2
ERROR_DEVIATIONS = 10.0
# Room for float32 rounding, as a share of |reference| |particle|.
ROUNDING = 1.0e-5


@dataclass(frozen=True)
class ReferenceRings:
    """Reference rings in the two forms the search needs.

    Attributes
    ----------
    spectra : flat float32; for each harmonic k a matrix (n_references, 2, n_rings_k) of the real
        and imaginary parts of the area-weighted ring spectra, rings ``first_ring[k]`` onwards.
    first_ring : (n_harmonics,) int64, the innermost ring that carries harmonic k.
    starts : (n_harmonics,) int64, where the matrix of harmonic k begins in ``spectra``.
    tables : (n_references, n_rings, n_angles) float64, area-weighted rings interpolated
        trigonometrically to the angles of the longest ring. The angles that the samples of a ring
        of length L meet together lie side by side: with ``step = n_angles / L``, angle bin j is at
        ``(j % step) * L + j // step``.
    height_error : float, largest error to expect of a peak height for a particle of unit norm.
    """

    spectra: np.ndarray
    first_ring: np.ndarray
    starts: np.ndarray
    tables: np.ndarray
    height_error: float

    @property
    def n_references(self) -> int:
        """Number of references."""
        return int(self.tables.shape[0])

    @property
    def n_harmonics(self) -> int:
        """Angular harmonics 0 .. n_harmonics - 1 enter the fast pass."""
        return len(self.first_ring)


def normalised(samples: np.ndarray, rings: RingLayout) -> np.ndarray:
    """Return ring samples (n, n_samples) with area-weighted mean 0 and standard deviation 1.

    Constant rings are returned as zeros: they match nothing.
    """
    weights = np.repeat(rings.sample_weights, rings.lengths)
    weights = weights / weights.sum()
    centred = samples - (samples @ weights)[:, None]
    deviation = np.sqrt((centred**2) @ weights)[:, None]
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)


def build_references(samples: np.ndarray, rings: RingLayout) -> ReferenceRings:
    """Return the matching form of reference ring samples (n_references, n_samples) float64."""
    n_references, n_angles = len(samples), rings.n_angles
    # The spectra become float32; their exact form is in the tables.
    weighted = np.zeros((n_references, rings.n_rings, n_angles // 2 + 1), dtype=np.complex64)
    energy = np.zeros((n_references, rings.n_rings, n_angles // 2 + 1))
    tables = np.empty((n_references, rings.n_rings, n_angles))
    for i, (start, length, weight) in enumerate(
        zip(rings.starts, rings.lengths, rings.sample_weights)
    ):
        half = length // 2
        spectrum = np.fft.rfft(samples[:, start : start + length], axis=1)
        paired = np.full(half + 1, 2.0)
        paired[[0, half]] = 1.0
        energy[:, i, : half + 1] = weight / length * paired * np.abs(spectrum) ** 2
        if length < n_angles:
            # Among the longer ring's harmonics this one stands for itself and its conjugate.
            spectrum[:, half] *= 0.5
        spectrum *= weight / length
        weighted[:, i, : half + 1] = spectrum
        fine = np.fft.irfft(spectrum, n_angles, axis=1) * n_angles
        by_step = fine.reshape(n_references, length, n_angles // length).swapaxes(1, 2)
        tables[:, i] = by_step.reshape(n_references, n_angles)
    first_ring, lost, norm = _cut_harmonics(energy)
    del energy  # as large as the spectra are with many references
    # One sample stands for at most sample_weights square pixels of independent noise.
    area = float((rings.sample_weights * rings.lengths).sum())
    noise = np.sqrt(rings.sample_weights.max() / area)
    matrices = [
        np.stack([weighted[:, ring:, k].real, weighted[:, ring:, k].imag], axis=1)
        for k, ring in enumerate(first_ring)
    ]
    sizes = [matrix.size for matrix in matrices]
    return ReferenceRings(
        spectra=np.concatenate([matrix.ravel() for matrix in matrices]),
        first_ring=first_ring,
        starts=np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64),
        tables=tables,
        height_error=min(1.0, ERROR_DEVIATIONS * noise) * lost + ROUNDING * norm,
    )


def _cut_harmonics(energy: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the innermost ring of each kept harmonic, and the norms left out and of the whole."""
    n_rings = energy.shape[1]
    total = energy.sum(axis=(1, 2), keepdims=True)
    tail = np.cumsum(energy[:, :, ::-1], axis=2)[:, :, ::-1]
    allowed = TRUNCATED_NORM**2 / n_rings * total
    # Harmonic k of ring r is needed while some reference keeps more than its share from k on.
    needed = (tail > allowed).any(axis=0).sum(axis=1)
    del tail
    needed = np.maximum.accumulate(np.maximum(needed, 1))
    first_ring = np.searchsorted(needed, np.arange(needed[-1]), side="right").astype(np.int64)
    dropped = np.arange(energy.shape[2]) >= needed[:, None]
    lost = np.sqrt((energy * dropped).sum(axis=(1, 2)).max())
    return first_ring, float(lost), float(np.sqrt(total.max()))
