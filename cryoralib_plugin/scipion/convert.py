# SPDX-License-Identifier: GPL-3.0-or-later
"""A Scipion set of particles as a RELION 3.1 STAR file for the engine.

`rlnImageId` carries Scipion's object id, by which results are joined again. Image names stay
relative to the project's folder, in which the programs are started.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ

from cryoralib_plugin.contract import labels

from .alignment import matrices_from_texts, poses_2d, poses_projection
from .images import fingerprints, readable_stacks
from .set_reader import ITEM_ID, MATRIX, Row, SetReader, open_reader
from .star import write_loop

_CHUNK = 20000
_GROUP = "_rlnOpticsGroup"
_ACQUISITION = (
    "_acquisition._voltage",
    "_acquisition._sphericalAberration",
    "_acquisition._amplitudeContrast",
)

# Scipion's property, RELION's column, how its value is written.
_COPIED: Tuple[Tuple[str, str, str], ...] = (
    ("_coordinate._x", labels.COORDINATE_X, "%.6f"),
    ("_coordinate._y", labels.COORDINATE_Y, "%.6f"),
    ("_ctfModel._defocusU", labels.DEFOCUS_U, "%.6f"),
    ("_ctfModel._defocusV", labels.DEFOCUS_V, "%.6f"),
    ("_ctfModel._defocusAngle", labels.DEFOCUS_ANGLE, "%.6f"),
    ("_ctfModel._phaseShift", labels.PHASE_SHIFT, "%.6f"),
    ("_rlnRandomSubset", labels.RANDOM_SUBSET, "%d"),
    ("_rlnGroupNumber", labels.GROUP_NUMBER, "%d"),
    (f"_{labels.WEIGHT}", labels.WEIGHT, "%.6f"),
)
_MICROGRAPH = "_coordinate._micName"


@dataclass(frozen=True)
class Written:
    """What went into a STAR file."""

    n_particles: int
    n_optics_groups: int


@dataclass(frozen=True)
class _OpticsGroups:
    """The optics groups of a set: the key of a particle to its group number."""

    properties: Tuple[str, ...]
    number_of: Dict[Row, int]

    def numbers(self, keys: Iterable[Row]) -> List[int]:
        return [self.number_of[key] for key in keys]


def write_particles(
    particles: Any,
    star_file: Union[str, Path],
    image_folder: Path,
    *,
    poses: Sequence[str] = (ALIGN_2D, ALIGN_PROJ),
) -> Written:
    """Write the enabled particles of a set; stacks the engine cannot read go to image_folder.

    Poses of another kind than `poses` are left out. Where some particles have no projection
    direction, their angles are nan, which says so to the engine.
    """
    parts = [(open_reader(particles), None)]
    alignment = particles.getAlignment()
    kept = alignment if alignment in poses else ALIGN_NONE
    return _write(particles, kept, parts, star_file, image_folder)


def write_classes(classes: Any, star_file: Union[str, Path], image_folder: Path) -> Written:
    """Write the enabled members of every enabled class, with rlnClassNumber = the class's id."""
    alignments = set()
    parts: List[Tuple[SetReader, Optional[int]]] = []
    # pyworkflow gives the same object for every class: nothing of it may be kept.
    for item in classes.iterItems():
        if item.isEnabled() and item.getSize() > 0:
            alignments.add(item.getAlignment())
            parts.append((open_reader(item), item.getObjId()))
    alignment = alignments.pop() if len(alignments) == 1 else ALIGN_NONE
    return _write(classes.getImages(), alignment, parts, star_file, image_folder)


def write_averages(averages: Any, stack_file: Union[str, Path]) -> int:
    """Write the representatives of classes, or the images of a set, as one stack; their number."""
    from pwem.emlib.image import ImageHandler

    handler = ImageHandler()
    images = (
        averages.iterRepresentatives() if hasattr(averages, "iterRepresentatives") else averages
    )
    written = 0
    for image in images:
        if image.isEnabled():
            written += 1
            handler.convert(image, (written, str(stack_file)))
    return written


