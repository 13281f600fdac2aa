# SPDX-License-Identifier: GPL-3.0-or-later
"""Point groups of molecules: their rotations, in the settings of RELION.

A map has symmetry S where V(S x) = V(x). Its projections at R and S R are then the same, so
operators act on rotations from the left (see `rotations`).

| group | axes (x, y, z) |
|---|---|
| Cn | n-fold z |
| Dn | n-fold z, 2-fold x |
| T | 3-fold z, 2-fold (0, sqrt(2/3), sqrt(1/3)) |
| O | 4-fold z, 3-fold (1, 1, 1) |
| I1 | 2-fold x, y, z; 5-fold (g, 0, -1), g the golden ratio |
| I2 = I | 2-fold x, y, z; 5-fold (1, 0, g) |
| I3 | 5-fold z, 2-fold (-1, 0, g) |
| I4 | 5-fold (2, 0, 1), 2-fold (1, 0, g); half a turn of I3 about z |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.contract.symmetry import parse_symmetry

from .rotations import conjugate, from_axis_angle, multiply, normalise

_GOLDEN = (1 + 5**0.5) / 2

_GENERATORS = {
    ("T", 0): ((3, (0.0, 0.0, 1.0)), (2, (0.0, 2**0.5, 1.0))),
    ("O", 0): ((4, (0.0, 0.0, 1.0)), (3, (1.0, 1.0, 1.0))),
    ("I", 1): ((2, (1.0, 0.0, 0.0)), (5, (_GOLDEN, 0.0, -1.0))),
    ("I", 2): ((2, (0.0, 0.0, 1.0)), (5, (1.0, 0.0, _GOLDEN))),
    ("I", 3): ((5, (0.0, 0.0, 1.0)), (2, (-1.0, 0.0, _GOLDEN))),
    ("I", 4): ((5, (2.0, 0.0, 1.0)), (2, (1.0, 0.0, _GOLDEN))),
}
"""Fold and axis of two rotations that make up the whole group."""

_TIE = 1e-7
"""Mates whose distances differ by less count as equally near: the given one stays."""


def symmetry_operators(name: str) -> np.ndarray:
    """Return the rotations of a point group, (order, 4) float64, w x y z; the identity is first.

    Parameters
    ----------
    name : of the group: C4, D2, T, O, I, I1 ... I4, in capitals or not.

    Raises
    ------
    ConfigError (a ValueError)
        If there is no such group.
    """
    family, number = parse_symmetry(name)
    about_z = np.array([0.0, 0.0, 1.0])
    if family in "CD":
        operators = from_axis_angle(about_z, 360.0 / number * np.arange(number))
        if family == "D":
            over = from_axis_angle(np.array([1.0, 0.0, 0.0]), 180.0)
            operators = np.concatenate([operators, multiply(operators, over)])
        return operators
    return _closure(
        np.stack(
            [
                from_axis_angle(np.array(axis), 360.0 / fold)
                for fold, axis in _GENERATORS[family, number]
            ]
        )
    )


def nearest_mates(rotations: Any, targets: Any, operators: Any) -> Any:
    """Return, of the rotations that show the same image, those nearest to the targets.

    Parameters
    ----------
    rotations : (..., 4) float, w x y z, unit.
    targets : (..., 4) float
        Leading axes are broadcast.
    operators : (order, 4) float, the identity first, on the device of the rotations.

    Returns
    -------
    (..., 4) float, of the sign that is nearer to the target. Equally near mates count as no
    better than the rotation itself.
    """
    xp = namespace_of(rotations, targets, operators)
    # <t, S q> = <t conj(q), S>: one product with all operators at once.
    step = multiply(targets, conjugate(rotations))
    nearness = xp.abs(step @ operators.T)
    nearness[..., 0] += _TIE
    mates = multiply(operators[xp.argmax(nearness, axis=-1)], rotations)
    return xp.where((mates * targets).sum(axis=-1, keepdims=True) < 0.0, -mates, mates)


def to_asymmetric_unit(rotations: Any, operators: Any) -> Any:
    """Return the mates of rotations (..., 4) nearest to the identity, w >= 0.

    One rotation of each set of mates is kept, up to ties on the border of the unit, so that the
    rotations fill 1 / order of all; reducing twice is reducing once.
    """
    xp = namespace_of(rotations, operators)
    identity = xp.asarray([1.0, 0.0, 0.0, 0.0], dtype=rotations.dtype)
    return nearest_mates(rotations, identity, operators)


def _closure(generators: np.ndarray) -> np.ndarray:
    """Return all products of the generators, (order, 4), the identity first, w >= 0."""
    operators = np.array([[1.0, 0.0, 0.0, 0.0]])
    grown = True
    while grown:
        grown = False
        for product in multiply(generators[:, None], operators[None]).reshape(-1, 4):
            if np.abs(operators @ product).max() < 1 - 1e-9:
                operators = np.concatenate([operators, normalise(product)[None]])
                grown = True
    return operators
