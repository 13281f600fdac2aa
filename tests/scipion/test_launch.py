# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that starts a program, and how its end is judged."""

import json
import os
import shlex
import sys
import tempfile
import time
import unittest
from pathlib import Path
from threading import Timer
from unittest import mock

import pwem
from pyworkflow.utils.process import buildRunCommand

import cryoralib_plugin
from cryoralib_plugin.scipion import plugin as plugin_module
from cryoralib_plugin.scipion.hardware import Hardware, layout_for
from cryoralib_plugin.scipion.launch import EngineError, check_finished, engine_arguments
from cryoralib_plugin.tests.test_discovery import registered


def arguments(**changed):
    values = {"n_ranks": 2, "threads": 3, "use_gpu": False, "resume": False, **changed}
    return engine_arguments("mra", "Runs/1/extra/config.json", **values)


class TestArguments(unittest.TestCase):
    def test_ranks_are_named_and_mpi4py_watches_over_them(self):
        words = shlex.split(arguments(resume=True))
        self.assertEqual(words[:5], ["-m", "mpi4py", "-m", "cryoralib_plugin", "mra"])
        self.assertEqual(words[words.index("--expected-ranks") + 1], "2")
        self.assertEqual(words[words.index("--threads") + 1], "3")
        self.assertEqual(words[words.index("--backend") + 1], "cpu")
        self.assertIn("--resume", words)
        self.assertNotIn("--gpus", words)
        self.assertNotIn("--resume", arguments())

    def test_scipion_fills_in_the_gpus_of_the_step(self):
        text = engine_arguments(
            "mra", "100% done/config.json", n_ranks=1, threads=1, use_gpu=True, resume=False
        )
        command = buildRunCommand("python", text, 1, gpuList=[2, 0])
        words = shlex.split(command)
        self.assertEqual(words[words.index("--gpus") + 1], "2 0")
        self.assertEqual(words[words.index("--config") + 1], "100% done/config.json")
        self.assertEqual(words[words.index("--backend") + 1], "cuda")

    def test_the_sites_mpi_command_wins(self):
        host = mock.Mock()
        host.mpiCommand.get.return_value = "mpirun -np %(JOB_NODES)d %(COMMAND)s"
        plugin = registered().getPlugins()["cryoralib_plugin"]._pluginInstance
        context = {"PLUGIN_MODULE": plugin.getName()}
        own = {"PARALLEL_COMMAND_CRYORALIB": "srun -n %(JOB_NODES)d %(COMMAND)s"}
        with mock.patch.dict(os.environ, own):
            environ = plugin.getEnviron()
        command = buildRunCommand(
            sys.executable, arguments(), 2, hostConfig=host, env=environ, context=dict(context)
        )
        self.assertTrue(command.strip().startswith(f"srun -n 2  {sys.executable} -m mpi4py"))
        environ = plugin.getEnviron()
        command = buildRunCommand(
            sys.executable, arguments(), 2, hostConfig=host, env=environ, context=dict(context)
        )
        self.assertTrue(command.strip().startswith("mpirun -np 2"))


