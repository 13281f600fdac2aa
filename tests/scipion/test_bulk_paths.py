# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast paths through the databases give what pyworkflow's own, slow paths give."""

import os
import sqlite3
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import mrcfile
import numpy as np
from pwem.constants import ALIGN_2D, ALIGN_PROJ
from pwem.objects import (
    Class2D,
    Particle,
    SetOfAverages,
    SetOfClasses2D,
    SetOfParticles,
    Transform,
)
from pyworkflow.object import Pointer

from cryoralib_plugin.contract import labels
from cryoralib_plugin.scipion import convert, fill_sets, outputs, set_reader
from cryoralib_plugin.scipion.alignment import matrices_projection
from cryoralib_plugin.scipion.set_reader import DatabaseReader, ItemReader, open_reader
from cryoralib_plugin.scipion.set_writer import BulkWriteError
from cryoralib_plugin.scipion.star import read_tables
from cryoralib_plugin.tests import synthetic_set

N_PARTICLES, N_CLASSES = 60, 3


def in_new_folder(test):
    """Make a folder the present one for the length of a test, as a project's folder is."""
    folder = tempfile.TemporaryDirectory()
    before = os.getcwd()
    os.chdir(folder.name)
    test.addCleanup(folder.cleanup)
    test.addCleanup(os.chdir, before)


def write_stack(name, n_images, box=8):
    with mrcfile.new(name, overwrite=True) as stack:
        stack.set_data(np.random.default_rng(0).normal(size=(n_images, box, box)).astype("f4"))


def set_of_particles(database="particles.sqlite", n_particles=N_PARTICLES):
    write_stack("stack.mrcs", n_particles)
    particles = SetOfParticles(filename=database)
    synthetic_set.fill_by_item(particles, n_particles, "stack.mrcs")
    particles.write()
    return particles


def contents(items):
    """Everything stored about the items of a set, by id."""
    return {item.getObjId(): (item.isEnabled(), dict(item.getObjDict())) for item in items}


class TestReading(unittest.TestCase):
    def setUp(self):
        in_new_folder(self)
        self.particles = set_of_particles()

    def test_database_and_items_give_the_same_rows(self):
        fast, slow = open_reader(self.particles), ItemReader(self.particles)
        self.assertIsInstance(fast, DatabaseReader)
        self.assertEqual(fast.properties | {"id"}, slow.properties)
        names = sorted(fast.properties)
        self.assertEqual(list(fast.rows(["id", *names])), list(slow.rows(["id", *names])))
        few = ["_acquisition._voltage", "_micId"]
        self.assertEqual(fast.distinct(few), slow.distinct(few))
        self.assertEqual(fast.complete([*names, "_nothing"]), slow.complete([*names, "_nothing"]))

    def test_disabled_particles_are_left_out(self):
        with sqlite3.connect("particles.sqlite") as connection:
            connection.execute("UPDATE Objects SET enabled = 0 WHERE id IN (3, 5)")
        particles = SetOfParticles(filename="particles.sqlite")
        fast, slow = open_reader(particles), ItemReader(particles)
        self.assertEqual(fast.count(), N_PARTICLES - 2)
        self.assertEqual(slow.count(), N_PARTICLES - 2)
        self.assertNotIn((3,), list(fast.rows(["id"])))

    def test_a_database_that_disagrees_is_not_trusted(self):
        with mock.patch.object(
            DatabaseReader, "_select", lambda self, names: ", ".join("1" for _ in names)
        ):
            with self.assertLogs("cryoralib_plugin.scipion.set_reader", "WARNING") as log:
                self.assertIsInstance(open_reader(self.particles), ItemReader)
        self.assertIn("item by item", log.output[0])


