# SPDX-License-Identifier: GPL-3.0-or-later
"""A real project from simulated particles to maps, on to local search, and to a reconstruction."""

from pathlib import Path

import numpy as np

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.scipion import results3d
from cryoralib_plugin.tests.scipion_project import ProjectTest

N_PARTICLES, SIZE_PX, PIXEL_SIZE_ANGST = 160, 32, 6.0
COMMON = {"useGpu": False, "numberOfThreads": 2, "particleDiameterAngst": 150.0}
LIMITS = {
    "shiftStdPx": 2.0,
    "initialResolutionAngst": 40.0,
    "globalResolutionAngst": 24.0,
    "maximumRounds": 2,
}


class TestRefinementRun(ProjectTest):
    """One project; each protocol takes what the one before it left."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.simulated = cls.run_to_end(
            cls.new(
                "CryoRalibProtSimulateParticles",
                nParticles=N_PARTICLES,
                boxSizePx=SIZE_PX,
                pixelSizeAngst=PIXEL_SIZE_ANGST,
                blobSigmaAngst=6.0,
                objectDiameterAngst=120.0,
                shiftMaxPx=2.0,
                snr=0.5,
                junkFraction=0.0,
            )
        )
        particles = {"inputParticles": (cls.simulated, "outputParticles")}
        reference = {"referenceVolume": (cls.simulated, "outputVolume")}
        cls.refined = cls.run_to_end(
            cls.new("CryoRalibProtRefine3D", {**particles, **reference}, **COMMON, **LIMITS)
        )
        refined = {"inputParticles": (cls.refined, "outputParticles")}
        cls.local = cls.run_to_end(
            cls.new(
                "CryoRalibProtRefine3D",
                {**refined, "referenceVolume": (cls.refined, "outputVolume")},
                **{**COMMON, "numberOfThreads": 1},
                **{**LIMITS, "maximumRounds": 1},
                startFromPoses=True,
                globalSearch=False,
                numberOfMpi=2,
            )
        )
        rebuilt = cls.new("CryoRalibProtReconstruct", refined, **COMMON)
        rebuilt.inputRefinement.set(cls.refined)
        cls.rebuilt = cls.run_to_end(rebuilt)
        cls.classified = cls.run_to_end(
            cls.new(
                "CryoRalibProtClassify3D",
                {**particles, **reference},
                **COMMON,
                **{**LIMITS, "maximumRounds": 1},
                nClasses=2,
            )
        )

    def _correlation_with_truth(self, volume):
        truth = results3d.read_map(self.simulated.outputVolume)
        return np.corrcoef(results3d.read_map(volume).ravel(), truth.ravel())[0, 1]

    def test_all_protocols_finished(self):
        for protocol in (
            self.simulated,
            self.refined,
            self.local,
            self.rebuilt,
            self.classified,
        ):
            self.assertTrue(protocol.isFinished(), protocol.getErrorMessage())

    def test_maps_are_the_molecule(self):
        for protocol in (self.refined, self.local, self.rebuilt):
            volume = protocol.outputVolume
            self.assertEqual(volume.getDim(), (SIZE_PX,) * 3)
            self.assertAlmostEqual(volume.getSamplingRate(), PIXEL_SIZE_ANGST)
            self.assertGreater(self._correlation_with_truth(volume), 0.8)
            self.assertTrue(all(Path(name).is_file() for name in volume.getHalfMaps(asList=True)))

    def test_local_search_begins_where_the_refinement_ended(self):
        before = results3d.read_particle_views(self.refined.outputParticles)
        after = results3d.read_particle_views(self.local.outputParticles)
        np.testing.assert_array_equal(after["half"], before["half"])
        directions = [
            np.stack(
                [
                    np.sin(np.deg2rad(found["tilt_deg"])) * np.cos(np.deg2rad(found["rot_deg"])),
                    np.sin(np.deg2rad(found["tilt_deg"])) * np.sin(np.deg2rad(found["rot_deg"])),
                    np.cos(np.deg2rad(found["tilt_deg"])),
                ]
            )
            for found in (before, after)
        ]
        moved = np.rad2deg(np.arccos(np.clip((directions[0] * directions[1]).sum(axis=0), -1, 1)))
        # At 24 Å a view of 120 Å is sure to about 10 degrees; a search anew would be anywhere.
        self.assertLess(np.median(moved), 15.0)
        rounds = results3d.read_rounds(self.local.run_dir)
        self.assertEqual(rounds["stage"].tolist(), ["local"])
        self.assertIn("--expected-ranks 2", Path(self.local.getStdoutLog()).read_text())

    def test_reconstruction_takes_weights_and_support_points(self):
        config = ResultPaths(self.rebuilt.run_dir).config_json.read_text()
        self.assertIn("_cloud.h5", config)
        star_file = self.rebuilt.input_dir / "particles.star"
        self.assertIn("cryoralibWeight", star_file.read_text())
        curve = results3d.read_fsc_set(self.rebuilt.outputFSC)["unmasked"]
        self.assertGreater(curve["fsc"][1], 0.5)

    def test_classes_hold_all_particles(self):
        classes = self.classified.outputClasses
        self.assertEqual(sum(item.getSize() for item in classes.iterItems()), N_PARTICLES)
        self.assertEqual(self.classified.outputVolumes.getSize(), 2)

    def test_words_say_what_was_done(self):
        self.assertIn("Global search, rounds 1-2", " ".join(self.refined.summary()))
        methods = " ".join(self.refined._methods())
        self.assertIn(f"{N_PARTICLES} particles were refined in 2 rounds from a map", methods)
        self.assertIn("given projection directions", " ".join(self.local._methods()))
        self.assertIn("2 classes", " ".join(self.classified._methods()))

    def test_zz_more_rounds_continue_the_run(self):
        paths = ResultPaths(self.refined.run_dir)
        written = paths.merged_mrc(1, 1).stat().st_mtime_ns
        protocol = self.proj.getProtocol(self.refined.getObjId())
        protocol.maximumRounds.set(3)
        again = self.run_to_end(protocol)
        self.assertTrue(again.isFinished(), again.getErrorMessage())
        self.assertIn("--resume", Path(again.getStdoutLog()).read_text())
        self.assertEqual(paths.last_iteration(), 3)
        self.assertEqual(paths.merged_mrc(1, 1).stat().st_mtime_ns, written)
        self.assertIn("run_it003", again.outputVolume.getFileName())
