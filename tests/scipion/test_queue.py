# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue that submits each program as a job and loses its exit code: runs end in the truth."""

import os
import stat
import tempfile
from pathlib import Path

from cryoralib_plugin.scipion.environment import HOSTS_FILE
from cryoralib_plugin.tests.scipion_project import ProjectTest, simulated_views

# The job runs at once and apart; sbatch returns its number, squeue lists it while it is alive.
SBATCH = """#!/bin/bash
export SLURM_SUBMIT_DIR="$PWD"
setsid bash "$1" > "$1.out" 2> "$1.err" < /dev/null &
echo $!
"""
SQUEUE = """#!/bin/bash
number="${@: -1}"
if kill -0 "$number" 2> /dev/null; then echo "$number RUNNING"; fi
exit 0
"""
COMMON = {
    "outerRadiusPx": 12,
    "shiftRangePx": "1",
    "nClasses": 2,
    "nIterations": 1,
    "numberOfThreads": 1,
}


class TestQueue(ProjectTest):
    hosts = HOSTS_FILE.read_text()

    @classmethod
    def setUpClass(cls):
        folder = Path(tempfile.mkdtemp(prefix="cryoralib_queue_"))
        for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", "#!/bin/bash\n")):
            program = folder / name
            program.write_text(text)
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        before = os.environ["PATH"]
        cls.addClassCleanup(os.environ.__setitem__, "PATH", before)
        os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
        super().setUpClass()
        star_file, _ = simulated_views("data", 2, 10)
        cls.imported = cls.run_to_end(cls.new("CryoRalibProtImportStar", starFile=str(star_file)))

    def _queued(self, **values):
        protocol = self.new(
            "CryoRalibProtMultirefAlign2D",
            {"inputParticles": (self.imported, "outputParticles")},
            **{**COMMON, **values},
        )
        protocol._useQueue.set(True)
        protocol.setQueueParams(["default", {"JOB_TIME": "1", "QUEUE_FOR_JOBS": "Y"}])
        return protocol

    def test_a_job_of_the_queue_gives_its_results(self):
        protocol = self.run_to_end(self._queued(useGpu=False, numberOfMpi=2))
        self.assertTrue(protocol.isFinished(), protocol.getErrorMessage())
        self.assertEqual(protocol.outputParticles.getSize(), 20)
        (script,) = Path(protocol._getLogsPath()).glob("*.job")
        text = script.read_text()
        self.assertIn("#SBATCH --ntasks=2", text)
        self.assertIn("#SBATCH --gres=gpu:0", text)
        self.assertIn("mpirun -np 2", text)
        self.assertIn("--expected-ranks 2", text)
        self.assertIn("-m mpi4py -m cryoralib_plugin mra", text)

    def test_a_failing_job_fails_the_protocol_with_the_programs_message(self):
        """The job ends with an error code that nobody sees."""
        protocol = self._queued(useGpu=False, ctfCorrection=0)
        stack = Path("data/views.mrcs")
        whole = stack.read_bytes()
        try:
            stack.write_bytes(whole[: len(whole) // 2])
            protocol = self.run_to_end(protocol)
        finally:
            stack.write_bytes(whole)
        self.assertTrue(protocol.isFailed())
        self.assertIn("views.mrcs", protocol.getErrorMessage())
        self.assertFalse(hasattr(protocol, "outputClasses"))