class TestToStar(unittest.TestCase):
    def setUp(self):
        in_new_folder(self)
        self.particles = set_of_particles()

    def test_fast_and_slow_way_write_the_same_file(self):
        convert.write_particles(self.particles, "fast.star", Path("images"))
        with mock.patch.object(convert, "open_reader", ItemReader):
            convert.write_particles(self.particles, "slow.star", Path("images"))
        self.assertEqual(Path("fast.star").read_text(), Path("slow.star").read_text())

    def test_star_file_says_what_the_particles_say(self):
        written = convert.write_particles(self.particles, "particles.star", Path("images"))
        self.assertEqual(written.n_particles, N_PARTICLES)
        tables = read_tables("particles.star")
        optics, rows = tables["optics"], tables["particles"]
        self.assertEqual(optics[labels.VOLTAGE].tolist(), [300.0])
        self.assertEqual(optics[labels.IMAGE_PIXEL_SIZE].tolist(), [1.5])
        self.assertEqual(optics[labels.IMAGE_SIZE].tolist(), [8])
        for row, item in enumerate(self.particles):
            number, name = rows[labels.IMAGE_NAME][row].split("@")
            self.assertEqual((int(number), name), item.getLocation())
            self.assertEqual(rows[labels.IMAGE_ID][row], item.getObjId())
            self.assertAlmostEqual(rows[labels.DEFOCUS_U][row], item.getCTF().getDefocusU(), 4)
            self.assertEqual(rows[labels.COORDINATE_X][row], item.getCoordinate().getX())
            self.assertEqual(rows[labels.RANDOM_SUBSET][row], item._rlnRandomSubset.get())
            matrix = item.getTransform().getMatrix()
            self.assertAlmostEqual(rows[labels.ORIGIN_X_ANGST][row], 1.5 * matrix[0, 3], 4)
            self.assertEqual(bool(rows[labels.IS_FLIP][row]), matrix[2, 2] < 0)
            self.assertAlmostEqual(np.cos(np.deg2rad(rows[labels.ANGLE_PSI][row])), matrix[1, 1], 6)

    def test_optics_groups_follow_the_acquisition(self):
        with sqlite3.connect("particles.sqlite") as connection:
            (column,) = connection.execute(
                "SELECT column_name FROM Classes WHERE label_property = '_acquisition._voltage'"
            ).fetchone()
            connection.execute(f"UPDATE Objects SET {column} = 200 WHERE id > 40")
        particles = SetOfParticles(filename="particles.sqlite")
        particles.loadAllProperties()
        written = convert.write_particles(particles, "p.star", Path("images"))
        self.assertEqual(written.n_optics_groups, 2)
        tables = read_tables("p.star")
        voltage_of = dict(
            zip(
                tables["optics"][labels.OPTICS_GROUP].tolist(),
                tables["optics"][labels.VOLTAGE].tolist(),
            )
        )
        found = [voltage_of[group] for group in tables["particles"][labels.OPTICS_GROUP].tolist()]
        self.assertEqual(found, [300.0] * 40 + [200.0] * (N_PARTICLES - 40))

    def test_projection_poses_become_relions_angles(self):
        write_stack("stack.mrcs", 2)
        particles = SetOfParticles(filename="projections.sqlite")
        particles.setSamplingRate(2.0)
        particles.setAlignment(ALIGN_PROJ)
        matrices = matrices_projection(
            np.array([[10.0, 70.0, -35.0], [120.0, 15.0, 5.0]]), np.array([[1.0, -2.0], [0.5, 3.0]])
        )
        for number, matrix in enumerate(matrices, start=1):
            item = Particle((number, "stack.mrcs"))
            item.setTransform(Transform(matrix=matrix))
            particles.append(item)
        particles.write()
        convert.write_particles(particles, "p.star", Path("images"))
        rows = read_tables("p.star")["particles"]
        np.testing.assert_allclose(rows[labels.ANGLE_ROT], [10, 120], atol=1e-5)
        np.testing.assert_allclose(rows[labels.ANGLE_TILT], [70, 15], atol=1e-5)
        np.testing.assert_allclose(rows[labels.ANGLE_PSI], [-35, 5], atol=1e-5)
        np.testing.assert_allclose(rows[labels.ORIGIN_X_ANGST], [2, 1], atol=1e-5)
        np.testing.assert_allclose(rows[labels.ORIGIN_Y_ANGST], [-4, 6], atol=1e-5)
        self.assertNotIn(labels.VOLTAGE, read_tables("p.star")["optics"])

    def test_stacks_the_engine_cannot_read_are_converted(self):
        from pwem.emlib.image import ImageHandler

        write_stack("stack.mrcs", 4)
        ImageHandler().convertStack("stack.mrcs", "spider.stk")
        particles = SetOfParticles(filename="spider.sqlite")
        particles.setSamplingRate(1.0)
        for number in range(1, 5):
            particles.append(Particle((number, "spider.stk")))
        particles.write()
        convert.write_particles(particles, "p.star", Path("images"))
        names = read_tables("p.star")["particles"][labels.IMAGE_NAME]
        number, path = names[2].split("@")
        self.assertEqual((int(number), Path(path).suffix), (3, ".mrcs"))
        np.testing.assert_allclose(mrcfile.read(path), mrcfile.read("stack.mrcs"), atol=1e-6)

    def test_other_images_under_an_old_name_are_seen(self):
        seen, files = [], (Path("p.images"), Path("p.star"))
        for changes in (False, False, True):
            if changes:
                # One grey value of the last image; nothing in the header tells.
                stack = bytearray(Path("stack.mrcs").read_bytes())
                stack[-2] ^= 1
                Path("stack.mrcs").write_bytes(stack)
            convert.write_particles(self.particles, "p.star", Path("images"))
            seen.append([file.read_text() for file in files])
        self.assertEqual(seen[0], seen[1])
        self.assertNotEqual(seen[1][0], seen[2][0])
        self.assertEqual(seen[1][1], seen[2][1])

    def test_missing_stack_and_empty_set_are_refused_in_words(self):
        os.remove("stack.mrcs")
        with self.assertRaisesRegex(FileNotFoundError, "stack.mrcs does not exist"):
            convert.write_particles(self.particles, "p.star", Path("images"))
        with sqlite3.connect("particles.sqlite") as connection:
            connection.execute("UPDATE Objects SET enabled = 0")
        with self.assertRaisesRegex(ValueError, "no enabled particles"):
            convert.write_particles(
                SetOfParticles(filename="particles.sqlite"), "p.star", Path("images")
            )


