# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums of the members of every class, by half set, exact to the bit in any order of addition."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Callable, Optional

import numpy as np

from cryoralib_plugin.arrays import device_of, namespace_of
from cryoralib_plugin.kernels._dispatch import twin_of
from cryoralib_plugin.kernels.device import OutOfMemory
from cryoralib_plugin.kernels.transform2d import check_images_and_poses, pose_rows
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d, move_with_content

if TYPE_CHECKING:
    from cryoralib_plugin.geometry.rigid2d import Poses2D
    from cryoralib_plugin.kernels.device import Device

logger = logging.getLogger(__name__)

# One unit of the fixed-point sums. Pixels of normalised particles are of order 1, so a unit is far
# below float32 rounding, and sums may reach 2^33 in absolute value.
IMAGE_UNIT = 2.0**-30
CTF_UNIT = 2.0**-40
# With pixels below this, a class overflows no sooner than after 131,072 extreme members.
LARGEST_PIXEL = 65536.0


@dataclass(frozen=True)
class ClassSums:
    """Fixed-point sums over the transformed members of each class and half set.

    Integers add without rounding: the sums are the same to the bit for any order of particles,
    batch size, number of threads, ranks or backend. They add across ranks field by field.

    Attributes
    ----------
    images : (n_classes, 2, N, N) int64, class, half, row, column; in units of ``IMAGE_UNIT``.
    counts : (n_classes, 2) int64, members.
    ctf_power : (n_classes, 2, N, N // 2 + 1) int64, sums of CTF^2 in units of ``CTF_UNIT`` in the
        layout of ``rfft2``; of size 0 in its last axis where no CTF is summed.
    """

    images: Any
    counts: Any
    ctf_power: Any

    @classmethod
    def zeros(
        cls, n_classes: int, box_size_px: int, device: Device, *, with_ctf: bool = False
    ) -> ClassSums:
        """Return empty sums on a device; ``with_ctf`` makes room for the sums of CTF^2."""
        columns = box_size_px // 2 + 1 if with_ctf else 0
        shapes = (
            (n_classes, 2, box_size_px, box_size_px),
            (n_classes, 2),
            (n_classes, 2, box_size_px, columns),
        )
        return cls(*(device.to_device(np.zeros(shape, dtype=np.int64)) for shape in shapes))

    @property
    def has_ctf(self) -> bool:
        """Whether CTF^2 is summed too."""
        return bool(self.ctf_power.shape[-1] > 0)

    def image_sums(self) -> Any:
        """Return the sums of images, (n_classes, 2, N, N) float64."""
        return self.images * IMAGE_UNIT

    def ctf_power_sums(self) -> Any:
        """Return the sums of CTF^2, (n_classes, 2, N, N // 2 + 1) float64."""
        return self.ctf_power * CTF_UNIT

    def averages(self) -> Any:
        """Return the mean member of each class, (n_classes, N, N) float32; 0 for empty classes."""
        return _mean(self.images.sum(axis=1), self.counts.sum(axis=1))

    def half_averages(self) -> Any:
        """Return the mean member of each class and half, (n_classes, 2, N, N) float32."""
        return _mean(self.images, self.counts)


def _mean(images: Any, counts: Any) -> Any:
    xp = namespace_of(images)
    members = xp.maximum(counts, 1)[..., None, None]
    return (images * IMAGE_UNIT / members).astype(xp.float32)


