# SPDX-License-Identifier: GPL-3.0-or-later
"""Point groups against their orders, their axes in RELION, and solids that have them."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.contract.symmetry import parse_symmetry
from cryoralib_plugin.geometry.rotations import (
    angle_between,
    conjugate,
    from_axis_angle,
    multiply,
    normalise,
    to_matrices,
)
from cryoralib_plugin.geometry.symmetry import (
    nearest_mates,
    symmetry_operators,
    to_asymmetric_unit,
)

ORDERS = {
    "C1": 1, "C2": 2, "c7": 7, "D1": 2, "D2": 4, "D7": 14, "T": 12, "O": 24,
    "I": 60, "I1": 60, "I2": 60, "I3": 60, "i4": 60,
}  # fmt: skip

RELION_AXES = {
    "C5": [(5, (0, 0, 1))],
    "D3": [(3, (0, 0, 1)), (2, (1, 0, 0))],
    "T": [(3, (0, 0, 1)), (2, (0, 0.816496, 0.577350))],
    "O": [(3, (0.5773502, 0.5773502, 0.5773502)), (4, (0, 0, 1))],
    "I1": [(2, (1, 0, 0)), (5, (0.8506508, 0, -0.5257311)), (3, (0.9341724, 0.3568221, 0))],
    "I2": [(2, (0, 0, 1)), (5, (0.5257311, 0, 0.8506508)), (3, (0, 0.3568221, 0.9341724))],
    "I3": [
        (2, (-0.5257311, 0, 0.8506508)),
        (5, (0, 0, 1)),
        (3, (-0.4911235, 0.3568221, 0.7946545)),
    ],
    "I4": [
        (2, (0.5257311, 0, 0.8506508)),
        (5, (0.8944272, 0, 0.4472136)),
        (3, (0.4911235, 0.3568221, 0.7946545)),
    ],
}
"""Fold and axis as RELION's tables write them, to seven digits."""


def contains(operators: np.ndarray, rotation: np.ndarray, within: float = 1e-4) -> bool:
    return bool((angle_between(operators, rotation) < within).any())


def random_rotations(seed: int, n: int = 300) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, 4)))


@pytest.mark.parametrize("name", ORDERS)
def test_a_group_has_its_order_and_is_closed(name):
    operators = symmetry_operators(name)
    assert len(operators) == ORDERS[name]
    np.testing.assert_allclose(operators[0], [1, 0, 0, 0], atol=1e-15)
    overlap = np.abs(operators @ operators.T)
    assert (overlap - np.eye(len(operators)) < 0.9999).all(), "an operator is there twice"
    products = multiply(operators[:, None], operators[None]).reshape(-1, 4)
    nearest = np.abs(products @ operators.T).max(axis=1)
    np.testing.assert_allclose(nearest, 1.0, atol=1e-12)


@pytest.mark.parametrize("name", RELION_AXES)
def test_the_axes_lie_where_relion_has_them(name):
    operators = symmetry_operators(name)
    for fold, axis in RELION_AXES[name]:
        assert contains(operators, from_axis_angle(np.array(axis), 360.0 / fold)), (fold, axis)


def test_the_octahedral_group_turns_a_cube_into_itself():
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1)
    for matrix in to_matrices(symmetry_operators("O")):
        assert {tuple(p) for p in np.rint(matrix @ corners).T} == {tuple(p) for p in corners.T}


@pytest.mark.parametrize(
    "name, axis, angle",
    [("I1", (0, 0, 1), 90), ("I3", (0, 1, 0), 31.7174744), ("I4", (0, 1, 0), -31.7174744)],
)
def test_the_icosahedral_settings_are_i2_turned(name, axis, angle):
    turn = from_axis_angle(np.array(axis, dtype=float), float(angle))
    turned = multiply(multiply(turn, symmetry_operators(name)), conjugate(turn))
    assert all(contains(symmetry_operators("I2"), operator) for operator in turned)
    assert not all(contains(symmetry_operators("I2"), o) for o in symmetry_operators(name))


@pytest.mark.parametrize("name", ["C1", "C4", "D7", "T", "O", "I"])
def test_reduction_is_idempotent_and_keeps_the_image(xp, name):
    operators = xp.asarray(symmetry_operators(name))
    rotations = xp.asarray(np.concatenate([random_rotations(1), symmetry_operators(name)]))
    once = to_asymmetric_unit(rotations, operators)
    assert float(angle_between(once, rotations, operators).max()) < 1e-6
    np.testing.assert_allclose(
        np.asarray(to_asymmetric_unit(once, operators).tolist()), once.tolist(), atol=1e-15
    )
    nearest = angle_between(once, xp.asarray([1.0, 0, 0, 0]), operators)
    own = angle_between(once, xp.asarray([1.0, 0, 0, 0]))
    np.testing.assert_allclose(own.tolist(), nearest.tolist(), atol=1e-4)


@pytest.mark.parametrize("name", ["D2", "O"])
def test_all_mates_reduce_to_one(name):
    operators = symmetry_operators(name)
    for rotation in random_rotations(2, 20):
        reduced = to_asymmetric_unit(multiply(operators, rotation), operators)
        np.testing.assert_allclose(reduced, np.broadcast_to(reduced[0], reduced.shape), atol=1e-9)


def test_nearest_mates_are_as_near_as_the_distance_says():
    operators = symmetry_operators("T")
    rotations, targets = random_rotations(3), random_rotations(4)
    mates = nearest_mates(rotations, targets, operators)
    np.testing.assert_allclose(
        angle_between(mates, targets), angle_between(targets, rotations, operators), atol=1e-4
    )
    assert ((mates * targets).sum(axis=1) >= 0).all()


@pytest.mark.parametrize("name", ["", "C", "C0", "E3", "T3", "I5", "4", "C-2", "D999"])
def test_an_unknown_group_is_refused_in_words(name):
    with pytest.raises(ValueError, match="is not known: it must be one of C1, C2"):
        symmetry_operators(name)


@pytest.mark.parametrize("name", ["Cs", "Ci", "C3v", "D2h", "Td", "Th", "Oh", "Ih"])
def test_a_group_with_mirrors_is_refused_in_words(name):
    with pytest.raises(ValueError, match="contains mirrors, which no chiral molecule has"):
        symmetry_operators(name)


def test_names_are_read_as_relion_writes_them():
    assert parse_symmetry(" d7 ") == ("D", 7)
    assert parse_symmetry("I") == parse_symmetry("I2") == ("I", 2)
