# SPDX-License-Identifier: GPL-3.0-or-later
"""The table method of Cryo-RALib's paper, as a yardstick: every correlation goes through memory.

Per shift the particles are resampled and transformed, multiplied with all references and written to
a table; the whole table is transformed back and searched for its maximum. Rings have one length,
256, and neither particles nor references are normalised, as in the original.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cryoralib_plugin.kernels._compile import include_folder

LENGTH = 256


class TableMethod:
    """Matches batches of particles with references at whole-pixel shifts."""

    def __init__(self, xp: Any, references: np.ndarray, n_rings: int, shift_range_px: int) -> None:
        self._xp, self._n_rings = xp, n_rings
        steps = range(-shift_range_px, shift_range_px + 1)
        self._shifts = [(float(x), float(y)) for x in steps for y in steps]
        module = xp.RawModule(
            code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"),
            options=("--std=c++17", f"-I{include_folder()}"),
            name_expressions=("table_polar", "table_multiply"),
        )
        self._polar = module.get_function("table_polar")
        self._multiply = module.get_function("table_multiply")
        self._references = self._spectra(xp.asarray(references, dtype=np.float32), (0.0, 0.0))

    @property
    def bytes_per_particle(self) -> int:
        """Table, its transform, and the rings with theirs, bytes."""
        n_slots = 2 * len(self._shifts) * len(self._references)
        return 8 * (LENGTH + 1) * (n_slots + self._n_rings)

    def _spectra(self, images: Any, shift: tuple[float, float]) -> Any:
        xp = self._xp
        rings = xp.empty((len(images), self._n_rings, LENGTH), dtype=np.float32)
        self._polar(
            (len(images), self._n_rings),
            (LENGTH,),
            (images, rings, np.float32(shift[0]), np.float32(shift[1]), np.int32(images.shape[-1])),
        )
        return xp.fft.rfft(rings, axis=2).astype(np.complex64)

    def match(self, images: Any) -> Any:
        """Return (n,) the place of the largest correlation of each particle in its table row."""
        xp, n_references = self._xp, len(self._references)
        n_harmonics, n_shifts = LENGTH // 2 + 1, len(self._shifts)
        table = xp.empty((len(images), 2, n_shifts, n_references, n_harmonics), dtype=np.complex64)
        for number, shift in enumerate(self._shifts):
            self._multiply(
                (len(images), -(-n_references // 4)),
                (n_harmonics, 4),
                (
                    self._spectra(images, shift),
                    self._references,
                    table,
                    np.int32(n_shifts),
                    np.int32(number),
                    np.int32(n_references),
                    np.int32(self._n_rings),
                ),
            )
            xp.cuda.get_current_stream().synchronize()
        # "forward" leaves the inverse unscaled, as cuFFT does: no pass over the table is added.
        curves = xp.fft.irfft(table, n=LENGTH, axis=4, norm="forward")
        return curves.reshape(len(images), -1).argmax(axis=1)
