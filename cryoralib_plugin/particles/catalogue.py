# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image of which stack belongs to which particle; every stack is checked before any work."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from cryoralib_plugin.contract._param import raise_together
from cryoralib_plugin.io.stack import StackHeader, read_stack_header, read_stack_images

# Each thread takes address space, which `ulimit -v` counts, so there are few.
_HEADER_THREADS = 4
_MANY_STACKS = 64
_MAX_LISTED = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackCatalogue:
    """The stacks of a particle set and the place of every particle in them.

    Attributes
    ----------
    headers : one for each stack.
    stack_of_row : (n,) int32, number of the particle's stack.
    index_of_row : (n,) int64, its image, counted from 0.
    has_moved : whether a stack was found elsewhere than in the working directory.
    """

    headers: Tuple[StackHeader, ...]
    stack_of_row: np.ndarray
    index_of_row: np.ndarray
    has_moved: bool = False

    @classmethod
    def open(cls, image_names: Iterable[str], star_folder: Optional[Path] = None) -> StackCatalogue:
        """Find the stacks, read every header once and check the whole set.

        Parameters
        ----------
        image_names
            (n,) words "000001@stack.mrcs"; without "@" the first image of the file is meant.
        star_folder
            Folder of the particle file. Relative paths are looked for in the working directory
            (where RELION runs), then in this folder and the folders above it.

        Raises
        ------
        FileNotFoundError, ValueError
            A stack that is missing, truncated or of another kind; an image number beyond its
            stack; boxes that are not square or not all the same.
        """
        indices, names, stack_of_row = _parse(image_names)
        paths = _find_stacks(names, star_folder)
        if len(paths) < _MANY_STACKS:
            headers = [read_stack_header(path) for path in paths]
        else:
            with ThreadPoolExecutor(_HEADER_THREADS) as pool:
                headers = list(pool.map(read_stack_header, paths, chunksize=_MANY_STACKS))
        raise_together(
            lambda: _check_boxes(headers), lambda: _check_indices(headers, stack_of_row, indices)
        )
        _report_notes(headers)
        has_moved = any(str(path) != name for path, name in zip(paths, names))
        return cls(tuple(headers), stack_of_row, indices, has_moved)

    def __len__(self) -> int:
        return len(self.stack_of_row)

    @property
    def box_size_px(self) -> int:
        """Side of every image."""
        return self.headers[0].n_rows

    @property
    def pixel_size_angst(self) -> float:
        """The commonest pixel size that the headers tell; 0 where none does."""
        told = Counter(round(h.pixel_size_angst, 5) for h in self.headers if h.pixel_size_angst > 0)
        return told.most_common(1)[0][0] if told else 0.0

    def image_names(self) -> List[str]:
        """Return "000001@path" of every particle, with paths as they were found."""
        paths = [str(header.path) for header in self.headers]
        return [
            f"{index + 1:06d}@{paths[stack]}"
            for index, stack in zip(self.index_of_row.tolist(), self.stack_of_row.tolist())
        ]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the raw images of some rows, (m, N, N) float32, in the order of the rows."""
        rows = np.asarray(rows, dtype=np.int64)
        images = np.empty((len(rows), self.box_size_px, self.box_size_px), np.float32)
        stacks, indices = self.stack_of_row[rows], self.index_of_row[rows]
        order = np.lexsort((indices, stacks))
        starts = np.flatnonzero(np.diff(stacks[order], prepend=-1))
        for start, stop in zip(starts, np.r_[starts[1:], len(rows)].astype(np.int64)):
            places = order[start:stop]
            header = self.headers[stacks[places[0]]]
            if places[-1] - places[0] == len(places) - 1 and (np.diff(places) == 1).all():
                read_stack_images(header, indices[places], images[places[0] : places[-1] + 1])
            else:
                part = np.empty((len(places), *images.shape[1:]), np.float32)
                read_stack_images(header, indices[places], part)
                images[places] = part
        return images


def _parse(image_names: Iterable[str]) -> Tuple[np.ndarray, List[str], np.ndarray]:
    image_names = list(image_names)
    indices = np.zeros(len(image_names), np.int64)
    paths: List[str] = []
    for row, name in enumerate(image_names):
        number, at, path = str(name).partition("@")
        if not at:
            paths.append(number)
            continue
        try:
            indices[row] = int(number) - 1
        except ValueError:
            indices[row] = -1
        if indices[row] < 0:
            raise ValueError(
                f'row {row + 1} names its image "{name}"; it must be a number from 1, "@" and the '
                "stack, such as 000001@stack.mrcs"
            )
        paths.append(path)
    stack_of_row, names = pd.factorize(np.array(paths, dtype=object))
    return indices, list(names), stack_of_row.astype(np.int32)


def _find_stacks(names: Sequence[str], star_folder: Optional[Path]) -> List[Path]:
    folders = [Path()]
    if star_folder is not None:
        above = star_folder.resolve()
        folders += [star_folder, *above.parents]
    found: List[Path] = []
    missing: List[str] = []
    for name in names:
        for folder in folders:
            if (folder / name).is_file():
                found.append(folder / name)
                # The next stack most likely lies below the same folder.
                folders.remove(folder)
                folders.insert(0, folder)
                break
        else:
            missing.append(name)
    if missing:
        listed = ", ".join(missing[:_MAX_LISTED]) + (", ..." if len(missing) > _MAX_LISTED else "")
        where = f", in {star_folder} and in the folders above it" if star_folder else ""
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} image stacks do not exist: {listed}; relative paths "
            f"were looked for in the working directory {Path.cwd()}{where}"
        )
    return found


def _check_boxes(headers: Sequence[StackHeader]) -> None:
    for header in headers:
        if header.n_rows != header.n_columns:
            raise ValueError(
                f"particle images must be square, but those of {header.path} have "
                f"{header.n_columns} x {header.n_rows} px: extract them with a square box"
            )
    boxes: Dict[int, StackHeader] = {}
    for header in headers:
        boxes.setdefault(header.n_rows, header)
    if len(boxes) > 1:
        listed = "; ".join(f"{box} px in {header.path}" for box, header in sorted(boxes.items()))
        raise ValueError(
            f"all particles must have one box size, but there are {len(boxes)}: {listed}. Extract "
            "or rescale them to one box first"
        )


def _check_indices(
    headers: Sequence[StackHeader], stack_of_row: np.ndarray, indices: np.ndarray
) -> None:
    n_images = np.array([header.n_images for header in headers], dtype=np.int64)
    beyond = np.flatnonzero(indices >= n_images[stack_of_row])
    if beyond.size:
        row = int(beyond[0])
        header = headers[stack_of_row[row]]
        raise ValueError(
            f"{beyond.size} rows name images that do not exist; the first is row {row + 1} with "
            f"image {indices[row] + 1} of {header.path}, which has {header.n_images}: the stack "
            "and the STAR file do not belong together"
        )


def _report_notes(headers: Sequence[StackHeader]) -> None:
    first: Dict[str, StackHeader] = {}
    count: Counter = Counter()
    for header in headers:
        for note in header.notes:
            first.setdefault(note, header)
            count[note] += 1
    for note, header in first.items():
        logger.warning(
            "%d of %d stacks: %s (first: %s)", count[note], len(headers), note, header.path
        )
