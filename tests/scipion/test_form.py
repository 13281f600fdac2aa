# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms are the declared parameters; a filled form is the config the command line would give."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

import pyworkflow as pw
import pyworkflow.protocol.params as params
from pwem.protocols import EMProtocol

import cryoralib_plugin
from cryoralib_plugin.contract._codec import to_flat
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.align2d import MultireferenceConfig, ReferenceFreeConfig
from cryoralib_plugin.contract.reconstruct import ReconstructConfig
from cryoralib_plugin.contract.refine3d import Refine3DConfig
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.scipion.form import (
    FILLED_BY_SCIPION,
    condition,
    config_of,
    form_name,
    form_params,
    shown_params,
)
from cryoralib_plugin.tests.test_discovery import registered

FORMS = (
    ("CryoRalibProtMultirefAlign2D", MultireferenceConfig),
    ("CryoRalibProtRefFreeAlign2D", ReferenceFreeConfig),
    ("CryoRalibProtSimulateParticles", SimulateConfig),
    ("CryoRalibProtRefine3D", Refine3DConfig),
    ("CryoRalibProtClassify3D", Refine3DConfig),
    ("CryoRalibProtReconstruct", ReconstructConfig),
)
# What a form asks in a field of its own, does not ask, or asks with another default.
ASKED_OTHERWISE = {
    ("CryoRalibProtRefFreeAlign2D", "start_from_alignment"),
    ("CryoRalibProtRefine3D", "n_classes"),
    ("CryoRalibProtRefine3D", "smallest_class_share"),
    ("CryoRalibProtClassify3D", "n_classes"),
}
IN_FILES = {"particles_file": "p.star", "output_dir": "run"}


def protocol_of(name, **values):
    return registered().getProtocols()[name](**values)


