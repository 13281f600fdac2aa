# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION STAR files of every age become particles with all that they say; bad ones are refused."""

import os
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ
from pwem.objects import SetOfParticles

import cryoralib_plugin
from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.scipion import imported_set
from cryoralib_plugin.scipion.alignment import poses_2d, poses_projection
from cryoralib_plugin.scipion.convert import write_particles
from cryoralib_plugin.scipion.images import bring_stacks
from cryoralib_plugin.scipion.import_star import Imported
from cryoralib_plugin.scipion.imported_set import fill_from_star
from cryoralib_plugin.scipion.set_reader import MATRIX, open_reader
from cryoralib_plugin.scipion.star import read_tables
from cryoralib_plugin.tests.synthetic_run3d import write_run3d
from cryoralib_plugin.tests.test_bulk_paths import (
    contents,
    in_new_folder,
    set_of_particles,
    write_stack,
)

REAL = Path(cryoralib_plugin.__file__).resolve().parents[2] / "shared" / "data" / "real"

OLD = """data_images

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnDefocusU #6
_rlnDefocusV #7
_rlnDefocusAngle #8
_rlnMagnification #9
_rlnDetectorPixelSize #10
_rlnAnglePsi #11
_rlnOriginX #12
_rlnOriginY #13
1@stack.mrcs a.mrc 300 2.7 0.1 10000 12000 20 50000 7 90 1.5 -2
2@stack.mrcs b.mrc 300 2.7 0.1 12000 10000 -10 50000 7 -45 0 3
"""


def imported_set_of(imported, **options):
    Path("imported.sqlite").unlink(missing_ok=True)
    particles = SetOfParticles(filename="imported.sqlite")
    fill_from_star(particles, imported, **options)
    particles.write()
    return particles