class TestFromStar(unittest.TestCase):
    def setUp(self):
        in_new_folder(self)
        self.particles = set_of_particles()
        write_stack("averages.mrcs", N_CLASSES)
        synthetic_set.write_results("results.star", N_PARTICLES, N_CLASSES)
        self.assignments = outputs.read_assignments(Path("results.star"), 1.5)
        counts = np.bincount(self.assignments.class_number, minlength=N_CLASSES + 1)
        self.run = outputs.RunOutput(
            4,
            "averages.mrcs",
            3.0,
            tuple(
                outputs.ClassOfRun(number, int(counts[number]), 10.0 + number, 0.1 * number)
                for number in range(1, N_CLASSES + 1)
            ),
        )

    def describe(self, item):
        outputs._describe(item, self.run)

    def _classes(self, name):
        # Whole paths: pyworkflow knows connections by name, and would close that of another test.
        classes = SetOfClasses2D(filename=os.path.abspath(name))
        classes._imagesPointer = Pointer(self.particles)
        return classes

    def test_assignments_are_read_in_pixels_of_the_particles(self):
        rows = read_tables("results.star")["particles"]
        self.assertEqual(len(self.assignments), N_PARTICLES - 1)
        np.testing.assert_allclose(
            self.assignments.matrices[:, 0, 3], rows[labels.ORIGIN_X_ANGST] / 1.5
        )

    def test_classes_are_the_same_in_bulk_and_one_by_one(self):
        fast, slow = self._classes("fast.sqlite"), self._classes("slow.sqlite")
        with mock.patch.object(
            fill_sets, "_clear_classes", side_effect=AssertionError("fell back")
        ):
            outputs.fill_classes(fast, self.assignments, self.run)
        fill_sets.fill_classes_by_item(slow, self.assignments, self.describe)
        fast.write()
        slow.write()
        fast, slow = SetOfClasses2D(filename="fast.sqlite"), SetOfClasses2D(filename="slow.sqlite")
        found, expected = {}, {}
        for target, classes in ((found, fast), (expected, slow)):
            for item in classes.iterItems():
                target[item.getObjId()] = (
                    item.getSize(),
                    dict(item.getObjDict()),
                    item.getRepresentative().getLocation(),
                    contents(item),
                )
        self.assertEqual(found, expected)
        self.assertEqual(sum(size for size, *_ in found.values()), N_PARTICLES - 1)
        self.assertTrue(fast.hasRepresentatives() or fast.getFirstItem().hasRepresentative())

    def test_particles_are_the_same_in_bulk_and_one_by_one(self):
        fast = SetOfParticles(filename=os.path.abspath("fast.sqlite"))
        slow = SetOfParticles(filename=os.path.abspath("slow.sqlite"))
        outputs.fill_particles(fast, self.particles, self.assignments)
        slow.copyInfo(self.particles)
        slow.setAlignment(ALIGN_2D)
        fill_sets.fill_particles_by_item(slow, self.particles, self.assignments)
        fast.write()
        slow.write()
        fast, slow = SetOfParticles(filename="fast.sqlite"), SetOfParticles(filename="slow.sqlite")
        fast.loadAllProperties()
        self.assertEqual(contents(fast), contents(slow))
        self.assertEqual(fast.getSize(), N_PARTICLES - 1)
        self.assertTrue(fast.hasAlignment2D())
        self.assertTrue(fast.hasCTF())
        first = fast.getFirstItem()
        np.testing.assert_allclose(
            first.getTransform().getMatrix(), self.assignments.matrices[0], atol=1e-12
        )
        self.assertAlmostEqual(first._rlnParticleFigureOfMerit.get(), self.assignments.score[0])

    def test_a_bulk_write_that_went_wrong_is_done_again_one_by_one(self):
        slow = self._classes("slow.sqlite")
        fill_sets.fill_classes_by_item(slow, self.assignments, self.describe)
        wrong = self._classes("wrong.sqlite")
        with (
            mock.patch.object(fill_sets, "check_item", side_effect=BulkWriteError("planted")),
            self.assertLogs("cryoralib_plugin.scipion.fill_sets", "WARNING") as log,
        ):
            outputs.fill_classes(wrong, self.assignments, self.run)
        self.assertIn("planted", log.output[0])
        for classes in (slow, wrong):
            classes.write()
        found, expected = (
            {item.getObjId(): contents(item) for item in SetOfClasses2D(filename=name).iterItems()}
            for name in ("wrong.sqlite", "slow.sqlite")
        )
        self.assertEqual(found, expected)

    def test_classes_can_be_written_out_again_for_reference_free_alignment(self):
        classes = self._classes("classes.sqlite")
        outputs.fill_classes(classes, self.assignments, self.run)
        classes.write()
        convert.write_classes(classes, "members.star", Path("images"))
        rows = read_tables("members.star")["particles"]
        number_of = dict(zip(rows[labels.IMAGE_ID].tolist(), rows[labels.CLASS_NUMBER].tolist()))
        self.assertEqual(
            number_of,
            dict(zip(self.assignments.ids.tolist(), self.assignments.class_number.tolist())),
        )
        self.assertEqual(convert.write_averages(classes, "again.mrcs"), N_CLASSES)
        np.testing.assert_array_equal(mrcfile.read("again.mrcs"), mrcfile.read("averages.mrcs"))

    def test_averages_carry_resolution_and_size(self):
        averages = SetOfAverages(filename="averages.sqlite")
        outputs.fill_averages(averages, self.run)
        averages.write()
        for item, found in zip(averages, self.run.classes):
            self.assertEqual(item.getLocation(), (found.number, "averages.mrcs"))
            self.assertEqual(item._rlnEstimatedResolution.get(), found.resolution_angst)
            self.assertEqual(item._classSize.get(), found.n_members)
            self.assertEqual(item.getSamplingRate(), 3.0)

    def test_a_run_of_other_particles_is_refused(self):
        other = outputs.Assignments(
            np.array([N_PARTICLES + 9]),
            np.array([1]),
            self.assignments.matrices[:1],
            self.assignments.score[:1],
        )
        with self.assertRaisesRegex(ValueError, "input was changed since"):
            outputs.fill_classes(self._classes("other.sqlite"), other, self.run)

    def test_class_items_are_pyworkflows(self):
        classes = self._classes("classes.sqlite")
        outputs.fill_classes(classes, self.assignments, self.run)
        self.assertIsInstance(classes.getFirstItem(), Class2D)
        self.assertIsInstance(set_reader.open_reader(classes.getFirstItem()), DatabaseReader)