def accumulate(
    sums: ClassSums,
    images: Any,
    poses: Poses2D,
    reference: np.ndarray,
    half: np.ndarray,
    *,
    ctf: Optional[CtfParameters] = None,
    pixel_size_angst: Optional[float] = None,
) -> None:
    """Add particles, moved onto their references, to the sums of their classes, in place.

    The movement is that of :func:`transform_images`, pixel for pixel. With ``ctf`` the square of
    each particle's contrast transfer function is added as well, turned and mirrored as the
    particle is: the moved function is that of astigmatism angle ``angle + psi``, or
    ``-(angle + psi)`` where mirrored.

    Parameters
    ----------
    sums : changed in place; on the device of the images.
    images : (n, N, N) particle, row, column; float32.
    poses : n in-plane poses on the host; degrees and pixels.
    reference : (n,) integers on the host, class of each particle; negative ones are passed over.
    half : (n,) integers on the host, half set 0 or 1.
    ctf : CTF parameters of the n particles, on the host.
    pixel_size_angst : needed with ``ctf``.

    Raises
    ------
    ValueError
        If shapes, classes or halves do not fit, or a pixel is not finite or above 65536.
    TypeError
        If sums and images live on different devices.
    """
    check_images_and_poses(images, poses)
    slots = _slots(sums, images, reference, half)
    twin = twin_of(__name__, images=images, sums=sums.images)
    kept = np.flatnonzero(slots >= 0)
    # Members of one class side by side: they share the same rows of the sums.
    order = kept[np.argsort(slots[kept], kind="stable")]
    xp = namespace_of(sums.images)
    members = np.bincount(slots[order], minlength=sums.counts.size).reshape(sums.counts.shape)
    members, movement = xp.asarray(members), pose_rows(poses)

    def add(rows: np.ndarray) -> bool:
        return bool(twin.add_images(sums.images, images, movement, rows, slots[rows]))

    if not all(_in_parts(xp, add, order)):
        raise ValueError(
            f"a pixel of a particle is not finite or beyond {LARGEST_PIXEL:g}: class averages "
            "need normalised particles; switch normalisation on or mend the images"
        )
    sums.counts[...] += members
    if sums.has_ctf:
        if ctf is None or pixel_size_angst is None:
            raise ValueError("these sums hold CTF^2: give ctf and pixel_size_angst")
        moved = move_with_content(ctf, poses)
        _add_ctf_power(sums, twin, moved, pixel_size_angst, order, slots)


def _slots(sums: ClassSums, images: Any, reference: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return (n,) int64: 2 * class + half of each particle, or -1 for those passed over."""
    n_classes, box = sums.images.shape[0], sums.images.shape[-1]
    if images.shape[-1] != box:
        raise ValueError(
            f"images have a box of {images.shape[-1]} px, but the class sums one of {box} px"
        )
    for name, values in (("reference", reference), ("half", half)):
        if device_of(values=values) != "cpu":
            raise TypeError(f"{name} must live on the host, but it lives on a CUDA device")
        if values.shape != (images.shape[0],):
            raise ValueError(
                f"{name} must have one entry for each of the {images.shape[0]} images, but its "
                f"shape is {tuple(values.shape)}"
            )
    if images.shape[0] and int(reference.max()) >= n_classes:
        raise ValueError(
            f"classes are numbered 0 to {n_classes - 1}, but one reference is {reference.max()}"
        )
    if ((half != 0) & (half != 1)).any():
        raise ValueError("half sets are 0 and 1, but half holds other numbers")
    reference = reference.astype(np.int64)
    return np.where(reference >= 0, 2 * reference + half, -1)


def _add_ctf_power(
    sums: ClassSums,
    twin: Any,
    ctf: CtfParameters,
    pixel_size_angst: float,
    order: np.ndarray,
    slots: np.ndarray,
) -> None:
    """Add CTF^2 to its sums, a few particles at a time so that scratch stays below 64 MiB."""
    xp = namespace_of(sums.ctf_power)
    box = sums.images.shape[-1]
    # ctf_2d works in a handful of float64 arrays of this size.
    step = max(1, 2**26 // (48 * box * (box // 2 + 1)))

    def add(rows: np.ndarray) -> None:
        here = CtfParameters(*(xp.asarray(getattr(ctf, field.name)[rows]) for field in fields(ctf)))
        power = ctf_2d(here, box, pixel_size_angst) ** 2
        twin.add_power(sums.ctf_power, power, slots[rows])

    for first in range(0, len(order), step):
        _in_parts(xp, add, order[first : first + step])


def _in_parts(xp: Any, add: Callable[[np.ndarray], Any], order: np.ndarray) -> list[Any]:
    """Add the members ``order``, by halves where there is no room for all; return what came back.

    ``add`` takes all its memory before it changes a sum, so a call that fails has added nothing.
    """
    try:
        return [add(order)]
    except MemoryError as error:
        if len(order) < 2:
            raise OutOfMemory(f"no room to add a single particle to its class: {error}") from error
    # What the failed call held is free from here on.
    if hasattr(xp, "get_default_memory_pool"):
        xp.get_default_memory_pool().free_all_blocks()
    middle = len(order) // 2
    logger.info("memory is full: adding %d particles at a time", middle)
    return _in_parts(xp, add, order[:middle]) + _in_parts(xp, add, order[middle:])