class TestImportStar(unittest.TestCase):
    def setUp(self):
        in_new_folder(self)
        write_stack("stack.mrcs", 4)

    def _write(self, text, name="particles.star"):
        Path(name).write_text(text)
        return Path(name)

    def test_relion_30_file(self):
        particles = imported_set_of(Imported.read(self._write(OLD)))
        self.assertEqual(particles.getSize(), 2)
        self.assertAlmostEqual(particles.getSamplingRate(), 1.4)
        self.assertEqual(particles.getAlignment(), ALIGN_2D)
        self.assertTrue(particles.hasCTF())
        self.assertEqual(particles.getDim()[:2], (8, 8))
        first, second = (item.clone() for item in particles)
        self.assertEqual(first.getLocation(), (1, "stack.mrcs"))
        # Scipion's rule: U is the larger defocus, its angle within [0, 180).
        self.assertEqual(first.getCTF().getDefocus(), (12000.0, 10000.0, 110.0))
        self.assertEqual(second.getCTF().getDefocus(), (12000.0, 10000.0, 170.0))
        self.assertEqual((first.getMicId(), second.getMicId()), (1, 2))
        self.assertEqual(first.getAcquisition().getVoltage(), 300.0)
        psi, origin, flip = poses_2d(np.array([first.getTransform().getMatrix()]))
        np.testing.assert_allclose(psi, [90])
        np.testing.assert_allclose(origin, [[1.5, -2]])
        self.assertFalse(flip[0])

    def test_relion_31_file_with_optics_groups(self):
        text = (
            "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnOpticsGroupName #2\n_rlnVoltage #3\n"
            "_rlnSphericalAberration #4\n_rlnAmplitudeContrast #5\n_rlnImagePixelSize #6\n"
            "1 one 300 2.7 0.1 2.0\n2 two 200 2.0 0.07 2.0\n\n"
            "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n_rlnAngleRot #3\n"
            "_rlnAngleTilt #4\n_rlnAnglePsi #5\n_rlnOriginXAngst #6\n_rlnOriginYAngst #7\n"
            "_rlnRandomSubset #8\n_rlnClassNumber #9\n"
            "000003@stack.mrcs 1 10 20 30 4 -2 1 7\n000001@stack.mrcs 2 0 90 0 0 0 2 8\n"
        )
        particles = imported_set_of(Imported.read(self._write(text)))
        first, second = (item.clone() for item in particles)
        self.assertEqual(particles.getAlignment(), ALIGN_PROJ)
        self.assertEqual(first.getIndex(), 3)
        self.assertEqual(first.getAcquisition().getVoltage(), 300)
        self.assertEqual(second.getAcquisition().getVoltage(), 200)
        self.assertEqual(second.getAcquisition().getAmplitudeContrast(), 0.07)
        self.assertEqual((first._rlnRandomSubset.get(), second._rlnOpticsGroup.get()), (1, 2))
        self.assertEqual((first.getClassId(), second.getClassId()), (7, 8))
        angles, origin = poses_projection(np.array([first.getTransform().getMatrix()]))
        np.testing.assert_allclose(angles, [[10, 20, 30]], atol=1e-9)
        np.testing.assert_allclose(origin, [[2, -1]], atol=1e-9)
        self.assertFalse(particles.hasCTF())
        flat = imported_set_of(Imported.read(Path("particles.star")), alignment=ALIGN_NONE)
        self.assertFalse(flat.hasAlignment())

    def test_a_3d_run_is_imported_with_its_directions_and_how_sure_they_are(self):
        write_stack("stack.mrcs", 20)
        columns = write_run3d("run", 20)
        imported = Imported.read(ResultPaths("run").data_star(3), image_folder=".")
        particles = imported_set_of(imported)
        self.assertEqual(particles.getAlignment(), ALIGN_PROJ)
        for row, item in enumerate(particles):
            (angles,), _ = poses_projection(np.array([item.getTransform().getMatrix()]))
            self.assertAlmostEqual(angles[1], columns[labels.ANGLE_TILT][row], 6)
            for name in (labels.WEIGHT, labels.ANGULAR_STD, labels.FIGURE_OF_MERIT):
                self.assertAlmostEqual(getattr(item, f"_{name}").get(), columns[name][row], 6)
            self.assertEqual(item._rlnRandomSubset.get(), columns[labels.RANDOM_SUBSET][row])

    def test_particles_without_direction_have_none_in_the_set(self):
        write_stack("stack.mrcs", 20)
        write_run3d("run", 20)
        path = ResultPaths("run").data_star(3)
        tables = Path(path).read_text().splitlines()
        first = next(i for i, line in enumerate(tables) if line.startswith("000001@"))
        words = tables[first].split()
        words[5:8] = ["nan"] * 3
        tables[first] = " ".join(words)
        Path(path).write_text("\n".join(tables) + "\n")
        particles = imported_set_of(Imported.read(path, image_folder="."))
        extent = open_reader(particles).extent(MATRIX)
        self.assertEqual(extent.n_missing, 1)

    def test_bulk_and_single_inserts_give_the_same_set(self):
        fast = imported_set_of(Imported.read(self._write(OLD)))
        expected = contents(fast)
        with (
            mock.patch.object(
                imported_set, "_insert_rest", side_effect=imported_set.BulkWriteError("planted")
            ),
            self.assertLogs("cryoralib_plugin.scipion.imported_set", "WARNING"),
        ):
            slow = imported_set_of(Imported.read(self._write(OLD)))
        self.assertEqual(contents(slow), expected)

    def test_flags_of_the_ctf_that_a_set_cannot_keep_are_refused(self):
        text = (
            "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n"
            "_rlnSphericalAberration #3\n_rlnAmplitudeContrast #4\n_rlnImagePixelSize #5\n{}\n"
            "1 300 2.7 0.1 2.0 {}\n2 300 2.7 0.1 2.0 {}\n\n"
            "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n"
            "000003@stack.mrcs 1\n000001@stack.mrcs 2\n"
        )
        for flag, values, said in (
            ("_rlnCtfDataAreCtfPremultiplied #6", (0, 1), "multiplied by their CTF"),
            ("_rlnCtfDataArePhaseFlipped #6", (0, 1), "Only some optics groups are phase flipped"),
            ("_rlnCtfDataArePhaseFlipped #6", (1, 1), ""),
        ):
            imported = Imported.read(self._write(text.format(flag, *values)))
            self.assertIn(said, imported.ctf_problem())
            self.assertEqual(bool(said), bool(imported.ctf_problem()))

    def test_export_and_import_give_the_same_particles(self):
        particles = set_of_particles("original.sqlite")
        write_particles(particles, "exported.star", Path("images"))
        back = imported_set_of(Imported.read(Path("exported.star")))
        self.assertEqual(back.getAlignment(), ALIGN_2D)
        for ours, theirs in zip(back, particles):
            self.assertEqual(ours.getLocation(), theirs.getLocation())
            np.testing.assert_allclose(
                ours.getTransform().getMatrix(), theirs.getTransform().getMatrix(), atol=2e-6
            )
            np.testing.assert_allclose(
                ours.getCTF().getDefocus(), theirs.getCTF().getDefocus(), atol=1e-5
            )
            self.assertEqual(ours.getCoordinate().getMicName(), theirs.getCoordinate().getMicName())
            self.assertEqual(ours._rlnRandomSubset.get(), theirs._rlnRandomSubset.get())

    def test_stacks_are_found_beside_above_and_in_the_named_folder(self):
        os.makedirs("project/Class2D/job001")
        os.makedirs("project/Extract")
        os.replace("stack.mrcs", "project/Extract/stack.mrcs")
        text = OLD.replace("@stack", "@Extract/stack")
        inside = self._write(text, "project/Class2D/job001/run_data.star")
        self.assertEqual(Imported.read(inside).stacks, ["project/Extract/stack.mrcs"])
        moved = self._write(OLD, "elsewhere.star")
        self.assertEqual(
            Imported.read(moved, image_folder="project/Extract").stacks,
            ["project/Extract/stack.mrcs"],
        )

    def test_brought_stacks_have_unique_names_and_the_suffix_of_stacks(self):
        os.makedirs("a")
        os.makedirs("b c")
        write_stack("a/x.mrc", 2)
        write_stack("b c/x.mrc", 2)
        for copy in (False, True):
            names = bring_stacks(["a/x.mrc", "b c/x.mrc"], Path("images"), copy=copy)
            self.assertEqual(len(set(names.values())), 2)
            for name in names.values():
                self.assertTrue(name.endswith(".mrcs") and Path(name).exists())
                self.assertEqual(os.path.islink(name), not copy)

    def test_bad_files_are_refused_in_words(self):
        bad = {
            "not a STAR file": "particles",
            "no column rlnImageName": "data_\n\nloop_\n_rlnVoltage #1\n300\n",
            "lists no particles": "data_\n\nloop_\n_rlnImageName #1\n\n",
            "nothing.mrcs .* was not found": OLD.replace("stack.mrcs", "nothing.mrcs"),
            "particle 2 .* is image 9 of stack.mrcs, which has 4": OLD.replace("2@", "9@"),
            "expected a number": OLD.replace("2@", "two@"),
            "must hold numbers": OLD.replace("12000 20", "deep 20"),
            "does not have 13 values": OLD.replace(" 0 3\n", " 0\n"),
            "does not tell the pixel size": "data_\n\nloop_\n_rlnImageName #1\n1@stack.mrcs\n",
            "pixel sizes of 1.4, 2.8": OLD.replace("50000 7 -45", "25000 7 -45"),
        }
        for message, text in bad.items():
            with self.subTest(message), self.assertRaisesRegex((ValueError, OSError), message):
                Imported.read(self._write(text))
        plain = self._write("data_\n\nloop_\n_rlnImageName #1\n1@stack.mrcs\n")
        self.assertEqual(Imported.read(plain, pixel_size_angst=2.5).pixel_size_angst, 2.5)
        with self.assertRaisesRegex(ValueError, "has no poses"):
            imported_set_of(Imported.read(plain, pixel_size_angst=2.5), alignment=ALIGN_2D)

    def test_another_optics_group_and_another_box_are_refused(self):
        write_stack("large.mrcs", 2, box=10)
        with self.assertRaisesRegex(ValueError, "must have the same box"):
            Imported.read(self._write(OLD.replace("2@stack", "2@large")))
        text = (
            "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 2.0\n\n"
            "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n1@stack.mrcs 3\n"
        )
        with self.assertRaisesRegex(ValueError, "of optics group 3, which the optics table"):
            Imported.read(self._write(text))


