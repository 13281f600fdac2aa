# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations in space as unit quaternions, and the same rotation in other programs' words.

A rotation R takes coordinates of an image to coordinates of the map, both (x, y, z) relative to
pixel N // 2:

    ``image(x, y) = integral of V(R (x, y, z)^T) dz``,   ``image(k) = V(R (kx, ky, 0)^T)``.

Its quaternion (w, x, y, z) has ``R = I + 2 w [v] + 2 [v]^2``, [v] the matrix of the cross product
with v = (x, y, z); q and -q are one rotation, and ``R(a b) = R(a) R(b)`` for Hamilton's product.
THUNDER stores the same quaternion. RELION's Euler matrix is the transpose,
``R = A^T = Rz(rot) Ry(tilt) Rz(psi)``. A map of symmetry S, V(S x) = V(x), has the same image at R
and at S R: symmetry acts from the left.
"""

from __future__ import annotations

from typing import Any

from cryoralib_plugin.arrays import namespace_of

from .rigid2d import wrap_degrees

_POLE = 1e-13
"""Half-angle sine below which the axes of rot and psi are one line up to rounding."""


def multiply(first: Any, second: Any) -> Any:
    """Return Hamilton products a b, the rotation ``R(a) R(b)``: ``second`` acts first.

    Parameters
    ----------
    first, second : (..., 4) float, w x y z
        Leading axes are broadcast.

    Returns
    -------
    (..., 4) float.
    """
    xp = namespace_of(first, second)
    a, b, c, d = (first[..., i] for i in range(4))
    w, x, y, z = (second[..., i] for i in range(4))
    return xp.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )


def conjugate(rotations: Any) -> Any:
    """Return the inverse rotations, (..., 4): the vector part of a unit quaternion negated."""
    xp = namespace_of(rotations)
    return rotations * xp.asarray([1.0, -1.0, -1.0, -1.0], dtype=rotations.dtype)


def normalise(quaternions: Any) -> Any:
    """Return (..., 4) unit quaternions of the same direction, with w >= 0.

    Raises
    ------
    ValueError
        If a quaternion is zero or not finite, and so is no rotation.
    """
    xp = namespace_of(quaternions)
    length = xp.sqrt((quaternions * quaternions).sum(axis=-1, keepdims=True))
    if not bool(((length > 0.0) & xp.isfinite(length)).all()):
        raise ValueError(
            "a quaternion must be finite and not zero to be a rotation, but "
            f"{int((~((length > 0.0) & xp.isfinite(length))).sum())} are not"
        )
    return xp.where(quaternions[..., :1] < 0.0, -quaternions, quaternions) / length


def to_matrices(rotations: Any) -> Any:
    """Return (..., 3, 3) rotation matrices R, which act on columns (x, y, z), same dtype.

    Parameters
    ----------
    rotations : (..., 4) float, w x y z, unit.
    """
    xp = namespace_of(rotations)
    w, x, y, z = (rotations[..., i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def from_matrices(matrices: Any) -> Any:
    """Return the (..., 4) quaternions, w >= 0, of rotation matrices (..., 3, 3).

    Of the four equivalent formulas the one with the largest divisor is taken (Shepperd, J.
    Guidance and Control 1, 223 (1978)), so that half turns are as exact as small angles.

    Raises
    ------
    ValueError
        If a matrix is a reflection or no rotation at all.
    """
    xp = namespace_of(matrices)
    m = matrices
    rest = xp.abs(m @ xp.swapaxes(m, -1, -2) - xp.eye(3))
    if not bool((rest < 1e-3).all()) or not bool((xp.linalg.det(m) > 0.0).all()):
        raise ValueError(
            "rotation matrices must be orthogonal with determinant +1, but one of them is not: "
            "mirrored or scaled alignments have no quaternion"
        )
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 0, 1] + m[..., 1, 0],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 1, 2] + m[..., 2, 1],
    )
    # Row i is 4 q_i q: four multiples of one quaternion.
    rows = xp.stack(
        [
            xp.stack([1 + xx + yy + zz, wx, wy, wz], axis=-1),
            xp.stack([wx, 1 + xx - yy - zz, xy, xz], axis=-1),
            xp.stack([wy, xy, 1 - xx + yy - zz, yz], axis=-1),
            xp.stack([wz, xz, yz, 1 - xx - yy + zz], axis=-1),
        ],
        axis=-2,
    )
    largest = xp.argmax(xp.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    chosen = xp.take_along_axis(rows, largest[..., None, None], axis=-2)[..., 0, :]
    return normalise(chosen)


def from_euler(rot_deg: Any, tilt_deg: Any, psi_deg: Any) -> Any:
    """Return the (..., 4) float64 quaternions of RELION's angles, w x y z.

    ``w = cos(tilt/2) cos((rot+psi)/2)``, ``x = sin(tilt/2) sin((psi-rot)/2)``,
    ``y = sin(tilt/2) cos((psi-rot)/2)``, ``z = cos(tilt/2) sin((rot+psi)/2)``.

    Parameters
    ----------
    rot_deg, tilt_deg, psi_deg : (...) float, degrees
        rlnAngleRot, rlnAngleTilt and rlnAnglePsi.
    """
    xp = namespace_of(rot_deg, tilt_deg, psi_deg)
    half_tilt = xp.deg2rad(xp.asarray(tilt_deg, dtype=xp.float64)) / 2
    rot = xp.deg2rad(xp.asarray(rot_deg, dtype=xp.float64))
    psi = xp.deg2rad(xp.asarray(psi_deg, dtype=xp.float64))
    total, difference = (psi + rot) / 2, (psi - rot) / 2
    return xp.stack(
        [
            xp.cos(half_tilt) * xp.cos(total),
            xp.sin(half_tilt) * xp.sin(difference),
            xp.sin(half_tilt) * xp.cos(difference),
            xp.cos(half_tilt) * xp.sin(total),
        ],
        axis=-1,
    )


def to_euler(rotations: Any) -> tuple[Any, Any, Any]:
    """Return RELION's rot, tilt and psi of unit quaternions (..., 4), each (...) float64, degrees.

    tilt lies in [0, 180], the others in [-180, 180). At tilt 0 and 180, where rot and psi turn
    about one line, rot is 0, as RELION has it.
    """
    xp = namespace_of(rotations)
    q = rotations.astype(xp.float64)
    w, x, y, z = (q[..., i] for i in range(4))
    in_plane, tipped = xp.hypot(w, z), xp.hypot(x, y)
    total = xp.where(in_plane > _POLE, xp.arctan2(z, w), 0.0)
    difference = xp.where(tipped > _POLE, xp.arctan2(x, y), 0.0)
    tilt = 2.0 * xp.arctan2(tipped, in_plane)
    at_pole = (in_plane <= _POLE) | (tipped <= _POLE)
    rot = xp.where(at_pole, 0.0, total - difference)
    psi = xp.where(at_pole, 2.0 * (total + difference), total + difference)
    return wrap_degrees(xp.rad2deg(rot)), xp.rad2deg(tilt), wrap_degrees(xp.rad2deg(psi))


def from_axis_angle(axes: Any, angle_deg: Any) -> Any:
    """Return the (..., 4) float64 rotations about axes (..., 3), right-handed, by (...) degrees.

    The axes need not be unit vectors, but must not be zero.
    """
    xp = namespace_of(axes)
    half = xp.deg2rad(xp.asarray(angle_deg, dtype=xp.float64))[..., None] / 2
    unit = axes / xp.sqrt((axes * axes).sum(axis=-1, keepdims=True))
    cosine = xp.cos(half) + xp.zeros_like(unit[..., :1])
    return xp.concatenate([cosine, xp.sin(half) * unit], axis=-1)


def to_rotation_vectors(rotations: Any) -> Any:
    """Return axis times angle, (..., 3) float64 degrees, of unit quaternions; angle at most 180.

    Of ``conj(a) b`` it is the step from a to b about the axes of the image: the first two
    components tip the view, the third turns it in its plane.
    """
    xp = namespace_of(rotations)
    q = rotations.astype(xp.float64)
    q = xp.where(q[..., :1] < 0.0, -q, q)
    sine = xp.sqrt((q[..., 1:] ** 2).sum(axis=-1, keepdims=True))
    angle = 2.0 * xp.arctan2(sine, q[..., :1])
    # angle / sine goes to 2 where both vanish.
    ratio = xp.where(sine > 0.0, angle / xp.where(sine > 0.0, sine, 1.0), 2.0)
    return xp.rad2deg(ratio * q[..., 1:])


def view_directions(rotations: Any) -> Any:
    """Return the third column of R, (..., 3): the direction in the map that an image looks along.

    Its angles are rot (azimuth from +x) and tilt (from +z).
    """
    xp = namespace_of(rotations)
    w, x, y, z = (rotations[..., i] for i in range(4))
    return xp.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=-1)


def angle_between(first: Any, second: Any, operators: Any = None) -> Any:
    """Return the angle of the rotation from ``first`` to ``second``, (...) float64, degrees.

    Parameters
    ----------
    first, second : (..., 4) float, w x y z, unit
        Leading axes are broadcast.
    operators : (n_operators, 4) float
        Symmetry of the map (see `geometry.symmetry`): the smallest angle to any of the rotations
        ``S second``, which show the same image, is returned.
    """
    xp = namespace_of(first, second)
    second = second.astype(xp.float64)
    mates = second[..., None, :] if operators is None else multiply(operators, second[..., None, :])
    apart = first.astype(xp.float64)[..., None, :]
    # The chord keeps the digits of small angles, which the cosine would lose.
    chord_2 = xp.minimum(((apart - mates) ** 2).sum(axis=-1), ((apart + mates) ** 2).sum(axis=-1))
    half_chord = xp.minimum(0.5 * xp.sqrt(chord_2.min(axis=-1)), 1.0)
    return xp.rad2deg(4.0 * xp.arcsin(half_chord))


def to_alignment_matrices(rotations: Any, shift_px: Any) -> Any:
    """Return Scipion's projection alignment, (n, 4, 4) float64: ``[[R, R s], [0, 1]]``.

    Parameters
    ----------
    rotations : (n, 4) float, w x y z, unit.
    shift_px : (n, 2) float, x and y, pixels
        rlnOriginX/Y: what moves the particle's centre onto pixel N // 2 (THUNDER's translation
        with the opposite sign).
    """
    xp = namespace_of(rotations, shift_px)
    matrices = to_matrices(rotations.astype(xp.float64))
    result = xp.zeros((len(rotations), 4, 4))
    result[:, :3, :3] = matrices
    result[:, :3, 3] = (matrices[:, :, :2] * shift_px[:, None, :]).sum(axis=-1)
    result[:, 3, 3] = 1.0
    return result


def from_alignment_matrices(transforms: Any) -> tuple[Any, Any]:
    """Return rotations (n, 4) and shifts (n, 2) px of Scipion's projection alignments (n, 4, 4)."""
    xp = namespace_of(transforms)
    matrices = transforms[:, :3, :3]
    shift = (xp.swapaxes(matrices, -1, -2) * transforms[:, None, :3, 3]).sum(axis=-1)
    return from_matrices(matrices), shift[:, :2]
