# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps, particles, curves and classes that Scipion gets are those of the run's last round."""

import os
from pathlib import Path
from unittest import mock

import numpy as np
from pwem.objects import SetOfClasses3D, SetOfParticles

from cryoralib_plugin.contract import labels
from cryoralib_plugin.scipion import fill_sets, outputs3d, results3d
from cryoralib_plugin.scipion.alignment import poses_projection
from cryoralib_plugin.tests.scipion_project import BOX, ProjectTest
from cryoralib_plugin.tests.synthetic_run3d import SET_ASIDE, write_run3d
from cryoralib_plugin.tests.synthetic_set import PIXEL_SIZE_ANGST

N_PARTICLES = 40
LAST = 3


def contents(particles):
    """All that is stored of every particle."""
    return {item.getObjId(): dict(item.getObjDict()) for item in particles}


class RunTest(ProjectTest):
    """A refinement or classification whose run directory is there already."""

    name, n_classes = "", 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.new("CryoRalibProtSimulateParticles")
        cls.proj.saveProtocol(cls.source)
        cls.source.makePathsAndClean()
        cls.given = cls.particles(N_PARTICLES)
        given = cls.source._createSetOfParticles()
        given.copyInfo(cls.given)
        given.copyItems(cls.given)
        cls.source._defineOutputs(outputParticles=given)
        cls.protocol = cls.new(cls.name, {"inputParticles": (cls.source, "outputParticles")})
        cls.proj.saveProtocol(cls.protocol)
        cls.protocol.makePathsAndClean()
        cls.columns = write_run3d(cls.protocol.run_dir, N_PARTICLES, n_classes=cls.n_classes)
        cls.protocol.createOutputStep("", "")

    def check_particle(self, item, classified):
        """One particle carries what the table says of it."""
        row = item.getObjId() - 1
        found = {name: values[row] for name, values in self.columns.items()}
        (angles,), (origin,) = poses_projection(np.array([item.getTransform().getMatrix()]))
        for angle, name in zip(angles, (labels.ANGLE_ROT, labels.ANGLE_TILT, labels.ANGLE_PSI)):
            self.assertAlmostEqual((angle - found[name] + 180) % 360, 180, 5)
        self.assertAlmostEqual(origin[0] * PIXEL_SIZE_ANGST, found[labels.ORIGIN_X_ANGST], 6)
        self.assertAlmostEqual(origin[1] * PIXEL_SIZE_ANGST, found[labels.ORIGIN_Y_ANGST], 6)
        self.assertAlmostEqual(item.getCTF().getDefocusU(), found[labels.DEFOCUS_U], 5)
        self.assertAlmostEqual(item.getCTF().getDefocusV(), found[labels.DEFOCUS_V], 5)
        self.assertEqual(item.getCTF().getDefocusAngle(), 30.0)
        self.assertEqual(item._rlnRandomSubset.get(), found[labels.RANDOM_SUBSET])
        self.assertEqual(item.getClassId(), classified or 1)
        for name in (labels.FIGURE_OF_MERIT, labels.ANGULAR_STD, labels.SHIFT_STD, labels.WEIGHT):
            self.assertAlmostEqual(getattr(item, f"_{name}").get(), found[name], 6)