@unittest.skipUnless(REAL.is_dir(), f"the shared data are not here ({REAL})")
class TestRealFiles(unittest.TestCase):
    def setUp(self):
        in_new_folder(self)

    def test_real_files_of_every_age(self):
        expected = {
            "apoferritin_10146_dev.star": (1966, 3.0, 72, ALIGN_NONE),
            "aspire_sample_relion30.star": (17, None, 200, ALIGN_PROJ),
            "relion31.star": (5, 2.806, 256, ALIGN_PROJ),
            "empiar_10076_7.star": (7, 1.31, 320, ALIGN_NONE),
        }
        for name, (size, pixel_size, box, alignment) in expected.items():
            with self.subTest(name):
                imported = Imported.read(REAL / name)
                names = bring_stacks(imported.stacks, Path("images"), copy=False)
                particles = imported_set_of(imported, name_of=names)
                self.assertEqual(particles.getSize(), size)
                self.assertEqual(particles.getAlignment(), alignment)
                self.assertEqual(particles.getDim(), (box, box, 1))
                self.assertTrue(particles.hasCTF())
                if pixel_size:
                    self.assertAlmostEqual(particles.getSamplingRate(), pixel_size, 3)

    def test_relions_poses_survive_import_and_export(self):
        imported = Imported.read(REAL / "aspire_sample_relion30.star")
        names = bring_stacks(imported.stacks, Path("images"), copy=False)
        write_particles(imported_set_of(imported, name_of=names), "p.star", Path("images"))
        ours = read_tables("p.star")["particles"]
        for name in (labels.ANGLE_ROT, labels.ANGLE_TILT, labels.ANGLE_PSI):
            difference = ours[name] - imported.columns[name]
            np.testing.assert_allclose((difference + 180) % 360 - 180, 0, atol=1e-5)
        scale = imported.pixel_size_angst
        np.testing.assert_allclose(
            ours[labels.ORIGIN_X_ANGST], imported.columns[labels.ORIGIN_X_PX] * scale, atol=1e-5
        )
