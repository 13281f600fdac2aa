# SPDX-License-Identifier: GPL-3.0-or-later
"""Log-likelihoods from their definition, in float64: the difference of data and prediction."""

from __future__ import annotations

import numpy as np


def log_likelihoods(spectra, ctf, slices, shift_px, kx, ky, box):
    """(n_rotations, n_shifts, n_defoci) of one particle, the constant -1/2 sum |X|^2 left out.

    spectra (n_terms,), ctf (n_defoci, n_terms), both whitened; slices (n_rotations, n_terms).
    """
    scores = np.empty((len(slices), len(shift_px), len(ctf)))
    constant = -0.5 * (np.abs(spectra.astype(complex)) ** 2).sum()
    for i, slice_ in enumerate(slices.astype(complex)):
        for j, (x, y) in enumerate(shift_px):
            phase = np.exp(2j * np.pi * (kx * x + ky * y) / box)
            for m, transfer in enumerate(ctf.astype(float)):
                residual = spectra - transfer * slice_ * phase
                scores[i, j, m] = -0.5 * (np.abs(residual) ** 2).sum() - constant
    return scores


def masses(scores, log_shift_weight):
    """Logs of rotation masses, shift masses and evidence of (n_rotations, n_shifts) scores."""
    log_shift = log_shift_weight - np.log(np.exp(log_shift_weight).sum())
    joint = scores + log_shift
    return (
        np.logaddexp.reduce(joint, axis=1),
        np.logaddexp.reduce(joint, axis=0),
        np.logaddexp.reduce(joint, axis=None),
    )