class TestRefine3DOutputs(RunTest):
    name = "CryoRalibProtRefine3D"

    def test_map_comes_with_its_unfiltered_halves(self):
        volume = self.protocol.outputVolume
        self.assertEqual(Path(volume.getFileName()).name, f"run_it{LAST:03d}_class001.mrc")
        self.assertEqual(volume.getSamplingRate(), PIXEL_SIZE_ANGST)
        self.assertEqual(volume.getDim(), (BOX, BOX, BOX))
        halves = volume.getHalfMaps(asList=True)
        names = [f"run_it{LAST:03d}_half{half}_class001_unfil.mrc" for half in (1, 2)]
        self.assertEqual([Path(name).name for name in halves], names)
        self.assertTrue(all(os.path.exists(name) for name in halves))
        self.assertAlmostEqual(volume._rlnEstimatedResolution.get(), BOX * PIXEL_SIZE_ANGST / 9)

    def test_particles_carry_pose_defocus_and_certainty(self):
        particles = self.protocol.outputParticles
        self.assertTrue(particles.hasAlignmentProj())
        self.assertTrue(particles.hasCTF())
        ids = []
        for item in particles:
            self.check_particle(item, 0)
            ids.append(item.getObjId())
        expected = [number for number in range(1, N_PARTICLES + 1) if number != SET_ASIDE]
        self.assertEqual(ids, expected)

    def test_particles_are_the_same_in_bulk_and_one_by_one(self):
        run = outputs3d.read_run3d(self.protocol.run_dir)
        poses = outputs3d.read_poses3d(run.paths.data_star(LAST), self.given)
        slow = SetOfParticles(filename="slow.sqlite")
        slow.copyInfo(self.given)
        slow.setAlignmentProj()
        fill_sets.fill_particles_by_item(slow, self.given, poses)
        slow.write()
        self.assertEqual(
            contents(self.protocol.outputParticles),
            contents(SetOfParticles(filename="slow.sqlite")),
        )

    def test_curves_are_over_frequency_and_named(self):
        curves = results3d.read_fsc_set(self.protocol.outputFSC)
        self.assertEqual(list(curves), ["corrected", "masked", "unmasked"])
        curve = curves["masked"]
        self.assertEqual(len(curve["fsc"]), BOX // 2)
        np.testing.assert_allclose(
            curve["frequency_inv_angst"],
            np.arange(1, BOX // 2 + 1) / (BOX * PIXEL_SIZE_ANGST),
            rtol=1e-6,
        )
        fsc = self.protocol.outputFSC.getFirstItem()
        # 0.143 is crossed where the drawn curve has it: at shell 10 + 1.5 ln(1 / 0.143 - 1).
        crossing = BOX * PIXEL_SIZE_ANGST / (10 + 1.5 * np.log(1 / 0.143 - 1))
        self.assertAlmostEqual(float(fsc.calculateResolution()), crossing, 1)

    def test_sources_and_words(self):
        graph = self.proj.getSourceGraph(True)
        parent = f"{self.source.getObjId()}.outputParticles"
        children = {child.getName() for child in graph.getNode(parent).getChildren()}
        for name in ("outputVolume", "outputFSC", "outputParticles"):
            self.assertIn(f"{self.protocol.getObjId()}.{name}", children)
        summary = "\n".join(self.protocol._summary())
        self.assertIn("Round 3: 5.3 Å, 6.3 Å without a mask, angles known to 1.3°", summary)
        self.assertIn("Global search, rounds 1-2: resolution 12.0 8.0 Å at cut-offs", summary)
        self.assertIn("Local search, round 3: resolution 5.3 Å", summary)
        self.assertIn("1 particles were set aside", summary)
        for name in self.protocol._citations():
            plugin = self.protocol.getClassPackage()
            self.assertIn(name, plugin._bibtex)

    def test_viewers_read_the_round_and_the_outputs_alike(self):
        of_run = results3d.read_views(self.protocol.run_dir, LAST, PIXEL_SIZE_ANGST)
        of_set = results3d.read_particle_views(self.protocol.outputParticles)
        kept = np.arange(N_PARTICLES) != SET_ASIDE - 1
        for name in ("tilt_deg", "shift_px", "score", "angular_std_deg", "half", "weight"):
            np.testing.assert_allclose(of_set[name], of_run[name][kept], atol=1e-6)
        rounds = results3d.read_rounds(self.protocol.run_dir)
        self.assertEqual(rounds["stage"].tolist(), ["global", "global", "local"])
        self.assertTrue(np.isnan(rounds["median_rotation_change_deg"]).all())
        volume = results3d.read_map(self.protocol.outputVolume)
        self.assertEqual(volume.shape, (BOX, BOX, BOX))
        half = self.protocol.outputVolume.getHalfMaps(asList=True)[0]
        self.assertGreater(np.abs(volume - results3d.read_map(half)).max(), 0)
        found = results3d.read_round(self.protocol.run_dir, LAST)
        self.assertEqual(found.model["cutoff_px"], 9)
        self.assertTrue(np.isnan(found.fsc["fsc_randomised"]).all())

    def test_a_run_without_a_whole_round_gives_no_outputs(self):
        empty = Path("empty_run")
        empty.mkdir(exist_ok=True)
        with self.assertRaisesRegex(ValueError, "has no whole round"):
            outputs3d.read_run3d(empty)
        self.assertEqual(self.new(self.name)._summary(), ["No round is finished yet."])


class TestClassify3DOutputs(RunTest):
    name, n_classes = "CryoRalibProtClassify3D", 3

    def test_every_particle_is_in_its_class_with_its_pose(self):
        seen = []
        for item in self.protocol.outputClasses.iterItems():
            self.assertTrue(item.hasAlignmentProj())
            for member in item:
                self.check_particle(member, item.getObjId())
                row = member.getObjId() - 1
                self.assertEqual(self.columns[labels.CLASS_NUMBER][row], item.getObjId())
                seen.append(member.getObjId())
        self.assertEqual(len(seen), N_PARTICLES - 1)
        self.assertEqual(len(set(seen)), N_PARTICLES - 1)

    def test_representatives_are_the_maps_with_their_halves(self):
        for item in self.protocol.outputClasses.iterItems():
            volume = item.getRepresentative()
            name = f"run_it{LAST:03d}_class{item.getObjId():03d}.mrc"
            self.assertEqual(Path(volume.getFileName()).name, name)
            self.assertTrue(volume.hasHalfMaps())
            self.assertGreater(item._rlnClassDistribution.get(), 0)
            self.assertAlmostEqual(
                item._rlnEstimatedResolution.get(),
                BOX * PIXEL_SIZE_ANGST / (9 + item.getObjId() - 1),
            )
        volumes = self.protocol.outputVolumes
        self.assertEqual(volumes.getSize(), 3)
        self.assertEqual({volume.getSamplingRate() for volume in volumes}, {PIXEL_SIZE_ANGST})

    def test_classes_are_the_same_in_bulk_and_one_by_one(self):
        run = outputs3d.read_run3d(self.protocol.run_dir)
        poses = outputs3d.read_poses3d(run.paths.data_star(LAST), self.given)
        slow = SetOfClasses3D(filename="slow_classes.sqlite")
        slow.setImages(self.given)
        with mock.patch.object(
            fill_sets, "_fill_classes_bulk", side_effect=fill_sets.BulkWriteError("planted")
        ):
            outputs3d.fill_classes(slow, poses, run)
        slow.write()
        found, expected = (
            {item.getObjId(): (item.getSize(), contents(item)) for item in classes.iterItems()}
            for classes in (
                self.protocol.outputClasses,
                SetOfClasses3D(filename="slow_classes.sqlite"),
            )
        )
        self.assertEqual(found, expected)

    def test_curves_name_their_class(self):
        curves = results3d.read_fsc_set(self.protocol.outputFSC)
        self.assertEqual(len(curves), 9)
        self.assertIn("class 2, unmasked", curves)

    def test_summary_tells_shares(self):
        summary = "\n".join(self.protocol._summary())
        for number in (1, 2, 3):
            self.assertRegex(summary, rf"Class {number}: \d+ % of the particles, \d+\.\d Å\.")


class TestReconstructOutputs(RunTest):
    name = "CryoRalibProtReconstruct"

    def test_map_and_curves_come_out(self):
        volume = self.protocol.outputVolume
        self.assertEqual(Path(volume.getFileName()).name, f"run_it{LAST:03d}_class001.mrc")
        self.assertTrue(volume.hasHalfMaps())
        self.assertEqual(self.protocol.outputFSC.getSize(), 3)
        self.assertFalse(hasattr(self.protocol, "outputParticles"))