class TestEnd(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.status = Path(folder.name) / "status.json"

    def _write(self, **values):
        self.status.write_text(json.dumps(values))

    def test_only_a_finished_run_passes(self):
        self._write(state="finished", iteration=3)
        check_finished(self.status)
        self._write(state="failed", iteration=1, message="the stack is truncated")
        with self.assertRaisesRegex(EngineError, "^the stack is truncated$"):
            check_finished(self.status)
        self._write(state="running", iteration=7)
        with self.assertRaisesRegex(EngineError, "without a word after iteration 7.*Continue"):
            check_finished(self.status)
        self.status.unlink()
        with self.assertRaisesRegex(EngineError, "left no .*status.json"):
            check_finished(self.status)

    def test_a_shared_disk_is_given_time(self):
        self._write(state="running", iteration=7)
        Timer(0.3, self._write, kwargs={"state": "finished", "iteration": 8}).start()
        began = time.monotonic()
        check_finished(self.status, patience_s=20.0)
        self.assertLess(time.monotonic() - began, 10.0)


class TestPlugin(unittest.TestCase):
    def setUp(self):
        self.plugin = registered().getPlugins()["cryoralib_plugin"]._pluginInstance

    def test_engine_runs_in_scipions_python_unless_told_otherwise(self):
        self.assertEqual(self.plugin.engine_python(), sys.executable)
        environ = self.plugin.getEnviron()
        self.assertEqual(environ["PATH"].split(os.pathsep)[0], os.path.dirname(sys.executable))
        self.assertEqual(environ["OMPI_ALLOW_RUN_AS_ROOT"], "1")
        self.assertIn(
            str(Path(cryoralib_plugin.__file__).resolve().parent.parent), environ["PYTHONPATH"]
        )

    def test_another_python_loses_scipions_paths(self):
        variables = {plugin_module.CRYORALIB_PYTHON: "/opt/engine/bin/python"}
        with mock.patch.dict(type(self.plugin)._vars, variables):
            environ = self.plugin.getEnviron()
            self.assertEqual(environ["PATH"].split(os.pathsep)[0], "/opt/engine/bin")
            self.assertNotIn("PYTHONPATH", environ)
            (first, *_) = self.plugin.validateInstallation()
            self.assertIn("/opt/engine/bin/python, which is not a program", first)
        self.assertEqual(self.plugin.validateInstallation(), [])

    def test_a_value_of_the_site_is_kept(self):
        with mock.patch.dict(os.environ, {"OMPI_ALLOW_RUN_AS_ROOT": "0"}):
            self.assertEqual(self.plugin.getEnviron()["OMPI_ALLOW_RUN_AS_ROOT"], "0")

    def test_binaries_are_a_venv_without_conda(self):
        env = mock.Mock()
        self.plugin.defineBinaries(env)
        (name,), options = env.addPackage.call_args
        self.assertEqual((name, options["version"]), ("cryoralib", cryoralib_plugin.__version__))
        ((command, targets),) = options["commands"]
        self.assertIn("-m venv env", command)
        self.assertIn("--no-deps", command)
        self.assertNotIn("conda", command)
        self.assertNotIn("scipion-pyworkflow", command)
        for package in ("numba", "mpi4py", "cupy-cuda12x"):
            self.assertIn(package, command)
        declared = ["numpy>=1.26", "scipion-em>=3.11", 'numba>=0.59; extra == "engine"',
                    'cupy-cuda13x>=13; extra == "cuda13"', 'nvidia-cublas; extra == "cuda13"',
                    'cupy-cuda12x>=13; extra == "cuda12"', 'pytest; extra == "test"']  # fmt: skip
        with mock.patch.object(plugin_module.metadata, "requires", return_value=declared):
            self.assertEqual(
                plugin_module.engine_requirements("cupy-cuda13x"),
                ["numpy>=1.26", "numba>=0.59", "cupy-cuda13x>=13", "nvidia-cublas"],
            )
            self.assertEqual(plugin_module.engine_requirements(""), ["numpy>=1.26", "numba>=0.59"])
        self.assertFalse(options["default"])
        self.assertEqual(targets, ["installed.txt"])
        self.assertTrue(self.plugin.engine_folder().startswith(pwem.Config.EM_ROOT))


class TestHardware(unittest.TestCase):
    def test_one_rank_for_each_gpu_and_all_cores_otherwise(self):
        gpus = layout_for(Hardware((24 * 2**30,) * 4, 32, 2**38))
        self.assertEqual((gpus.n_ranks, gpus.n_threads, gpus.gpu_list), (4, 8, "0 1 2 3"))
        none = layout_for(Hardware((), 16, 2**36))
        self.assertEqual((none.n_ranks, none.n_threads, none.gpu_list), (1, 16, ""))
        few = layout_for(Hardware((2**34, 2**34), 1, 2**34))
        self.assertEqual((few.n_ranks, few.n_threads), (2, 1))
