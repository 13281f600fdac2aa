# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either whole or absent: temporary name, flush to the disk, rename.

A crash or a full disk in the middle leaves the previous file as it was. A full disk is reported
with the file that did not fit and the room that is left.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Callable, Iterator, Tuple

_TEMPORARY = ".part"
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_CHUNK_BYTES = 1 << 22


class DiskFullError(OSError):
    """A file did not fit on the disk; the message says which, and what is still whole."""


def temporary_path(path: Path) -> Path:
    """Return the name under which a file is written before it gets its own."""
    return path.with_name(f".{path.name}{_TEMPORARY}")


@contextlib.contextmanager
def report_full_disk(path: Path, what_remains: str = "") -> Iterator[None]:
    """Turn "no space left" into a message that names the file, its folder and the room there."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        with contextlib.suppress(OSError):
            what_remains += f" {_megabytes(shutil.disk_usage(path.parent).free)} are free there."
        limit = (
            "the file grows over the size that the system allows (ulimit -f or a quota)"
            if error.errno == errno.EFBIG
            else "the disk or the quota is full"
        )
        raise DiskFullError(
            error.errno,
            f"cannot write {path.name} in {path.parent}: {limit}.{what_remains} Make room and "
            "continue the run",
        ) from error


def write_temporary(path: Path, write: Callable[[Path], None], what_remains: str = "") -> Path:
    """Call `write` with a temporary name beside `path`, flush it to the disk, return that name.

    Whatever goes wrong, no temporary file stays behind.
    """
    temporary = temporary_path(path)
    try:
        with report_full_disk(path, what_remains):
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def write_atomically(path: Path, write: Callable[[Path], None], what_remains: str = "") -> None:
    """Write one file so that its name always holds a whole file."""
    os.replace(write_temporary(path, write, what_remains), path)
    flush_folder(path.parent)


def write_text_atomically(path: Path, text: str, what_remains: str = "") -> None:
    """Write a small text file so that its name always holds a whole file."""
    write_atomically(path, lambda name: _write_text(name, text), what_remains)


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def flush_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut (where the file system offers it)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def size_and_sha256(path: Path) -> Tuple[int, str]:
    """Return the length of a file in bytes and the SHA-256 sum of its content."""
    digest, length = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                return length, digest.hexdigest()
            digest.update(chunk)
            length += len(chunk)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
