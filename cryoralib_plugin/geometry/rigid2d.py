# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigid motions of the plane with mirror: the in-plane poses of particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryoralib_plugin.arrays import namespace_of


@dataclass(frozen=True)
class Poses2D:
    """In-plane poses of n particles: how the content of each moves onto its class average.

    A point at ``x_in`` of the particle appears in the average at

        ``x_out = F^mirror R(psi) (x_in + shift)``,

    ``R(psi) = [[cos, -sin], [sin, cos]]``, ``F = diag(-1, 1)``, coordinates (x = column,
    y = row) relative to pixel N // 2. The shift comes first, the mirror last, so that ``psi_deg``
    is RELION's rlnAnglePsi and ``shift_px`` its rlnOriginX/Y in pixels.

    Attributes
    ----------
    psi_deg : (n,) float64, degrees.
    shift_px : (n, 2) float64, x and y, pixels of the particle.
    mirror : (n,) bool.
    """

    psi_deg: Any
    shift_px: Any
    mirror: Any

    def __len__(self) -> int:
        return len(self.psi_deg)

    def __getitem__(self, rows: Any) -> Poses2D:
        """Return the poses of the given rows (a slice, mask or index array)."""
        return Poses2D(self.psi_deg[rows], self.shift_px[rows], self.mirror[rows])

    @classmethod
    def identity(cls, n: int, like: Any = ()) -> Poses2D:
        """Return n poses that leave an image as it is, in the array module of ``like``."""
        xp = namespace_of(like)
        return cls(xp.zeros(n), xp.zeros((n, 2)), xp.zeros(n, dtype=bool))


def wrap_degrees(angle_deg: Any, lowest_deg: float = -180.0) -> Any:
    """Return the same angles in [lowest, lowest + 360), degrees."""
    xp = namespace_of(angle_deg)
    turned = xp.mod(angle_deg - lowest_deg, 360.0)
    # The remainder of a tiny negative number rounds to 360 itself.
    return xp.where(turned >= 360.0, 0.0, turned) + lowest_deg


def compose(first: Poses2D, second: Poses2D) -> Poses2D:
    """Return the poses that act as ``first`` and then ``second`` (matrix product second first).

    From ``R(b) F = F R(-b)``: ``psi = psi1 + psi2``, or ``psi1 - psi2`` where the first mirrors,
    ``shift = shift1 + R(psi1)^T F^mirror1 shift2`` and ``mirror = mirror1 xor mirror2``.
    """
    xp = namespace_of(first.psi_deg, second.psi_deg)
    turn = xp.where(first.mirror, -second.psi_deg, second.psi_deg)
    return Poses2D(
        wrap_degrees(first.psi_deg + turn),
        first.shift_px + _to_particle_frame(first, second.shift_px),
        first.mirror ^ second.mirror,
    )


def inverse(poses: Poses2D) -> Poses2D:
    """Return the poses that undo the given ones.

    Without mirror ``psi' = -psi``; with mirror ``psi' = psi``, since a reflection undoes itself;
    ``shift' = -F^mirror R(psi) shift`` in both cases.
    """
    xp = namespace_of(poses.psi_deg)
    psi = xp.where(poses.mirror, poses.psi_deg, -poses.psi_deg)
    return Poses2D(wrap_degrees(psi), -_to_average_frame(poses, poses.shift_px), poses.mirror)


def matrices(poses: Poses2D) -> Any:
    """Return (n, 3, 3) float64 homogeneous matrices that act on columns (x_in, y_in, 1), pixels."""
    xp = namespace_of(poses.psi_deg)
    cosine, sine = _cos_sin(poses)
    sign = xp.where(poses.mirror, -1.0, 1.0)
    result = xp.zeros((len(poses), 3, 3))
    result[:, 0, 0] = sign * cosine
    result[:, 0, 1] = -sign * sine
    result[:, 1, 0] = sine
    result[:, 1, 1] = cosine
    result[:, :2, 2] = _to_average_frame(poses, poses.shift_px)
    result[:, 2, 2] = 1.0
    return result


def from_matrices(transforms: Any) -> Poses2D:
    """Return the poses of (n, 3, 3) rigid homogeneous matrices; mirrored where det < 0."""
    xp = namespace_of(transforms)
    linear = transforms[:, :2, :2]
    mirror = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0] < 0.0
    psi = xp.rad2deg(xp.arctan2(linear[:, 1, 0], linear[:, 1, 1]))
    centred = Poses2D(wrap_degrees(psi), xp.zeros((len(transforms), 2)), mirror)
    return Poses2D(centred.psi_deg, _to_particle_frame(centred, transforms[:, :2, 2]), mirror)


