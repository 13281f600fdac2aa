# SPDX-License-Identifier: GPL-3.0-or-later
"""A particle file becomes a table, a catalogue of its stacks and a source of its images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Callable, Tuple, Union

from cryoralib_plugin.contract.foreign import advice_on
from cryoralib_plugin.contract.plan import CACHE_SHARE
from cryoralib_plugin.io.stack import read_stack_header
from cryoralib_plugin.io.thu import IMAGE_NAME, read_thu

from .cache import DiskCache, ImageCache, MemoryCache, NoCache
from .catalogue import StackCatalogue
from .checks import check_ctf
from .preprocess import Preprocessing, Preprocessor
from .source import ImageSource
from .table import STAR_SUFFIX, ParticleTable
from .thunder import THU_SUFFIX, table_from_thu

logger = logging.getLogger(__name__)
_UNKNOWN_PIXEL_SIZE_ANGST = 1.0
_SAME_PIXEL_SIZE = 1e-3


def open_particles(
    config: Any,
    comm: Any,
    memory_bytes: float,
    *,
    check: Callable[[ParticleTable, StackCatalogue], None],
    preprocessing: Callable[[ParticleTable, StackCatalogue], Preprocessing],
) -> Tuple[ParticleTable, ImageSource]:
    """Open the particles of a program on every rank; the root alone reads tables and headers.

    Parameters
    ----------
    config
        Has the groups files and preprocess.
    comm
        The ranks of the run.
    memory_bytes
        What this rank may take; the cache gets its share.
    check
        Called on the root before any work; raises where the particles cannot be used.
    preprocessing
        Called on every rank: what is done to the particles.

    Returns
    -------
    table, source
        Of the whole set, on every rank; shifts are in pixels of the prepared images.
    """
    found = None
    if comm.is_root:
        found = find_particles(
            config.files.particles_file,
            pixel_size_angst=getattr(config.files, "pixel_size_angst", 0.0),
        )
        check(*found)
    table, catalogue = comm.broadcast(found)
    return make_source(
        table,
        catalogue,
        preprocessing(table, catalogue),
        cache=config.preprocess.cache,
        cache_bytes=int(memory_bytes * CACHE_SHARE),
        cache_path=Path(config.files.output_dir) / f"images_rank{comm.rank:03d}.scratch",
    )


def find_particles(
    path: Union[str, Path], *, pixel_size_angst: float = 0.0
) -> Tuple[ParticleTable, StackCatalogue]:
    """Read a particle file or a bare stack and check every stack it names, before any work.

    Parameters
    ----------
    path
        RELION STAR file of any style, THUNDER .thu file, MRC or MRCS stack, EMAN2 HDF5 stack.
    pixel_size_angst
        Of the images, where the user says it: then headers are not believed. 0 otherwise.

    Returns
    -------
    table, catalogue
        Image names of the table are paths as they were found. Where neither the particle file nor
        a header tells the pixel size, 1 A is assumed and said.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"particle file {path} is a folder: name a STAR file or stack in it"
        )
    if not path.is_file():
        raise FileNotFoundError(f"particle file {path} does not exist")
    if advice_on(path):
        raise ValueError(advice_on(path))
    suffix = path.suffix.lower()
    if suffix == THU_SUFFIX:
        frame = read_thu(path)
        catalogue = StackCatalogue.open(frame[IMAGE_NAME], path.parent)
        # It turns THUNDER's shifts, which are in pixels, into Angstrom.
        size = _pixel_size(path, pixel_size_angst or catalogue.pixel_size_angst)
        table = table_from_thu(frame, size)
    elif suffix == STAR_SUFFIX:
        table = ParticleTable.read(path)
        catalogue = StackCatalogue.open(table.image_names, path.parent)
    else:
        header = read_stack_header(path)
        names = [f"{number:06d}@{path}" for number in range(1, header.n_images + 1)]
        table = ParticleTable.from_image_names(names)
        catalogue = StackCatalogue.open(names)
    told = table.image_pixel_size_angst
    if told and pixel_size_angst and abs(told / pixel_size_angst - 1.0) > _SAME_PIXEL_SIZE:
        raise ValueError(
            f"pixel_size_angst is {pixel_size_angst:g} A, but {path} tells {told:g} A: correct the "
            "file, whose shifts are in Angstrom, or leave the parameter at 0"
        )
    if not told:
        told = _pixel_size(path, pixel_size_angst or catalogue.pixel_size_angst)
    table = table.with_image_pixel_size(told, catalogue.box_size_px)
    if catalogue.has_moved:
        table = table.with_image_names(catalogue.image_names())
    return table, catalogue


def _pixel_size(path: Path, told_angst: float) -> float:
    if not told_angst:
        logger.warning("%s does not tell the pixel size: 1 A is assumed", path)
    return told_angst or _UNKNOWN_PIXEL_SIZE_ANGST


def make_source(
    table: ParticleTable,
    catalogue: StackCatalogue,
    preprocessing: Preprocessing,
    *,
    cache: str = "none",
    cache_bytes: int = 0,
    cache_path: Union[str, Path] = "",
) -> Tuple[ParticleTable, ImageSource]:
    """Return the table with shifts in prepared pixels, and the source of prepared images.

    Parameters
    ----------
    cache
        "none", "memory" (up to `cache_bytes`) or "disk" (a scratch file at `cache_path`).
    """
    asked = "wiener" if preprocessing.ctf == "multiply" else preprocessing.ctf
    check_ctf(table, asked)
    preprocessor = Preprocessor(preprocessing, catalogue.box_size_px, table.image_pixel_size_angst)
    source = ImageSource(
        catalogue,
        preprocessor,
        ctf=table.ctf() if preprocessor.needs_ctf else None,
        cache=_open_cache(cache, len(table), preprocessor.box_size_px, cache_bytes, cache_path),
    )
    return table.at_pixel_size(preprocessor.pixel_size_angst), source


def _open_cache(
    kind: str, n_particles: int, box_size_px: int, max_bytes: int, path: Union[str, Path]
) -> ImageCache:
    if kind == "none":
        return NoCache()
    if kind == "memory":
        return MemoryCache(n_particles, box_size_px, max_bytes)
    if kind == "disk":
        return DiskCache(n_particles, box_size_px, path)
    raise ValueError(f'cache must be "none", "memory" or "disk", but is "{kind}"')