class TestForm(unittest.TestCase):
    def test_form_shows_every_declared_parameter_as_declared(self):
        widgets = {bool: params.BooleanParam, int: params.IntParam, float: params.FloatParam}
        for name, config_class in FORMS:
            protocol = protocol_of(name)
            for parameter, declared in form_params(config_class):
                if (name, parameter) in ASKED_OTHERWISE:
                    continue
                shown = protocol.getParam(form_name(parameter))
                self.assertIsNotNone(shown, parameter)
                self.assertTrue(shown.getHelp().startswith(declared.help.split("\n")[0]))
                self.assertTrue(shown.getLabel().startswith(declared.label))
                self.assertEqual(bool(shown.isExpert()), declared.expert, parameter)
                value = protocol.getAttributeValue(form_name(parameter))
                if declared.choices is not None:
                    self.assertIsInstance(shown, params.EnumParam)
                    self.assertEqual(tuple(shown.choices), declared.choices)
                    self.assertEqual(declared.choices[value], declared.default)
                else:
                    self.assertIsInstance(shown, widgets.get(declared.kind, params.StringParam))
                    self.assertEqual(value or declared.kind(), declared.default)

    def test_empty_form_gives_the_declared_defaults(self):
        for name, config_class in FORMS:
            files = {"output_dir": "run"} if config_class is SimulateConfig else IN_FILES
            found = to_flat(config_of(protocol_of(name), config_class, **files))
            for parameter, declared in form_params(config_class):
                if (name, parameter) not in ASKED_OTHERWISE:
                    self.assertEqual(found[parameter], declared.default, parameter)

    def test_refinement_has_one_map_and_classification_several(self):
        refinement = protocol_of("CryoRalibProtRefine3D")
        for parameter in ("n_classes", "smallest_class_share"):
            self.assertIsNone(refinement.getParam(form_name(parameter)))
        self.assertEqual(config_of(refinement, Refine3DConfig, **IN_FILES).reference.n_classes, 1)
        classification = protocol_of("CryoRalibProtClassify3D", nClasses=4)
        self.assertTrue(classification.evalParamCondition("smallestClassShare"))
        config = config_of(classification, Refine3DConfig, **IN_FILES)
        self.assertEqual(config.reference.n_classes, 4)
        self.assertGreater(
            config_of(
                protocol_of("CryoRalibProtClassify3D"), Refine3DConfig, **IN_FILES
            ).reference.n_classes,
            1,
        )

    def test_a_mask_is_asked_for_where_one_is_to_be_given(self):
        for choice, asked in ((0, False), (1, False), (2, True)):
            protocol = protocol_of("CryoRalibProtRefine3D", mapMask=choice)
            self.assertIs(bool(protocol.evalParamCondition("inputMask")), asked)

    def test_filled_form_gives_the_values(self):
        protocol = protocol_of(
            FORMS[0][0], nClasses=7, shiftRangePx="4 2", mirror=False, ctfCorrection=2, wienerSnr=3
        )
        config = config_of(protocol, MultireferenceConfig, **IN_FILES)
        self.assertEqual(config.search.n_classes, 7)
        self.assertEqual(config.search.shift_range_px, "4 2")
        self.assertIs(config.search.mirror, False)
        self.assertEqual(config.ctf.ctf_correction, "wiener")
        self.assertEqual(config.ctf.wiener_snr, 3.0)

    def test_hidden_parameters_keep_their_defaults(self):
        protocol = protocol_of(FORMS[0][0], preset=1, refineShift=False, wienerSnr=9.0)
        self.assertFalse(protocol.evalParamCondition("refineShift"))
        config = config_of(protocol, MultireferenceConfig, **IN_FILES)
        self.assertIs(config.search.refine_shift, True)
        self.assertEqual(config.ctf.wiener_snr, 1.0)

    def test_conditions_speak_the_forms_language(self):
        declared = dict(form_params(MultireferenceConfig))
        self.assertEqual(condition("preset == 'recommended'", declared), "preset == 0")
        self.assertEqual(
            condition("ctf_correction in ('none', 'wiener') and not mirror", declared),
            "ctfCorrection in (0, 2) and (not mirror)",
        )

    def test_values_outside_the_bounds_are_refused_in_words(self):
        for name, config_class in FORMS:
            protocol = protocol_of(name)
            for parameter, declared in shown_params(protocol, config_class):
                if declared.kind not in (int, float) or declared.minimum is None:
                    continue
                shown = protocol.getParam(form_name(parameter))
                wrong = declared.kind(declared.minimum - 1)
                (message,) = shown.validate(wrong)
                self.assertTrue(message.startswith("must be "), message)
                self.assertIn(declared.bounds_in_words, message)
                self.assertEqual(shown.validate(declared.default), [])

    def test_bad_lists_and_empty_fields_are_refused(self):
        protocol = protocol_of(FORMS[0][0])
        shown = protocol.getParam("shiftRangePx")
        self.assertIn("numbers separated by spaces", shown.validate("three")[0])
        self.assertIn("must be given", shown.validate("")[0])
        self.assertIn("must be a whole number", protocol.getParam("nClasses").validate(None)[0])
        self.assertIn("one of none, phase_flip", protocol.getParam("ctfCorrection").validate(9)[0])
        with self.assertRaisesRegex(ConfigError, "n_classes"):
            config_of(protocol_of(FORMS[0][0], nClasses=0), MultireferenceConfig, **IN_FILES)

    def test_no_field_hides_an_attribute_of_scipions_protocols(self):
        for _, config_class in FORMS:
            for parameter, _ in form_params(config_class):
                self.assertFalse(hasattr(EMProtocol, form_name(parameter)), parameter)
        plain = EMProtocol()
        for name, _ in FORMS:
            own = set(type(protocol_of(name)).__mro__[0].__dict__) | set(
                type(protocol_of(name)).__mro__[1].__dict__
            )
            public = {word for word in own if not word.startswith("_")}
            clashes = {word for word in public if word in plain.__dict__}
            self.assertEqual(clashes, set())

    def test_no_tab_is_empty_for_users_who_are_no_experts(self):
        for name, _ in FORMS:
            for section in protocol_of(name).getDefinition().iterSections():
                fields = [field for _, field in section.iterParams()]
                self.assertTrue(any(not field.isExpert() for field in fields), section.getLabel())

    def test_what_scipion_fills_in_is_not_asked_twice(self):
        protocol = protocol_of(FORMS[0][0])
        for parameter in FILLED_BY_SCIPION:
            self.assertIsNone(protocol.getParam(form_name(parameter)))
        self.assertTrue(protocol.allowsGpu())
        self.assertFalse(protocol.requiresGpu())
        self.assertTrue(protocol.allowMpi and protocol.allowThreads)

    def test_validation_holds_under_python_o(self):
        """Scipion's windows run with -O, which strips assert statements."""
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from cryoralib_plugin.tests.test_form import protocol_of\n"
            "bad = protocol_of('CryoRalibProtMultirefAlign2D', nClasses=0, shiftRangePx='x')\n"
            "errors = bad.validate()\n"
            "print(__debug__, '|'.join(errors))\n"
        )
        root = str(Path(cryoralib_plugin.__file__).parent.parent)
        done = subprocess.run(
            [sys.executable, "-O", "-c", code, root],
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("False", done.stdout)
        self.assertIn("cannot be EMPTY", done.stdout)
        self.assertEqual(done.stdout.count("must be between 1 and 10000, not 0"), 1)
        self.assertEqual(done.stdout.count("must be numbers separated by spaces"), 1)


class TestStrictPointers(unittest.TestCase):
    def test_inputs_take_what_they_say(self):
        pw.Config.setDomain("pwem")
        mra = protocol_of("CryoRalibProtMultirefAlign2D")
        rfa = protocol_of("CryoRalibProtRefFreeAlign2D")
        self.assertEqual(str(mra.getParam("inputParticles").pointerClass), "SetOfParticles")
        self.assertTrue(mra.getParam("inputReferences").allowsNull.get())
        self.assertIn("SetOfClasses2D", list(rfa.getParam("inputParticles").pointerClass))
