# SPDX-License-Identifier: GPL-3.0-or-later
"""Alignment matrices mean what Scipion's own tools and RELION take them to mean."""

import unittest

import numpy as np
from pwem.convert import transformations as tfs
from pwem.objects import Transform

from cryoralib_plugin.geometry.rigid2d import Poses2D, matrices
from cryoralib_plugin.scipion.alignment import (
    euler_matrices,
    matrices_2d,
    matrices_from_texts,
    matrices_projection,
    matrix_texts,
    poses_2d,
    poses_projection,
)

N_POSES = 200


class TestAlignmentMatrices(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(11)
        self.psi = random.uniform(-180, 180, N_POSES)
        self.origin = random.uniform(-5, 5, (N_POSES, 2))
        self.flip = random.random(N_POSES) < 0.5
        self.angles = np.stack(
            [
                random.uniform(-180, 180, N_POSES),
                random.uniform(0.1, 179.9, N_POSES),
                random.uniform(-180, 180, N_POSES),
            ],
            axis=1,
        )

    def test_pose_survives_the_way_there_and_back(self):
        psi, origin, flip = poses_2d(matrices_2d(self.psi, self.origin, self.flip))
        np.testing.assert_allclose(psi, self.psi, atol=1e-9)
        np.testing.assert_array_equal(origin, self.origin)
        np.testing.assert_array_equal(flip, self.flip)

    def test_rotation_part_is_the_content_map_of_the_engine(self):
        """The point p + origin, rotated by M, lies where the engine's map puts p."""
        ours = matrices_2d(self.psi, self.origin, self.flip)
        engine = matrices(Poses2D(self.psi, self.origin, self.flip))
        point = np.array([7.0, -3.0])
        moved = np.einsum("nij,nj->ni", ours[:, :2, :2], point + ours[:, :2, 3])
        expected = np.einsum("nij,j->ni", engine, np.array([*point, 1.0]))[:, :2]
        np.testing.assert_allclose(moved, expected, atol=1e-9)

    def test_mirror_is_stored_as_scipions_readers_store_it(self):
        (plain,) = matrices_2d(np.array([30.0]), np.array([[1.0, 2.0]]), np.array([False]))
        (mirrored,) = matrices_2d(np.array([30.0]), np.array([[1.0, 2.0]]), np.array([True]))
        np.testing.assert_allclose(mirrored[0, :2], -plain[0, :2])
        np.testing.assert_allclose(mirrored[1], plain[1])
        self.assertEqual(mirrored[0, 3], 1.0)
        self.assertEqual(mirrored[2, 2], -1.0)
        self.assertLess(np.linalg.det(mirrored[:2, :2]), 0)
        self.assertAlmostEqual(np.linalg.det(mirrored[:3, :3]), 1.0)

    def test_euler_matrices_are_relions(self):
        for (rot, tilt, psi), ours in zip(self.angles, euler_matrices(*self.angles.T)):
            theirs = tfs.euler_matrix(*-np.deg2rad([rot, tilt, psi]), "szyz")[:3, :3]
            np.testing.assert_allclose(ours, theirs, atol=1e-12)

    def test_projection_matrix_is_the_inverse_of_relions_geometry(self):
        ours = matrices_projection(self.angles, self.origin)
        for row, matrix in enumerate(ours):
            forward = np.eye(4)
            forward[:3, :3] = euler_matrices(*self.angles[row : row + 1].T)[0]
            forward[:2, 3] = -self.origin[row]
            np.testing.assert_allclose(matrix, np.linalg.inv(forward), atol=1e-9)
        angles, origin = poses_projection(ours)
        np.testing.assert_allclose(angles, self.angles, atol=1e-7)
        np.testing.assert_allclose(origin, self.origin, atol=1e-9)

    def test_poles_keep_their_rotation(self):
        for tilt in (0.0, 180.0):
            angles = self.angles.copy()
            angles[:, 1] = tilt
            back, origin = poses_projection(matrices_projection(angles, self.origin))
            np.testing.assert_allclose(
                euler_matrices(*back.T), euler_matrices(*angles.T), atol=1e-8
            )
            np.testing.assert_allclose(origin, self.origin, atol=1e-9)

    def test_texts_are_the_ones_scipion_writes(self):
        ours = matrices_2d(self.psi, self.origin, self.flip)
        for text, matrix in zip(matrix_texts(ours), ours):
            self.assertEqual(text, Transform(matrix=matrix)._matrix.getObjValue())
        np.testing.assert_array_equal(matrices_from_texts(matrix_texts(ours)), ours)
