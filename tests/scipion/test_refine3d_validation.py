# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a 3D form is said before the run, in words; what is odd is warned of."""

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest import mock

import mrcfile
import numpy as np
from pwem.objects import SetOfParticles, Volume, VolumeMask

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.scipion import hardware
from cryoralib_plugin.scipion.alignment import matrices_projection, matrix_texts
from cryoralib_plugin.scipion.hardware import Hardware
from cryoralib_plugin.scipion.star import read_tables
from cryoralib_plugin.tests.scipion_project import BOX, ProjectTest
from cryoralib_plugin.tests.synthetic_run3d import write_run3d
from cryoralib_plugin.tests.synthetic_set import PIXEL_SIZE_ANGST
from cryoralib_plugin.wizards import PointGroups, diameter_angst

N_PARTICLES = 40


def write_volume(name, box=BOX, values=None, shape=None):
    """A map file; its header does not tell the pixel size."""
    data = np.random.default_rng(3).uniform(0, 1, shape or (box, box, box)).astype("f4")
    with mrcfile.new(name, overwrite=True) as file:
        file.set_data(data if values is None else np.full_like(data, values))
        file.set_volume()
    return name


class TestRefine3DValidation(ProjectTest):
    name = "CryoRalibProtRefine3D"

    def setUp(self):
        self.set = self._particles()
        self.reference = Volume(location=write_volume("reference.mrc"))
        self.reference.setSamplingRate(PIXEL_SIZE_ANGST)

    def _particles(self):
        particles = self.particles(N_PARTICLES, name="projections")
        particles.setAlignmentProj()
        particles.write()
        random = np.random.default_rng(8)
        angles = random.uniform(0, 180, (N_PARTICLES, 3))
        texts = matrix_texts(matrices_projection(angles, random.normal(0, 2, (N_PARTICLES, 2))))
        self._change("_transform._matrix", texts)
        self.angles = angles
        particles = SetOfParticles(filename="projections.sqlite")
        particles.loadAllProperties()
        return particles

    def _change(self, name, values, where="id > 0"):
        """Give a property of the particles new values, one each or one for all."""
        with closing(sqlite3.connect("projections.sqlite")) as connection:
            (column,) = connection.execute(
                "SELECT column_name FROM Classes WHERE label_property = ?", (name,)
            ).fetchone()
            if isinstance(values, list):
                rows = zip(values, range(1, len(values) + 1))
                connection.executemany(f"UPDATE Objects SET {column} = ? WHERE id = ?", rows)
            else:
                connection.execute(f"UPDATE Objects SET {column} = ? WHERE {where}", (values,))
            connection.commit()

    def _form(self, name="", reference=True, **values):
        protocol = self.new(
            name or self.name,
            **{"useGpu": False, "numberOfThreads": 1, "initialResolutionAngst": 20.0, **values},
        )
        protocol.inputParticles.set(self.set)
        if reference:
            protocol.referenceVolume.set(self.reference)
        return protocol

    def assertRefused(self, message, protocol=None, **values):
        errors = (protocol or self._form(**values)).validate()
        self.assertTrue(any(message in error for error in errors), errors)

    def test_a_good_form_passes(self):
        self.assertEqual(self._form().validate(), [])
        self.assertEqual(self._form(reference=False).validate(), [])
        self.assertEqual(self._form(startFromPoses=True, globalSearch=False).validate(), [])
        self.assertEqual(self._form("CryoRalibProtClassify3D", nClasses=2).validate(), [])

    def test_lengths_and_numbers_that_do_not_fit_are_refused(self):
        self.assertRefused(
            "Initial resolution (2 Å) must not be finer",
            initialResolutionAngst=2.0,
            globalResolutionAngst=2.0,
        )
        self.assertRefused("Particle diameter (99 Å) must not exceed", particleDiameterAngst=99.0)
        self.assertRefused("symmetry 'D0' is not known", symmetry="D0")
        self.assertRefused("contains mirrors", symmetry="C3v")
        self.assertRefused("without Global search the run needs poses", globalSearch=False)
        self.assertRefused(
            "11 map(s) of two halves need at least 44 particles",
            self._form("CryoRalibProtClassify3D", nClasses=11),
        )
        self.assertRefused(
            "needs at least 2 classes", self._form("CryoRalibProtClassify3D", nClasses=1)
        )

    def test_a_ctf_that_cannot_be_is_refused(self):
        self._change("_ctfModel._defocusV", -10.0, "id = 3")
        self.assertRefused("Defocus V must be positive (underfocus, in Å), but the lowest is -10")
        self._change("_ctfModel._defocusV", None, "id = 3")
        self.assertRefused("1 particles have no defocus V")
        self._change("_ctfModel._defocusV", 1.4)
        self.assertRefused("Defocus V must be in Å, but is 1.4 at most")
        self._change("_ctfModel._defocusV", 14000.0)
        self._change("_acquisition._voltage", 300000.0)
        self.assertRefused("The voltage must be in kV, but it is 300000")
        self._change("_acquisition._voltage", 300.0)
        self.set.setIsPhaseFlipped(True)
        self.assertRefused("phase-flipped already")
        self.set.setIsPhaseFlipped(False)
        self.set.setHasCTF(False)
        self.assertRefused("The particles have no CTF")

    def test_poses_and_halves_are_checked_where_they_are_the_start(self):
        self._change("_rlnRandomSubset", 2)
        self.assertEqual(self._form().validate(), [])
        self.assertRefused("All particles are in half set 2", startFromPoses=True)
        self._change("_rlnRandomSubset", 3, "id = 7")
        self.assertRefused("rlnRandomSubset goes from 2 to 3", startFromPoses=True)
        self.set.setAlignment2D()
        self.assertRefused("no projection directions", startFromPoses=True)

    def test_particles_without_pose_are_warned_of_and_written_as_such(self):
        self._change("_transform._matrix", None, "id <= 5")
        protocol = self._form(startFromPoses=True)
        self.assertIn("5 of 40 particles have no pose", " ".join(protocol._warnings()))
        folder = Path("with_holes")
        folder.mkdir(exist_ok=True)
        self.proj.saveProtocol(protocol)
        protocol._write_input(folder)
        rows = read_tables(folder / "particles.star")["particles"]
        self.assertTrue(np.isnan(rows["rlnAngleTilt"][:5]).all())
        np.testing.assert_allclose(rows["rlnAngleTilt"][5:], self.angles[5:, 1], atol=1e-5)
        self.assertEqual(set(rows["rlnRandomSubset"].tolist()), {1, 2})

    def test_2d_poses_are_no_start_in_3d(self):
        particles = self.particles(N_PARTICLES, name="flat")
        protocol = self._form()
        protocol.inputParticles.set(particles)
        folder = Path("flat_input")
        folder.mkdir(exist_ok=True)
        self.proj.saveProtocol(protocol)
        protocol._write_input(folder)
        rows = read_tables(folder / "particles.star")["particles"]
        self.assertNotIn("rlnAnglePsi", rows)
        with mrcfile.open(folder / "reference.mrc") as file:
            self.assertAlmostEqual(float(file.voxel_size.x), PIXEL_SIZE_ANGST, 5)
            np.testing.assert_array_equal(file.data, mrcfile.read("reference.mrc"))

    def test_maps_that_cannot_be_used_are_refused(self):
        self.reference.setLocation("gone.mrc")
        self.assertRefused("The file gone.mrc of the initial map does not exist")
        self.reference.setLocation(write_volume("long.mrc", shape=(8, 8, 12)))
        self.assertRefused("The initial map must be a cube")
        self.reference.setLocation("reference.mrc")
        self.reference.setSamplingRate(None)
        self.assertRefused("The initial map has no pixel size")

    def test_a_mask_must_be_given_and_lie_between_0_and_1(self):
        protocol = self._form(mapMask=2)
        self.assertRefused("none is: choose one in the tab Mask", protocol)
        for values, message in ((3.0, "its values go from 3 to 3"), (0.1, "is 0.1 at most")):
            mask = VolumeMask(location=write_volume("mask.mrc", values=values))
            mask.setSamplingRate(PIXEL_SIZE_ANGST)
            protocol.inputMask.set(mask)
            self.assertRefused(message, protocol)
        write_volume("mask.mrc")
        self.assertEqual(protocol.validate(), [])
        self.assertTrue(protocol.config().files.mask_file.endswith("mask.mrc"))
        protocol.mapMask.set(0)
        self.assertEqual(protocol.config().files.mask_file, "")

    def test_warnings_say_what_to_expect(self):
        found = " ".join(self._form(symmetry="O")._warnings())
        self.assertIn("RELION's setting of O", found)
        self.assertIn("40 particles for 1 map(s) of two halves each are few", found)
        self.assertNotIn("resampled", found)
        self.reference.setSamplingRate(2.0)
        self.assertIn("The initial map has 32 px of 2 Å", " ".join(self._form()._warnings()))
        self.assertIn("Without an initial map", " ".join(self._form(reference=False)._warnings()))

    def test_forecast_stands_in_the_summary(self):
        (line,) = self._form()._summary()
        self.assertRegex(
            line, r"^Forecast: .*GiB of memory per rank.* per iteration, 20 rounds or so\.$"
        )
        (line,) = self._form(maximumRounds=7)._summary()
        self.assertIn("7 rounds at most", line)
        small = Hardware((), 2, 2**20)
        with mock.patch.object(hardware, "this_machine", return_value=small):
            self.assertIn("but this machine has 0.0 GiB", " ".join(self._form()._warnings()))

    def test_other_parameters_or_maps_begin_anew(self):
        protocol = self._form()
        before = protocol._digest()
        protocol.batchSize.set(77)
        self.assertEqual(protocol._digest(), before)
        protocol.symmetry.set("C2")
        self.assertNotEqual(protocol._digest(), before)
        identity = protocol._input_identity()
        protocol.referenceVolume.set(None)
        self.assertNotEqual(protocol._input_identity(), identity)

    def test_steps_without_computation_hold_no_gpu(self):
        protocol = self._form(useGpu=True)
        protocol._insertAllSteps()
        needs = {step.funcName.get(): step.needsGPU() for step in protocol._steps}
        self.assertEqual(
            needs, {"convertInputStep": False, "computeStep": True, "createOutputStep": False}
        )

    def test_a_reconstruction_needs_directions_and_both_halves(self):
        def form(**values):
            protocol = self.new("CryoRalibProtReconstruct", useGpu=False, numberOfThreads=1)
            protocol.inputParticles.set(self.set)
            protocol.setAttributesFromDict(values)
            return protocol

        self.assertEqual(form().validate(), [])
        self.assertEqual(form()._warnings(), [])
        self.assertRefused("Finest detail (1 Å)", form(highestResolutionAngst=1.0))
        refinement = self._form()
        self.proj.saveProtocol(refinement)
        protocol = form()
        protocol.inputRefinement.set(refinement)
        self.assertRefused("The refinement has no support points", protocol)
        paths = ResultPaths(refinement.run_dir)
        write_run3d(paths.run_dir, N_PARTICLES)
        paths.cloud_h5(3).touch()
        self.assertEqual(protocol.validate(), [])
        self.assertEqual(protocol.config().files.points_file, str(paths.cloud_h5(3)))
        self._change("_transform._matrix", None, "id <= 5")
        self.assertIn("5 of 40 particles have no pose: they are left", form()._warnings()[0])
        self._change("_rlnRandomSubset", 1)
        self.assertRefused("All particles are in half set 1", form())
        self.set.setAlignment2D()
        self.assertRefused("no projection directions", form())

    def test_wizards_speak_the_forms_language(self):
        self.assertEqual(diameter_angst(20, 1.34), 54.0)
        provider = PointGroups()
        rows = provider.getObjects()
        self.assertEqual(len(provider.getColumns()), 1 + len(rows[0].values))
        for row in rows:
            row._treeId = "what pyworkflow's list gives every row"
            name = provider.getObjectInfo(row)["key"]
            self.assertEqual(self._form(symmetry=name).validate(), [])
