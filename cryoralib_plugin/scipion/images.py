# SPDX-License-Identifier: GPL-3.0-or-later
"""Image stacks of a set under names and in formats that the engine reads."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import Dict, Iterable, Tuple

logger = logging.getLogger(__name__)

# The engine asks the file's content; these are the formats it knows, by their usual names.
_READ_BY_ENGINE = (".mrc", ".mrcs", ".map", ".st", ".hdf", ".hdf5", ".h5")

_SAMPLE_BYTES = 2**12


def readable_stacks(names: Iterable[str], folder: Path) -> Dict[str, str]:
    """The name the engine is given for every stack name of a set.

    Stacks of another format (Spider, Imagic, TIFF) are converted to MRC, and stacks whose name
    holds a space, which STAR files cannot, are linked; both into `folder`.
    """
    found: Dict[str, str] = {}
    for number, name in enumerate(names, start=1):
        path = path_of_stack(name)
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"image stack {path} does not exist: it was moved, or its disk is not mounted"
            )
        if Path(path).suffix.lower() not in _READ_BY_ENGINE:
            whose = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:8]
            target = folder / f"{number:04d}_{whose}_{_safe(Path(path).stem)}.mrcs"
            found[name] = _converted(path, target)
        elif path.split() != [path]:
            found[name] = _linked(path, folder / f"{number:04d}_{_safe(Path(path).name)}")
        else:
            found[name] = path
    return found


def fingerprints(stacks: Iterable[str]) -> str:
    """A line for each stack: its size and a digest of its beginning, middle and end.

    A stack that was extracted again has its old name and other images.
    """
    lines = []
    for stack in stacks:
        digest, size = hashlib.sha256(), os.path.getsize(stack)
        with open(stack, "rb") as data:
            for place in (0, (size - _SAMPLE_BYTES) // 2, size - _SAMPLE_BYTES):
                data.seek(max(0, place))
                digest.update(data.read(_SAMPLE_BYTES))
        lines.append(f"{size} {digest.hexdigest()} {stack}\n")
    return "".join(lines)


def n_images(stack: str) -> int:
    """The number of images in a stack."""
    return stack_dimensions(stack)[2]


def path_of_stack(name: str) -> str:
    """The path without the format that Xmipp appends to it, as in particles.mrc:mrcs."""
    path, colon, form = name.rpartition(":")
    return path if colon and form in ("mrc", "mrcs") else name


def bring_stacks(stacks: Iterable[str], folder: Path, *, copy: bool) -> Dict[str, str]:
    """Link or copy stacks into a folder; the new name of each.

    MRC stacks get the suffix .mrcs, because Scipion takes a .mrc file for a volume.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: Dict[str, str] = {}
    taken = set()
    for number, stack in enumerate(stacks, start=1):
        path = Path(stack)
        suffix = ".mrcs" if path.suffix.lower() == ".mrc" else path.suffix
        name = _safe(path.stem) + suffix
        if name in taken:
            name = f"{_safe(path.stem)}_{number:04d}{suffix}"
        taken.add(name)
        target = folder / name
        if copy:
            target.unlink(missing_ok=True)
            shutil.copyfile(stack, target)
            found[stack] = str(target)
        else:
            found[stack] = _linked(stack, target)
    return found


def stack_dimensions(stack: str) -> Tuple[int, int, int]:
    """Width and height in px and number of images, as pwem reads them."""
    from pwem.emlib.image import ImageHandler

    width, height, depth, count = ImageHandler().getDimensions(stack)
    # A .mrc stack passes for a volume.
    return width, height, max(count, depth)


def _converted(path: str, target: Path) -> str:
    """The stack as an MRC stack in the target, unless a former run made it."""
    from pwem.emlib.image import ImageHandler

    if not target.exists() or target.stat().st_mtime < os.stat(path).st_mtime:
        target.parent.mkdir(parents=True, exist_ok=True)
        logger.info("converting %s, which the engine does not read, to %s", path, target)
        ImageHandler().convertStack(path, str(target))
    return str(target)


def _linked(path: str, target: Path) -> str:
    """A link in the target to the stack."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(os.path.abspath(path))
    return str(target)


def _safe(name: str) -> str:
    """The name without spaces."""
    return "_".join(name.split())
