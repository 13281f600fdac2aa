# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring matching from the equations in float64: slow, exhaustive, the arbiter of the kernels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


def sample_bilinear(image, x, y):
    """Values of ``image`` at real positions; positions must lie inside the frame."""
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, image.shape[1] - 1), np.minimum(y0 + 1, image.shape[0] - 1)
    dx, dy = x - x0, y - y0
    top = image[y0, x0] * (1 - dx) + image[y0, x1] * dx
    bottom = image[y1, x0] * (1 - dx) + image[y1, x1] * dx
    return top * (1 - dy) + bottom * dy


def resample_polar(image, centre_x, centre_y, rings):
    """List of one float64 array a ring: sample n at (cx + r sin, cy + r cos) of 2 pi n / L."""
    out = []
    for radius, length in zip(rings.radii_px, rings.lengths):
        angle = 2 * np.pi * np.arange(length) / length
        out.append(
            sample_bilinear(
                image, centre_x + radius * np.sin(angle), centre_y + radius * np.cos(angle)
            )
        )
    return out


def normalise_rings(samples, rings):
    """Weighted mean 0 and standard deviation 1 over all rings (SPARX ``Normalize_ring``)."""
    weights = rings.sample_weights
    total = sum(w * len(s) for w, s in zip(weights, samples))
    mean = sum(w * s.sum() for w, s in zip(weights, samples)) / total
    square = sum(w * (s**2).sum() for w, s in zip(weights, samples))
    deviation = np.sqrt((square - total * mean**2) / total)
    return [(s - mean) / deviation for s in samples]


def prepare_references(averages, plan, *, normalise):
    """Weighted ring spectra of each average: list over references of list over rings."""
    centre = averages.shape[-1] // 2
    spectra = []
    for average in np.asarray(averages, dtype=np.float64):
        samples = resample_polar(average, centre, centre, plan.rings)
        if normalise:
            samples = normalise_rings(samples, plan.rings)
        spectra.append([np.fft.rfft(s) for s in samples])
    return spectra


def correlation(reference, samples, rings):
    """(2, n_angles) float64 correlation of one reference with one particle, straight and mirrored.

    C(phi_j) = sum_r w_r sum_n ref(r, theta_n + phi_j) img(r, theta_n).
    """
    n_angles = rings.n_angles
    straight = np.zeros(n_angles // 2 + 1, dtype=complex)
    mirrored = np.zeros(n_angles // 2 + 1, dtype=complex)
    for weight, length, ref, ring in zip(rings.sample_weights, rings.lengths, reference, samples):
        factor = np.full(length // 2 + 1, weight * n_angles / length)
        if length < n_angles:
            # Inside the longer spectrum this bin stands for itself and its conjugate.
            factor[-1] *= 0.5
        image = np.conj(np.fft.rfft(ring))
        straight[: length // 2 + 1] += factor * ref * image
        mirrored[: length // 2 + 1] += factor * np.conj(ref) * image
    return np.fft.irfft(np.stack([straight, mirrored]), n_angles, axis=1)


def parabola_7(values):
    """Offset of the maximum from the middle of seven equidistant values (SPARX ``prb1d``)."""
    u = np.arange(-3, 4)
    denominator = np.sum((u**2 - 4) * values)
    return 0.0 if denominator == 0 else -1.5 * np.sum(u * values) / denominator


def last_argmax(values):
    """Index of the last maximum: SPARX lets later candidates win ties."""
    return len(values) - 1 - int(np.argmax(values[::-1]))


def usable(shift, increment, box, outer_radius):
    """Whether the outer ring stays in the frame; the unshifted position always counts."""
    if increment == 0:
        return True
    room = box // 2 - 1 - outer_radius
    raw, step = -shift, -increment
    return -step <= room + raw + 1e-9 and step <= room - raw + 1e-9


def match_one(image, shift_px, references, plan, which):
    """Best match of one particle with the references ``which``; also every peak height."""
    box, centre = image.shape[-1], image.shape[-1] // 2
    n_shifts = len(plan.shift_grid_px)
    heights = np.full((n_shifts, len(which), 2), -np.inf)
    best = None
    for i, increment in enumerate(plan.shift_grid_px):
        if not all(
            usable(s, e, box, plan.rings.outer_radius_px) for s, e in zip(shift_px, increment)
        ):
            continue
        position = centre - shift_px - increment
        samples = resample_polar(image, position[0], position[1], plan.rings)
        if plan.normalise_rings:
            samples = normalise_rings(samples, plan.rings)
        for column, k in enumerate(which):
            both = correlation(references[k], samples, plan.rings)
            hands = 2 if plan.mirror else 1
            heights[i, column, :hands] = both[:hands].max(axis=1)
            hand = int(plan.mirror and heights[i, column, 1] > heights[i, column, 0])
            value = heights[i, column, hand]
            if best is None or value >= best.score:
                j = last_argmax(both[hand])
                window = both[hand][(j + np.arange(-3, 4)) % plan.rings.n_angles]
                alpha = 360.0 * (j + parabola_7(window)) / plan.rings.n_angles
                best = SimpleNamespace(
                    score=value,
                    reference=k,
                    mirror=bool(hand),
                    psi_deg=-alpha % 360.0,
                    shift_px=shift_px + increment,
                )
    return best, heights


def match_rings(images, shift_px, references, plan, *, candidates=None, per_reference=False):
    """Same contract as ``kernels.ring_match.match_rings`` without sub-pixel refinement."""
    rows = []
    for n, image in enumerate(np.asarray(images, dtype=np.float64)):
        first, last = (0, len(references)) if candidates is None else candidates[n]
        sets = [[k] for k in range(len(references))] if per_reference else [range(first, last)]
        rows.append(
            [
                match_one(image, np.asarray(shift_px[n], float), references, plan, which)[0]
                for which in sets
            ]
        )

    def column(name):
        values = np.array([[getattr(best, name) for best in row] for row in rows])
        return values if per_reference else values[:, 0]

    return SimpleNamespace(
        reference=column("reference"),
        score=column("score"),
        mirror=column("mirror"),
        psi_deg=column("psi_deg"),
        shift_px=column("shift_px"),
    )