def recentre(poses: Poses2D, centre_px: Any) -> Poses2D:
    """Return the poses of the members of averages that have been moved by ``-centre_px``.

    Moving an average without telling its members loses them from the search range, so the two
    always go together: ``shift' = shift - R(psi)^T F^mirror centre``.

    Parameters
    ----------
    poses : of the members.
    centre_px : (n, 2) or (2,) float64, x and y, pixels
        Where the centre of each member's average was, relative to pixel N // 2.
    """
    moved = poses.shift_px - _to_particle_frame(poses, centre_px + 0.0 * poses.shift_px)
    return Poses2D(poses.psi_deg, moved, poses.mirror)


def pixel_error(first: Poses2D, second: Poses2D, radius_px: float) -> Any:
    """Return (n,) float64 root-mean-square distance between two placements of a disk, pixels.

    For equal hands ``e^2 = ((2 r + 1) sin(delta / 2))^2 / 2 + |t1 - t2|^2``, ``t = R(psi) shift``:
    the square of what SPARX ``pixel_error_2D`` reports averaged over the disk, with half a
    pixel added to the radius. For opposite hands the mean of ``|x1 - x2|^2`` over the same disk is
    ``(r + 1/2)^2 + |t1 - t2|^2`` at every angle.
    """
    xp = namespace_of(first.psi_deg, second.psi_deg)
    moved = _to_average_frame(first, first.shift_px) - _to_average_frame(second, second.shift_px)
    delta = xp.deg2rad(first.psi_deg - second.psi_deg)
    same_hand = 2.0 * xp.sin(0.5 * delta) ** 2
    spread = xp.where(first.mirror == second.mirror, same_hand, 1.0) * (radius_px + 0.5) ** 2
    return xp.sqrt(spread + (moved**2).sum(axis=-1))


def from_sparx(alpha_deg: Any, translation_px: Any, mirror: Any) -> Poses2D:
    """Return the poses of SPARX's parameters ``x_out = F^m (R(-alpha) x_in + t)``.

    Parameters
    ----------
    alpha_deg : (n,) float64, degrees.
    translation_px : (n, 2) float64, pixels
        ``t`` = (sx, sy) of ``xform.align2d``: after the rotation, before the mirror.
    mirror : (n,) bool.
    """
    xp = namespace_of(alpha_deg)
    unmirrored = Poses2D(
        wrap_degrees(-alpha_deg), translation_px, xp.zeros_like(mirror, dtype=bool)
    )
    shift = _to_particle_frame(unmirrored, translation_px)
    return Poses2D(unmirrored.psi_deg, shift, xp.asarray(mirror, dtype=bool))


def to_sparx(poses: Poses2D) -> tuple[Any, Any, Any]:
    """Return alpha in [0, 360) degrees, (n, 2) translation in pixels and mirror: see `from_sparx`.

    SPARX's running offset in the raw image, (sxi, syi), is ``-poses.shift_px``.
    """
    xp = namespace_of(poses.psi_deg)
    unmirrored = Poses2D(poses.psi_deg, poses.shift_px, xp.zeros_like(poses.mirror))
    translation = _to_average_frame(unmirrored, poses.shift_px)
    return wrap_degrees(-poses.psi_deg, 0.0), translation, poses.mirror


def _cos_sin(poses: Poses2D) -> tuple[Any, Any]:
    """Return cos(psi) and sin(psi), each (n,) float64."""
    xp = namespace_of(poses.psi_deg)
    psi = xp.deg2rad(poses.psi_deg)
    return xp.cos(psi), xp.sin(psi)


def _to_average_frame(poses: Poses2D, vectors: Any) -> Any:
    """Return F^mirror R(psi) v for (n, 2) vectors."""
    xp = namespace_of(vectors)
    cosine, sine = _cos_sin(poses)
    x = cosine * vectors[:, 0] - sine * vectors[:, 1]
    y = sine * vectors[:, 0] + cosine * vectors[:, 1]
    return xp.stack([xp.where(poses.mirror, -x, x), y], axis=-1)


def _to_particle_frame(poses: Poses2D, vectors: Any) -> Any:
    """Return R(psi)^T F^mirror v for (n, 2) vectors."""
    xp = namespace_of(vectors)
    cosine, sine = _cos_sin(poses)
    x = xp.where(poses.mirror, -vectors[:, 0], vectors[:, 0])
    y = vectors[:, 1]
    return xp.stack([cosine * x + sine * y, cosine * y - sine * x], axis=-1)