def _write(
    particles: Any,
    alignment: str,
    parts: Sequence[Tuple[SetReader, Optional[int]]],
    star_file: Union[str, Path],
    image_folder: Path,
) -> Written:
    """Write the readers' particles, each part with its class number if it has one.

    What their images are like is written beside them, for a protocol to see when they change.
    """
    if not parts or not any(reader.count() for reader, _ in parts):
        raise ValueError("there are no enabled particles to align: the input set is empty")
    readers = [reader for reader, _ in parts]
    groups = _optics_groups(readers)
    names = sorted({name for reader in readers for (name,) in reader.distinct(["_filename"])})
    stack_of = readable_stacks(names, image_folder)
    seen = fingerprints(sorted(stack_of.values()))
    Path(star_file).with_suffix(".images").write_text(seen, encoding="utf-8")
    pixel_size = particles.getSamplingRate()
    written = 0
    with open(star_file, "w", encoding="utf-8") as out:
        write_loop(out, "optics", *_optics_table(groups, particles))
        layout = _Layout.of(readers, alignment, parts[0][1] is not None)
        lines = (
            line
            for reader, class_number in parts
            for chunk in _chunks(reader.rows(layout.properties(groups)))
            for line in layout.lines(chunk, groups, stack_of, pixel_size, class_number)
        )
        write_loop(out, "particles", layout.columns, lines)
        written = sum(reader.count() for reader in readers)
    return Written(written, len(groups.number_of))


def _optics_groups(readers: Sequence[SetReader]) -> _OpticsGroups:
    """One group for every combination of acquisition values (and RELION group, if there is one)."""
    properties = tuple(
        name
        for name in (*_ACQUISITION, _GROUP)
        if all(name in reader.properties for reader in readers)
    )
    keys = sorted({key for reader in readers for key in reader.distinct(properties)}, key=repr)
    given = [key[-1] for key in keys] if _GROUP in properties else []
    keep = len(set(given)) == len(keys) > 0 and all(isinstance(number, int) for number in given)
    numbers = given if keep else range(1, len(keys) + 1)
    return _OpticsGroups(properties, dict(zip(keys, numbers)))


def _optics_table(groups: _OpticsGroups, particles: Any) -> Tuple[List[str], List[str]]:
    """The columns and lines of the optics table; values an item lacks are those of the set."""
    acquisition = particles.getAcquisition()
    of_the_set = {
        _ACQUISITION[0]: acquisition.getVoltage(),
        _ACQUISITION[1]: acquisition.getSphericalAberration(),
        _ACQUISITION[2]: acquisition.getAmplitudeContrast(),
    }
    box = particles.getXDim()
    flipped = int(bool(particles.isPhaseFlipped()))
    names = [
        labels.OPTICS_GROUP,
        labels.OPTICS_GROUP_NAME,
        labels.IMAGE_PIXEL_SIZE,
        labels.IMAGE_SIZE,
        labels.IMAGE_DIMENSIONALITY,
        labels.DATA_ARE_PHASE_FLIPPED,
    ]
    optional = dict(
        zip(_ACQUISITION, (labels.VOLTAGE, labels.SPHERICAL_ABERRATION, labels.AMPLITUDE_CONTRAST))
    )
    values: List[Tuple[int, Dict[str, Any]]] = []
    for key, number in groups.number_of.items():
        own = {name: value for name, value in zip(groups.properties, key) if value is not None}
        values.append((number, {**of_the_set, **own}))
    known = [name for name in optional if all(own[name] is not None for _, own in values)]
    lines = [
        f"{number} opticsGroup{number} {particles.getSamplingRate():.6f} {box} 2 {flipped} "
        + " ".join(f"{own[name]:.6f}" for name in known)
        for number, own in values
    ]
    return names + [optional[name] for name in known], lines


