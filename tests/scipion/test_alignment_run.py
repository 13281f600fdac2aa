# SPDX-License-Identifier: GPL-3.0-or-later
"""A real project from a STAR file to aligned classes, and what happens when a run is broken off."""

import json
import os
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from pyworkflow.object import Pointer

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.scipion.alignment import poses_2d
from cryoralib_plugin.scipion.star import read_tables
from cryoralib_plugin.tests.scipion_project import ProjectTest, simulated_views

N_VIEWS, PER_VIEW = 3, 20
COMMON = {"outerRadiusPx": 12, "shiftRangePx": "1", "useGpu": False, "numberOfThreads": 2}


class TestAlignmentRun(ProjectTest):
    """One project; the tests' names give their order, because each builds on the one before."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        star_file, cls.truth = simulated_views("data", N_VIEWS, PER_VIEW)
        cls.imported = cls.run_to_end(cls.new("CryoRalibProtImportStar", starFile=str(star_file)))
        cls.classified = cls.run_to_end(
            cls.new(
                "CryoRalibProtMultirefAlign2D",
                {"inputParticles": (cls.imported, "outputParticles")},
                nClasses=N_VIEWS,
                nIterations=4,
                **COMMON,
            )
        )
        cls.aligned = cls.run_to_end(
            cls.new(
                "CryoRalibProtRefFreeAlign2D",
                {"inputParticles": (cls.classified, "outputClasses")},
                nIterations=2,
                numberOfMpi=2,
                **{**COMMON, "numberOfThreads": 1},
            )
        )

    def test_all_protocols_finished(self):
        for protocol in (self.imported, self.classified, self.aligned):
            self.assertTrue(protocol.isFinished(), protocol.getErrorMessage())

    def test_every_particle_is_in_one_class_with_its_pose(self):
        classes = self.classified.outputClasses
        star_file = ResultPaths(self.classified.run_dir).data_star(4)
        rows = read_tables(star_file)["particles"]
        row_of = {number: row for row, number in enumerate(rows[labels.IMAGE_ID].tolist())}
        seen = []
        for item in classes.iterItems():
            self.assertTrue(item.hasAlignment2D())
            for member in item:
                row = row_of[member.getObjId()]
                seen.append(member.getObjId())
                self.assertEqual(rows[labels.CLASS_NUMBER][row], item.getObjId())
                matrix = member.getTransform().getMatrix()
                (psi,), (origin,), (flip,) = poses_2d(np.array([matrix]))
                self.assertAlmostEqual(
                    (psi - rows[labels.ANGLE_PSI][row] + 180) % 360, 180, places=3
                )
                self.assertAlmostEqual(origin[0] * 4.0, rows[labels.ORIGIN_X_ANGST][row], 3)
                self.assertEqual(bool(flip), bool(rows[labels.IS_FLIP][row]))
        self.assertEqual(sorted(seen), list(range(1, N_VIEWS * PER_VIEW + 1)))

    def test_views_are_told_apart(self):
        hits = 0
        for item in self.classified.outputClasses.iterItems():
            members = np.array([member.getObjId() for member in item]) - 1
            hits += np.bincount(self.truth[members]).max()
        self.assertGreaterEqual(hits / len(self.truth), 0.9)

    def test_outputs_describe_themselves(self):
        particles = self.classified.outputParticles
        self.assertTrue(particles.hasAlignment2D())
        self.assertTrue(particles.hasCTF())
        self.assertEqual(particles.getSamplingRate(), 4.0)
        self.assertEqual(particles.getAcquisition().getVoltage(), 300.0)
        averages = self.classified.outputAverages
        self.assertEqual(averages.getSize(), self.classified.outputClasses.getSize())
        self.assertTrue(os.path.exists(averages.getFirstItem().getFileName()))
        for item in self.classified.outputClasses.iterItems():
            self.assertTrue(item.hasRepresentative())
            self.assertGreater(item._rlnClassDistribution.get(), 0)

    def test_sources_are_drawn(self):
        expected = {
            self._id(self.classified, name)
            for name in ("outputClasses", "outputAverages", "outputParticles")
        }
        self.assertLessEqual(expected, self._children(self.imported, "outputParticles"))
        self.assertIn(
            self._id(self.aligned, "outputAverages"),
            self._children(self.classified, "outputClasses"),
        )

    def test_words_say_what_was_done(self):
        summary = " ".join(self.classified.summary())
        self.assertIn(f"{N_VIEWS * PER_VIEW} particles in {N_VIEWS} of {N_VIEWS}", summary)
        methods = " ".join(self.classified.methods())
        self.assertIn("multi-reference alignment", methods)
        self.assertIn("Chung", methods)
        self.assertIn("Chung et al., arXiv, 2020", " ".join(self.classified.citations()))
        self.assertIn("classes were aligned among themselves", " ".join(self.aligned.methods()))
        self.assertIn("60 particles", " ".join(self.imported.summary()))

    def test_two_ranks_were_started_as_one_run(self):
        log = Path(self.aligned.getStdoutLog()).read_text()
        self.assertIn("mpirun -np 2", log)
        self.assertIn("-m mpi4py -m cryoralib_plugin rfa", log)
        self.assertIn("--expected-ranks 2", log)
        self.assertEqual(self.aligned.outputParticles.getSize(), N_VIEWS * PER_VIEW)

    def test_members_of_classes_start_from_their_alignment(self):
        text = (self.aligned.run_dir / "config.json").read_text()
        self.assertTrue(json.loads(text)["search"]["start_from_alignment"])
        given = read_tables(self.aligned.input_dir / "particles.star")["particles"]
        found = read_tables(ResultPaths(self.classified.run_dir).data_star(4))["particles"]
        row_of = {number: row for row, number in enumerate(found[labels.IMAGE_ID].tolist())}
        rows = [row_of[number] for number in given[labels.IMAGE_ID].tolist()]
        for name, period in ((labels.ANGLE_PSI, 360.0), (labels.ORIGIN_X_ANGST, np.inf)):
            apart = np.abs(given[name] - found[name][rows])
            np.testing.assert_allclose(np.minimum(apart, period - apart), 0.0, atol=1e-3)
        protocol = self.new(
            "CryoRalibProtRefFreeAlign2D", {"inputParticles": (self.imported, "outputParticles")}
        )
        self.assertFalse(protocol.config().search.start_from_alignment)
        protocol.startFrom.set(1)
        self.assertTrue(protocol.config().search.start_from_alignment)
        protocol.inputParticles.set(self.classified.outputClasses)
        protocol.startFrom.set(2)
        self.assertFalse(protocol.config().search.start_from_alignment)

    def test_members_stay_in_their_classes(self):
        before = self._class_of(self.classified.outputClasses)
        self.assertEqual(self._class_of(self.aligned.outputClasses), before)

    def test_steps_without_computation_hold_no_gpu(self):
        protocol = self.new(
            "CryoRalibProtMultirefAlign2D",
            {"inputParticles": (self.imported, "outputParticles")},
            **{**COMMON, "useGpu": True},
        )
        protocol._insertAllSteps()
        needs = {step.funcName.get(): step.needsGPU() for step in protocol._steps}
        self.assertEqual(
            needs, {"convertInputStep": False, "computeStep": True, "createOutputStep": False}
        )
        for name in ("CryoRalibProtImportStar", "CryoRalibProtSimulateParticles"):
            other = self.new(name, starFile="x.star") if "Import" in name else self.new(name)
            other._insertAllSteps()
            self.assertFalse(any(step.needsGPU() for step in other._steps))

    def test_zz_a_killed_run_fails_in_words_and_continues(self):
        protocol = self.new(
            "CryoRalibProtMultirefAlign2D",
            {"inputParticles": (self.imported, "outputParticles")},
            nClasses=N_VIEWS,
            nIterations=200,
            **COMMON,
        )
        self.proj.saveProtocol(protocol)  # its folder gets its name here
        paths = ResultPaths(protocol.run_dir)
        killer = threading.Thread(target=self._kill_after, args=(paths, 2))
        killer.start()
        broken = self.run_to_end(protocol)
        killer.join()
        self.assertTrue(broken.isFailed())
        self.assertIn("stopped without a word", broken.getErrorMessage())
        reached = paths.last_iteration()
        written = paths.manifest_json(1).stat().st_mtime_ns
        broken.nIterations.set(reached + 1)
        self.proj.launchProtocol(broken, wait=True)
        again = self.proj.getProtocol(broken.getObjId())
        self.assertTrue(again.isFinished(), again.getErrorMessage())
        self.assertIn("--resume", Path(again.getStdoutLog()).read_text())
        self.assertEqual(paths.manifest_json(1).stat().st_mtime_ns, written)
        self.assertEqual(paths.last_iteration(), reached + 1)
        self.assertIn(f"run_it{reached + 1:03d}", again.outputAverages.getFirstItem().getFileName())

    def test_zz_other_parameters_begin_anew(self):
        protocol = self.proj.getProtocol(self.classified.getObjId())
        self.assertTrue(protocol._can_resume(protocol.config()))
        protocol.nIterations.set(9)
        self.assertTrue(protocol._can_resume(protocol.config()))
        protocol.nClasses.set(5)
        self.assertFalse(protocol._can_resume(protocol.config()))

    def test_zzz_results_are_kept_for_the_same_particles_only(self):
        paths = ResultPaths(self.classified.run_dir)
        reached = paths.last_iteration()
        before = self.classified._input_identity()
        database = self.imported.outputParticles.getFileName()
        os.utime(database, (1, 1))
        self.assertNotEqual(self.classified._input_identity(), before)
        self.classified.convertInputStep("touched")
        self.assertEqual(paths.last_iteration(), reached)
        self.assertTrue((self.classified.input_dir / "particles.images").read_text())
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE Objects SET enabled = 0 WHERE id = 3")
        self.classified.convertInputStep("changed")
        self.assertIsNone(paths.last_iteration())

    @staticmethod
    def _kill_after(paths, iteration, seconds=60):
        """Kill the engine, and only it, once an iteration is whole."""
        end = time.monotonic() + seconds
        while (paths.last_iteration() or 0) < iteration and time.monotonic() < end:
            time.sleep(0.1)
        config_file = str(Path(paths.run_dir).parent / "config.json")
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "cryoralib_plugin" in words and config_file in words:
                process.kill()

    def _children(self, protocol, output):
        node = self.proj.getSourceGraph(True).getNode(self._id(protocol, output))
        return {child.getName() for child in node.getChildren()}

    @staticmethod
    def _id(protocol, output):
        return Pointer(protocol, extended=output).getUniqueId()

    @staticmethod
    def _class_of(classes):
        return {
            member.getObjId(): item.getObjId() for item in classes.iterItems() for member in item
        }
