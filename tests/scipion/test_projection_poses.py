# SPDX-License-Identifier: GPL-3.0-or-later
"""Projection directions of Scipion are the engine's, whatever road they take."""

import unittest

import numpy as np

from cryoralib_plugin.geometry.rotations import (
    angle_between,
    from_euler,
    to_alignment_matrices,
    to_euler,
    to_matrices,
)
from cryoralib_plugin.scipion.alignment import (
    matrices_from_texts,
    matrices_projection,
    matrix_texts,
    poses_projection,
)

N_POSES = 1000


class TestProjectionPoses(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(23)
        tilt = np.rad2deg(np.arccos(random.uniform(-1, 1, N_POSES)))
        tilt[:20], tilt[20:40] = 0.0, 180.0
        rot, psi = random.uniform(-180, 180, (2, N_POSES))
        self.angles = np.stack([rot, tilt, psi], axis=1)
        self.origin = random.uniform(-8, 8, (N_POSES, 2))
        self.scipion = matrices_projection(self.angles, self.origin)
        self.engine = to_matrices(from_euler(*self.angles.T))

    def test_matrix_is_the_rotation_and_minus_what_the_particle_lies_off(self):
        """S = [R | -R t] with t = -origin, the displacement of the content."""
        np.testing.assert_allclose(self.scipion[:, :3, :3], self.engine, atol=1e-12)
        displacement = np.zeros((N_POSES, 3))
        displacement[:, :2] = -self.origin
        expected = -np.einsum("nij,nj->ni", self.engine, displacement)
        np.testing.assert_allclose(self.scipion[:, :3, 3], expected, atol=1e-12)
        np.testing.assert_array_equal(self.scipion[:, 3], np.tile([0, 0, 0, 1], (N_POSES, 1)))
        theirs = to_alignment_matrices(from_euler(*self.angles.T), self.origin)
        np.testing.assert_allclose(self.scipion, theirs, atol=1e-12)

    def test_round_trip_through_text_and_quaternions_keeps_every_pose(self):
        angles, origin = poses_projection(matrices_from_texts(matrix_texts(self.scipion)))
        quaternions = from_euler(*angles.T)
        apart_deg = angle_between(quaternions, from_euler(*self.angles.T))
        self.assertLess(apart_deg.max(), np.rad2deg(1e-6))
        again = matrices_projection(np.stack(to_euler(quaternions), axis=1), origin)
        np.testing.assert_allclose(again, self.scipion, atol=1e-9)
        self.assertLess(np.abs(origin - self.origin).max(), 1e-9)

    def test_projection_matrix_as_relion_readers_of_scipion_write_it(self):
        """inv of [A | -origin] with A the passive Euler matrix, as scipion-em-relion stores it."""
        for row in (0, 25, 50, 777):
            forward = np.eye(4)
            forward[:3, :3] = self.engine[row].T
            forward[:2, 3] = -self.origin[row]
            np.testing.assert_allclose(self.scipion[row], np.linalg.inv(forward), atol=1e-12)

    def test_a_particle_without_pose_stays_without(self):
        matrices = self.scipion.copy()
        matrices[3] = np.nan
        angles, origin = poses_projection(matrices)
        self.assertTrue(np.isnan(angles[3]).all() and np.isnan(origin[3]).all())
        self.assertTrue(np.isfinite(np.delete(angles, 3, axis=0)).all())