@dataclass(frozen=True)
class _Layout:
    """Which columns the particle table has and how its lines are made."""

    copied: Tuple[Tuple[str, str, str], ...]
    has_micrograph: bool
    alignment: str
    has_class: bool

    @classmethod
    def of(cls, readers: Sequence[SetReader], alignment: str, has_class: bool) -> _Layout:
        asked = [_MICROGRAPH, MATRIX, *(name for name, _, _ in _COPIED)]
        known = frozenset.intersection(*(reader.complete(asked) for reader in readers))
        some = all(MATRIX in reader.properties for reader in readers)
        aligned = (alignment == ALIGN_2D and MATRIX in known) or (alignment == ALIGN_PROJ and some)
        return cls(
            tuple(column for column in _COPIED if column[0] in known),
            _MICROGRAPH in known,
            alignment if aligned else "",
            has_class,
        )

    @property
    def columns(self) -> List[str]:
        pose = [labels.ANGLE_PSI, labels.ORIGIN_X_ANGST, labels.ORIGIN_Y_ANGST]
        if self.alignment == ALIGN_2D:
            pose.append(labels.IS_FLIP)
        elif self.alignment == ALIGN_PROJ:
            pose = [labels.ANGLE_ROT, labels.ANGLE_TILT, *pose]
        return [
            labels.IMAGE_NAME,
            labels.IMAGE_ID,
            labels.OPTICS_GROUP,
            *([labels.MICROGRAPH_NAME] if self.has_micrograph else []),
            *([labels.CLASS_NUMBER] if self.has_class else []),
            *(column for _, column, _ in self.copied),
            *(pose if self.alignment else []),
        ]

    def properties(self, groups: _OpticsGroups) -> List[str]:
        """The properties `lines` expects in every row, in this order."""
        return [
            ITEM_ID,
            "_index",
            "_filename",
            _MICROGRAPH,
            MATRIX,
            *(name for name, _, _ in self.copied),
            *groups.properties,
        ]

    def lines(
        self,
        rows: Sequence[Row],
        groups: _OpticsGroups,
        stack_of: Dict[str, str],
        pixel_size: float,
        class_number: Optional[int],
    ) -> Iterator[str]:
        """The lines of some particles."""
        ids, indices, files, micrographs, texts, *others = zip(*rows)
        n_copied = len(self.copied)
        keys = zip(*others[n_copied:]) if groups.properties else itertools.repeat((), len(ids))
        # Scipion's index is 0 for a file with one image.
        fields: List[Iterable[Any]] = [
            [f"{max(index or 0, 1):06d}@{stack_of[name]}" for index, name in zip(indices, files)],
            ids,
            groups.numbers(keys),
        ]
        if self.has_micrograph:
            fields.append([str(name).replace(" ", "_") for name in micrographs])
        if self.has_class:
            fields.append(itertools.repeat(class_number, len(ids)))
        fields.extend(others[:n_copied])
        formats = ["%s"] * (3 + self.has_micrograph + self.has_class)
        formats += [text for _, _, text in self.copied]
        if self.alignment:
            pose = _pose_columns(_matrices(texts), self.alignment, pixel_size)
            fields.extend(pose)
            formats += ["%.6f"] * len(pose)
        line = " ".join(formats)
        return (line % values for values in zip(*fields))


def _matrices(texts: Sequence[Optional[str]]) -> np.ndarray:
    """The matrices (n, 4, 4) of stored texts; nan where a particle has none."""
    matrices = np.full((len(texts), 4, 4), np.nan)
    rows = [row for row, text in enumerate(texts) if text]
    if rows:
        matrices[rows] = matrices_from_texts([texts[row] for row in rows])
    return matrices


def _pose_columns(matrices: np.ndarray, alignment: str, pixel_size: float) -> List[List[float]]:
    """The pose columns of matrices (n, 4, 4), in the order of `_Layout.columns`."""
    if alignment == ALIGN_2D:
        psi, origin, flip = poses_2d(matrices)
        columns = [psi, *(origin.T * pixel_size), flip.astype(float)]
    else:
        angles, origin = poses_projection(matrices)
        columns = [*angles.T, *(origin.T * pixel_size)]
    return [column.tolist() for column in columns]


def _chunks(rows: Iterator[Row]) -> Iterator[List[Row]]:
    """The rows in lists, so that matrices are parsed many at a time."""
    while True:
        chunk = list(itertools.islice(rows, _CHUNK))
        if not chunk:
            return
        yield chunk
