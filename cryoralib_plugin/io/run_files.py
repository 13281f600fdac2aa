# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves on the disk, and what it continues from: one whole iteration at a time.

An iteration is written part by part to temporary names, then renamed, and its manifest, with the
length and SHA-256 sum of every part, comes last. So a manifest vouches for files that are whole; a
kill or a full disk at any moment leaves the previous iteration to continue from.
"""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

import numpy as np
import pandas as pd

from cryoralib_plugin import __version__
from cryoralib_plugin.contract.results import QUARANTINE_COLUMNS, ResultPaths

from .atomic import (
    flush_folder,
    size_and_sha256,
    temporary_path,
    write_atomically,
    write_temporary,
    write_text_atomically,
)
from .mrc import read_mrc, write_stack
from .star import read_star, write_star

logger = logging.getLogger(__name__)
HALVES = (1, 2)
BYTES_PER_WORD = 14
"""About what a number or word of a table takes on the disk."""


@dataclass(frozen=True)
class Checkpoint:
    """One iteration of a 2D program as it stands on the disk.

    Attributes
    ----------
    iteration
        Counted from 1.
    blocks
        STAR blocks by name ("optics", "particles"): frames with RELION labels.
    averages
        (K, N, N) float32.
    half_averages
        (K, 2, N, N) float32, or None where there are no halves.
    frc
        One row per class and ring, columns `contract.results.FRC_COLUMNS`.
    model
        Plain numbers, words and lists; numbers that are not finite become null.
    """

    iteration: int
    pixel_size_angst: float
    blocks: Mapping[str, pd.DataFrame]
    averages: np.ndarray
    half_averages: Optional[np.ndarray] = None
    frc: Optional[pd.DataFrame] = None
    model: Mapping[str, Any] = field(default_factory=dict)

    @property
    def expected_bytes(self) -> int:
        """About how much room the iteration takes on the disk."""
        halves = 0 if self.half_averages is None else self.half_averages.nbytes
        n_words = sum(frame.size for frame in self.blocks.values())
        n_words += 0 if self.frc is None else self.frc.size
        return int(self.averages.nbytes + halves + BYTES_PER_WORD * n_words)


class RunFiles:
    """Writes and reads the files of one run directory, whose names :class:`ResultPaths` gives."""

    def __init__(self, paths: ResultPaths) -> None:
        self.paths = paths

    def prepare(self) -> None:
        """Make the run directory, check that it can be written to and remove unfinished files."""
        folder = Path(self.paths.run_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(temporary_path(Path("*")).name):
                leftover.unlink()
            probe = temporary_path(folder / "probe")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write to the run directory {folder}: {error.strerror}; choose another "
                "output_dir or change its permissions",
            ) from error

    def write_iteration(self, checkpoint: Checkpoint) -> None:
        """Write a whole iteration of a 2D program; its manifest is written last."""
        paths, it = self.paths, checkpoint.iteration
        pixel_size = checkpoint.pixel_size_angst
        parts: Dict[Path, Callable[[Path], None]] = {
            paths.data_star(it): lambda name: write_star(name, checkpoint.blocks),
            paths.classes_mrcs(it): partial(
                write_stack, images=checkpoint.averages, pixel_size_angst=pixel_size
            ),
            paths.model_json(it): lambda name: write_json(name, checkpoint.model),
        }
        halves = checkpoint.half_averages
        if halves is not None:
            for half in HALVES:
                parts[paths.half_classes_mrcs(it, half)] = partial(
                    write_stack, images=halves[:, half - 1], pixel_size_angst=pixel_size
                )
        if checkpoint.frc is not None:
            frc = checkpoint.frc
            parts[paths.frc_csv(it)] = lambda name: frc.to_csv(name, index=False)
        self.write_parts(it, parts, expected_bytes=checkpoint.expected_bytes)

    def write_parts(
        self,
        iteration: int,
        parts: Mapping[Path, Callable[[Path], None]],
        *,
        expected_bytes: int = 0,
    ) -> None:
        """Write any set of files as one iteration: all of them or none.

        Parameters
        ----------
        iteration
            Counted from 1; an iteration of that number is replaced.
        parts
            Final path to a function that writes the file under the path it is given.
        expected_bytes
            About how much room all of them take; said when the disk is full.
        """
        manifest = self.paths.manifest_json(iteration)
        # Without its manifest a replaced iteration is never mistaken for a whole one half-way.
        manifest.unlink(missing_ok=True)
        remains = self._what_remains()
        if expected_bytes:
            remains += f" An iteration takes about {expected_bytes / 1e6:,.1f} MB."
        temporaries: Dict[Path, Path] = {}
        files: Dict[str, Dict[str, Any]] = {}
        try:
            for path, write in parts.items():
                temporaries[path] = write_temporary(path, write, remains)
                length, digest = size_and_sha256(temporaries[path])
                files[path.name] = {"bytes": length, "sha256": digest}
        except BaseException:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            raise
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
        flush_folder(Path(self.paths.run_dir))
        content = {"iteration": iteration, "version": __version__, "files": files}
        write_text_atomically(manifest, json.dumps(content, indent=1) + "\n", remains)

    def read_checkpoint(self) -> Optional[Checkpoint]:
        """Return the newest iteration whose files are all as they were written, or None.

        A damaged iteration is named in a warning and the one before it is tried.
        """
        iteration = self.last_whole_iteration()
        return None if iteration is None else self._read_iteration(iteration)

    def last_whole_iteration(self) -> Optional[int]:
        """Return the newest iteration whose files agree with its manifest, or None."""
        for iteration in reversed(self.paths.iterations()):
            damage = self._damage(iteration)
            if not damage:
                return iteration
            logger.warning(
                "iteration %d cannot be continued from: %s; going back to an earlier one",
                iteration,
                damage,
            )
        return None

    def _damage(self, iteration: int) -> str:
        manifest = self.paths.manifest_json(iteration)
        try:
            files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            for name, expected in files.items():
                path = Path(self.paths.run_dir) / name
                if not path.is_file():
                    return f"{name} is missing"
                if path.stat().st_size != expected["bytes"]:
                    return (
                        f"{name} has {path.stat().st_size:,} bytes instead of {expected['bytes']:,}"
                    )
                if size_and_sha256(path)[1] != expected["sha256"]:
                    return f"the content of {name} has changed since it was written"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{manifest.name} cannot be read ({error})"
        return ""

    def _read_iteration(self, iteration: int) -> Checkpoint:
        paths = self.paths
        averages, pixel_size = read_mrc(paths.classes_mrcs(iteration))
        model = json.loads(paths.model_json(iteration).read_text(encoding="utf-8"))
        halves = None
        if paths.half_classes_mrcs(iteration, 1).is_file():
            halves = np.stack(
                [read_mrc(paths.half_classes_mrcs(iteration, half))[0] for half in HALVES], axis=1
            )
        frc_path = paths.frc_csv(iteration)
        return Checkpoint(
            iteration=iteration,
            # The header holds float32; the model keeps all digits.
            pixel_size_angst=float(model.get("pixel_size_angst", pixel_size)),
            blocks={
                name: block
                for name, block in read_star(paths.data_star(iteration), exact=True).items()
                if isinstance(block, pd.DataFrame)
            },
            averages=averages,
            half_averages=halves,
            frc=_read_csv(frc_path) if frc_path.is_file() else None,
            model=model,
        )

    def write_metrics(self, row: Mapping[str, Any]) -> None:
        """Put the row of one iteration into metrics.csv; rows of later iterations are dropped."""
        path, frame = self.paths.metrics_csv, pd.DataFrame([dict(row)])
        if path.is_file():
            known = _read_csv(path)
            frame = pd.concat([known[known["iteration"] < row["iteration"]], frame])
        write_atomically(path, lambda name: frame.to_csv(name, index=False), self._what_remains())

    def read_metrics(self) -> pd.DataFrame:
        """Return metrics.csv, one row an iteration; an empty frame where there is none."""
        path = self.paths.metrics_csv
        return _read_csv(path) if path.is_file() else pd.DataFrame()

    def write_quarantine(self, frame: pd.DataFrame) -> None:
        """Write the list of particles set aside: columns `contract.results.QUARANTINE_COLUMNS`."""
        missing = [name for name in QUARANTINE_COLUMNS if name not in frame]
        if missing:
            raise ValueError(f"the quarantine list lacks the columns {', '.join(missing)}")
        write_atomically(
            self.paths.quarantine_csv,
            lambda name: frame.to_csv(name, index=False, columns=list(QUARANTINE_COLUMNS)),
            self._what_remains(),
        )

    def write_config(self, text: str) -> None:
        """Write config.json, from which and from the particle file the run can be repeated."""
        write_text_atomically(self.paths.config_json, text, self._what_remains())

    def write_status(self, state: str, *, iteration: int = 0, message: str = "") -> None:
        """Write status.json; call it last, for its readers trust that all else is there."""
        content = {
            "state": state,
            "iteration": iteration,
            "message": message,
            "version": __version__,
        }
        write_text_atomically(self.paths.status_json, json.dumps(content, indent=1) + "\n")

    def read_status(self) -> Dict[str, Any]:
        """Return the content of status.json; an empty dict where it is absent or damaged."""
        try:
            content = json.loads(self.paths.status_json.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _what_remains(self) -> str:
        iteration = self.paths.last_iteration()
        if iteration is None:
            return " No iteration was finished before."
        return f" Iteration {iteration} is whole and nothing of it is lost."


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, float_precision="round_trip")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain numbers, words and lists; numbers that are not finite become null."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(_plain(content), file, indent=1, allow_nan=False)
        file.write("\n")


def _plain(value: Any) -> Any:
    """Return numbers, words, lists and dicts of JSON for what NumPy and Python hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
