# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a filled form is said before the run; what is odd is warned of."""

import json
import os
import sqlite3
from pathlib import Path
from unittest import mock

from pwem.objects import SetOfAverages

from cryoralib_plugin.scipion import forecasts, hardware
from cryoralib_plugin.scipion.hardware import Hardware
from cryoralib_plugin.tests.scipion_project import BOX, ProjectTest, simulated_views
from cryoralib_plugin.wizards import hardware_values, images_of, widest_radius, working_scale

SMALL = Hardware((), 2, 4 * 2**30)
WITH_GPU = Hardware((16 * 2**30,), 8, 64 * 2**30)


class TestValidation(ProjectTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        star_file, _ = simulated_views("data", 2, 30)
        cls.imported = cls.run_to_end(cls.new("CryoRalibProtImportStar", starFile=str(star_file)))

    def _mra(self, **values):
        return self.new(
            "CryoRalibProtMultirefAlign2D",
            {"inputParticles": (self.imported, "outputParticles")},
            **{"nClasses": 2, "useGpu": False, "numberOfThreads": 1, **values},
        )

    def assertRefused(self, message, **values):
        errors = self._mra(**values).validate()
        self.assertTrue(any(message in error for error in errors), errors)

    def test_a_good_form_passes(self):
        self.assertEqual(self._mra().validate(), [])
        rfa = self.new(
            "CryoRalibProtRefFreeAlign2D",
            {"inputParticles": (self.imported, "outputParticles")},
            useGpu=False,
            shiftRangePx="1",
        )
        self.assertEqual(rfa.validate(), [])

    def test_cryosparc_files_get_advice(self):
        Path("J12_particles.cs").touch()
        (problem,) = self.new("CryoRalibProtImportStar", starFile="J12_particles.cs").validate()
        self.assertIn("export it as RELION STAR first, with csparc2star.py of pyem", problem)

    def test_sizes_that_do_not_fit_are_refused(self):
        self.assertRefused("plus the largest shift", outerRadiusPx=14, shiftRangePx="5")
        self.assertRefused("must not be larger than the particles' box", downsampleBoxPx=64)
        self.assertRefused("need 80 particles, but there are 60", nClasses=20)
        self.assertRefused("give one value, or 3", shiftRangePx="2 1", shiftStepPx="1 1 1")

    def test_compute_fields_that_make_no_sense_are_refused(self):
        self.assertRefused("MPIs and threads must be at least 1", numberOfThreads=0)
        self.assertRefused("GPU IDs is empty", useGpu=True, gpuList="")
        self.assertRefused("GPU IDs must be numbers", useGpu=True, gpuList="first")
        with mock.patch.object(forecasts.shutil, "which", return_value=None):
            self.assertRefused("needs mpirun, which was not found", numberOfMpi=2)

    def test_particles_without_ctf_cannot_be_corrected(self):
        database = self.imported.outputParticles.getFileName()
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE Properties SET value = 'False' WHERE key = '_hasCtf'")
        particles = self.imported.outputParticles
        particles.setHasCTF(False)
        try:
            self.assertRefused("the particles have no CTF", ctfCorrection=2)
        finally:
            particles.setHasCTF(True)

    def test_references_must_have_the_working_box_and_pixel_size(self):
        def given(box, pixel_size):
            averages = SetOfAverages(filename=f"averages_{box}_{pixel_size}.sqlite")
            averages.setSamplingRate(pixel_size)
            for item in self.particles(2, box, f"reference_{box}_{pixel_size}"):
                item.setSamplingRate(pixel_size)
                averages.append(item)
            averages.write()
            return averages

        protocol = self._mra()
        for box, pixel_size, message in (
            (BOX, 4.0, ""),
            (BOX + 8, 4.0, "references' box is 40 px"),
            (BOX, 5.0, "references' pixel size is 5"),
        ):
            protocol.inputReferences.set(given(box, pixel_size))
            errors = " ".join(protocol.validate())
            self.assertIn(message, errors) if message else self.assertEqual(errors, "")

    def test_a_lost_stack_is_noticed(self):
        stack = self.imported.outputParticles.getFirstItem().getFileName()
        os.rename(stack, stack + ".away")
        try:
            self.assertRefused("does not exist")
        finally:
            os.rename(stack + ".away", stack)

    def test_warnings_say_what_to_expect(self):
        with mock.patch.object(hardware, "this_machine", return_value=SMALL):
            many = self._mra(numberOfMpi=4, numberOfThreads=4)
            self.assertIn("more than the 2 cores", " ".join(many._warnings()))
            gpu = self._mra(useGpu=True)
            self.assertIn("this machine shows none", " ".join(gpu._warnings()))
            self.assertIn("mostly noise", " ".join(self._mra(nClasses=10)._warnings()))
            self.assertEqual(self._mra()._warnings(), [])

    def test_forecast_stands_in_the_summary_and_warns_of_large_runs(self):
        protocol = self._mra()
        (line,) = protocol._summary()
        self.assertRegex(line, r"^Forecast: .*GiB of memory per rank.*per iteration, \d+ iter")
        particles = protocol.input_particles()
        with (
            mock.patch.object(hardware, "this_machine", return_value=SMALL),
            mock.patch.object(type(particles), "getSize", return_value=3_000_000),
        ):
            found = " ".join(protocol._warnings())
            self.assertIn("Forecast:", found)
            self.assertIn("but this machine has 4.0 GiB", found)

    def test_bad_star_files_are_refused_in_the_import_form(self):
        for star_file, message in (("", "Name the STAR file"), ("nothing.star", "does not exist")):
            errors = self.new("CryoRalibProtImportStar", starFile=star_file).validate()
            self.assertIn(message, " ".join(errors))
        Path("bad.star").write_text("data_\n\nloop_\n_rlnImageName #1\n1@gone.mrcs\n")
        errors = self.new("CryoRalibProtImportStar", starFile="bad.star").validate()
        self.assertIn("gone.mrcs", " ".join(errors))

    def test_particles_of_a_given_map_are_simulated(self):
        small = {"nParticles": 8, "boxSizePx": 24, "pixelSizeAngst": 6.0, "blobSigmaAngst": 6.0}
        small["objectDiameterAngst"] = 100.0
        first = self.run_to_end(self.new("CryoRalibProtSimulateParticles", **small))
        again = self.new(
            "CryoRalibProtSimulateParticles",
            {"inputVolume": (first, "outputVolume")},
            **{**small, "boxSizePx": 20, "objectDiameterAngst": 5000.0},
        )
        self.assertEqual(again.validate(), [])
        again = self.run_to_end(again)
        self.assertTrue(again.isFinished(), again.getErrorMessage())
        self.assertEqual(again.outputParticles.getDim(), (20, 20, 1))
        self.assertEqual(again.outputVolume.getDim(), (20, 20, 20))
        alone = self.new(
            "CryoRalibProtSimulateParticles", {"secondVolume": (first, "outputVolume")}
        )
        self.assertIn("map_file is not", " ".join(alone.validate()))

    def test_simulation_is_checked_as_a_whole(self):
        errors = self.new("CryoRalibProtSimulateParticles", boxSizePx=16).validate()
        self.assertIn("enlarge Box size", " ".join(errors))


class TestWizards(ProjectTest):
    def setUp(self):
        self.protocol = self.new("CryoRalibProtMultirefAlign2D", shiftRangePx="2")
        self.protocol.inputParticles.set(self.particles())

    def test_radius_counts_in_pixels_of_the_aligned_box(self):
        self.assertEqual(working_scale(self.protocol), 1.0)
        self.assertEqual(widest_radius(self.protocol), BOX // 2 - 2 - 2)
        self.protocol.downsampleBoxPx.set(16)
        self.assertEqual(working_scale(self.protocol), 0.5)
        self.assertEqual(widest_radius(self.protocol), 8 - 2 - 2)
        self.protocol.shiftRangePx.set("30")
        self.assertEqual(widest_radius(self.protocol), 8 - 2)

    def test_images_of_the_input_are_shown(self):
        images = images_of(self.protocol)
        self.assertEqual(len(images), 40)
        self.assertEqual(len({image.getIndex() for image in images}), 40)
        empty = self.new("CryoRalibProtMultirefAlign2D")
        self.assertEqual(images_of(empty), [])

    def test_hardware_fills_in_the_form(self):
        values = hardware_values(WITH_GPU)
        self.assertEqual(
            values,
            {
                "useGpu": True,
                "gpuList": "0",
                "numberOfMpi": 1,
                "numberOfThreads": 8,
                "batchSize": 0,
            },
        )
        for name in values:
            self.assertTrue(self.protocol.hasAttribute(name))
        self.assertNotIn("gpuList", hardware_values(SMALL))


class TestTemplates(ProjectTest):
    def test_workflow_templates_load_as_connected_protocols(self):
        from pyworkflow.template import LocalTemplate

        from cryoralib_plugin.tests.test_discovery import registered

        plugin = registered().getPlugins()["cryoralib_plugin"]._pluginInstance
        templates = plugin.getTemplates()
        self.assertEqual(
            {template.name for template in templates},
            {
                "simulated_particles_to_averages",
                "simulated_particles_to_map",
                "star_to_averages",
                "star_to_map",
            },
        )
        for template in templates:
            self.assertIsInstance(template, LocalTemplate)
            self.assertTrue(template.description.startswith("cryoralib"))
            template.replaceEnvVariables()
            template.parseContent()
            for parameter in template.getParams().values():
                if parameter.getAlias() not in ("star", "map"):
                    self.assertIsNone(parameter.validate(), parameter.getTitle())
            path = template.createTemplateFile()
            nodes = json.loads(Path(path).read_text())
            loaded = self.proj.loadProtocols(path)
            self.assertEqual(len(loaded), len(nodes))
            for node in nodes:
                protocol = loaded[node["object.id"]]
                self.assertEqual(protocol.getClassName(), node["object.className"])
                declared = {name for name, _ in protocol.getDefinition().iterParams()}
                own = {name for name in node if not name.startswith("object.")}
                self.assertLessEqual(own - {"runName", "runMode"}, declared)
                for name, pointer in protocol.iterInputAttributes():
                    self.assertIn(name, ("inputParticles", "referenceVolume"))
                    self.assertTrue(pointer.hasExtended())
