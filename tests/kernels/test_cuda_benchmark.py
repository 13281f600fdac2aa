# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU benchmark runs, and its yardstick is a true emulation: it finds what was put in."""

from __future__ import annotations

import json
import sys

import numpy as np

from benchmarks.cuda_mra import main
from benchmarks.table_method import LENGTH, TableMethod
from tests.reference.blobs import blob_images


def test_the_benchmark_reports_every_figure(device_backend, tmp_path):
    target = tmp_path / "result.json"
    main(
        [
            "--particles",
            "3",
            "--references",
            "2",
            "--box",
            "24",
            "--radius",
            "8",
            "--reach",
            "1",
            "--repeats",
            "1",
            "--limit-size",
            "32",
            "--json",
            str(target),
        ]
    )
    (case,) = json.loads(target.read_text(encoding="utf-8"))
    assert case["seconds_per_iteration"] > 0 and case["table_method_seconds"] > 0
    assert {"phase_spectra", "phase_products", "phase_inverse", "phase_exact"} <= set(case)


def test_the_table_method_finds_reference_hand_shift_and_angle(device_backend):
    averages = np.concatenate(
        [blob_images(33, [0.0], [(0, 0)], [0], seed=seed, reach_px=8.0) for seed in (0, 1)]
    )
    # The method normalises nothing, so that loud references would attract.
    averages -= averages.mean(axis=(1, 2), keepdims=True)
    averages /= averages.std(axis=(1, 2), keepdims=True)
    images = np.stack([averages[1], np.rot90(averages[0]), np.roll(averages[0], 1, axis=1)])
    table = TableMethod(sys.modules["cupy"], averages, n_rings=10, shift_range_px=1)
    place = device_backend.get(table.match(device_backend.put(images.astype(np.float32))))
    hand, shift, reference, angle = np.unravel_index(place, (2, 9, 2, LENGTH))
    np.testing.assert_array_equal(reference, [1, 0, 0])
    np.testing.assert_array_equal(hand, [0, 0, 0])
    # Shifts run over x and then y; the circle follows the content.
    np.testing.assert_array_equal(shift, [4, 4, 7])
    np.testing.assert_array_equal(angle % (LENGTH // 4), [0, 0, 0])
    assert angle[0] == angle[2] == 0 and angle[1] in (LENGTH // 4, 3 * LENGTH // 4)
