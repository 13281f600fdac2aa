# SPDX-License-Identifier: GPL-3.0-or-later
"""What a round of a 3D program leaves on the disk, and what the next one continues from."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

import numpy as np
import pandas as pd

from cryoralib_plugin.contract.results import ResultPaths

from .atomic import write_text_atomically
from .hdf5_arrays import read_arrays, write_arrays
from .mrc import read_mrc, write_volume
from .run_files import BYTES_PER_WORD, HALVES, RunFiles, write_json
from .star import write_star
from .thu import write_thu

logger = logging.getLogger(__name__)
_CLOUDS_KEPT = 2


@dataclass(frozen=True)
class Checkpoint3D:
    """One round of a 3D program as it stands on the disk.

    Attributes
    ----------
    iteration
        Counted from 1.
    blocks
        STAR blocks by name ("optics", "particles"): frames with RELION labels.
    unfiltered_halves
        (n_classes, 2, N, N, N) float32.
    merged, masks
        (n_classes, N, N, N) float32.
    fsc, noise
        Columns `contract.results.FSC_COLUMNS` and `NOISE_COLUMNS`.
    model
        Plain numbers, words and lists; numbers that are not finite become null.
    references
        (n_classes, 2, N, N, N) float32, what the next round compares particles with; None where
        no round can follow.
    arrays
        Groups of arrays, numbers and words that the next round continues from.
    thu
        The particles once more, columns `io.thu.THU_COLUMNS`, where the run began from such a file.
    """

    iteration: int
    pixel_size_angst: float
    blocks: Mapping[str, pd.DataFrame]
    unfiltered_halves: np.ndarray
    merged: np.ndarray
    masks: np.ndarray
    fsc: pd.DataFrame
    noise: pd.DataFrame
    model: Mapping[str, Any]
    references: Optional[np.ndarray] = None
    arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    thu: Optional[pd.DataFrame] = None

    @property
    def expected_bytes(self) -> int:
        """About how much room the round takes on the disk."""
        maps = self.unfiltered_halves.nbytes + 2 * self.merged.nbytes + self.masks.nbytes
        maps += 0 if self.references is None else self.references.nbytes
        arrays = sum(
            value.nbytes
            for members in self.arrays.values()
            for value in members.values()
            if isinstance(value, np.ndarray)
        )
        tables = [*self.blocks.values(), self.fsc, self.noise]
        tables += [] if self.thu is None else [self.thu]
        return int(maps + arrays + BYTES_PER_WORD * sum(table.size for table in tables))


@dataclass(frozen=True)
class SavedRound:
    """A round on the disk, whose files are read when they are asked for."""

    paths: ResultPaths
    iteration: int

    def read_model(self) -> Dict[str, Any]:
        """Return the content of run_itNNN_model.json."""
        return dict(json.loads(self.paths.model_json(self.iteration).read_text(encoding="utf-8")))

    def read_fsc(self) -> pd.DataFrame:
        """Return run_itNNN_fsc.csv to the last bit, columns `contract.results.FSC_COLUMNS`."""
        return pd.read_csv(self.paths.fsc_csv(self.iteration), float_precision="round_trip")

    def read_references(self, n_classes: int) -> np.ndarray:
        """Return the references that follow the round, (n_classes, 2, N, N, N) float32."""
        return np.stack(
            [
                [read_mrc(self.paths.reference_mrc(self.iteration, half, k))[0] for half in HALVES]
                for k in range(1, n_classes + 1)
            ]
        )

    def read_arrays(self, group: str, *, rows: Optional[np.ndarray] = None) -> Dict[str, Any]:
        """Return one group of the arrays of the round, of all or some consecutive rows."""
        return read_arrays(self.paths.cloud_h5(self.iteration), group, rows=rows)


class RoundFiles(RunFiles):
    """The files of a 3D run's directory, beside those that every run has."""

    def write_round(self, checkpoint: Checkpoint3D) -> None:
        """Write a whole round, its manifest last; then drop support points of old rounds."""
        paths, it = self.paths, checkpoint.iteration
        parts: Dict[Path, Callable[[Path], None]] = {
            paths.data_star(it): lambda name: write_star(name, checkpoint.blocks),
            paths.fsc_csv(it): lambda name: checkpoint.fsc.to_csv(name, index=False),
            paths.noise_csv(it): lambda name: checkpoint.noise.to_csv(name, index=False),
            paths.model_json(it): lambda name: write_json(name, checkpoint.model),
        }
        for path, volume in _volumes(paths, checkpoint).items():
            parts[path] = partial(
                write_volume, volume=volume, pixel_size_angst=checkpoint.pixel_size_angst
            )
        if checkpoint.arrays:
            parts[paths.cloud_h5(it)] = lambda name: write_arrays(name, checkpoint.arrays)
        if checkpoint.thu is not None:
            frame = checkpoint.thu
            parts[paths.data_thu(it)] = lambda name: write_thu(name, frame)
        self.write_parts(it, parts, expected_bytes=checkpoint.expected_bytes)
        for old in [known for known in paths.iterations() if known <= it - _CLOUDS_KEPT]:
            self._drop_cloud(old)

    def newest_round(self) -> Optional[SavedRound]:
        """Return the newest round whose files are all as they were written; None for no round.

        A damaged round is named in a warning and the one before it is tried.

        Raises
        ------
        ValueError
            If support points are missing that the round needs to be continued from.
        """
        iteration = self.last_whole_iteration()
        if iteration is None:
            return None
        if not self.paths.cloud_h5(iteration).is_file():
            raise ValueError(
                f"the run in {self.paths.run_dir} cannot be continued from round {iteration}: its "
                f"support points ({self.paths.cloud_h5(iteration).name}) are not there. Start a "
                f"new run from the poses in {self.paths.data_star(iteration).name}"
            )
        return SavedRound(self.paths, iteration)

    def _drop_cloud(self, iteration: int) -> None:
        cloud, manifest = self.paths.cloud_h5(iteration), self.paths.manifest_json(iteration)
        if not cloud.is_file():
            return
        content = json.loads(manifest.read_text(encoding="utf-8"))
        # The manifest goes first: a round must not count as damaged because of a kill in between.
        content["files"].pop(cloud.name, None)
        write_text_atomically(manifest, json.dumps(content, indent=1) + "\n")
        cloud.unlink()


def _volumes(paths: ResultPaths, checkpoint: Checkpoint3D) -> Dict[Path, np.ndarray]:
    """The maps of a round by their files."""
    it, volumes = checkpoint.iteration, {}
    for index in range(len(checkpoint.merged)):
        k = index + 1
        merged, mask = checkpoint.merged[index], checkpoint.masks[index]
        volumes[paths.merged_mrc(it, k)] = merged
        volumes[paths.masked_mrc(it, k)] = merged * mask
        volumes[paths.mask_mrc(it, k)] = mask
        for half in HALVES:
            volumes[paths.unfiltered_half_mrc(it, half, k)] = checkpoint.unfiltered_halves[
                index, half - 1
            ]
            if checkpoint.references is not None:
                volumes[paths.reference_mrc(it, half, k)] = checkpoint.references[index, half - 1]
    return volumes
