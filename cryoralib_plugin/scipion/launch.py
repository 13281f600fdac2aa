# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a program of the engine from a protocol's step, and make sure that it came to its end.

The command is ``[mpirun -np N] python -m mpi4py -m cryoralib_plugin PROGRAM --config FILE ...``.
mpirun is put in front by Scipion, so that PARALLEL_COMMAND and the queue of the site hold. Without
``-m mpi4py`` a rank that fails leaves the others waiting for ever. The number of ranks is named on
the command line, because a wrong mpirun starts every rank as a run of its own.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Optional, Sequence

from cryoralib_plugin.contract.results import FAILED, FINISHED, RUNNING, ResultPaths

logger = logging.getLogger(__name__)

GPU_PLACEHOLDER = "%(GPU)s"
_SECONDS_FOR_A_QUEUE = 30.0
"""How long files of another machine may take to appear on a shared disk."""


class EngineError(RuntimeError):
    """The program did not come to its end; the text is the program's own message."""


def engine_arguments(
    program: str,
    config_file: str,
    *,
    n_ranks: int,
    threads: int,
    use_gpu: bool,
    resume: bool,
) -> str:
    """The arguments after the engine's Python, as one text for Scipion's runJob.

    Scipion puts the numbers of the GPUs of this step in place of ``%(GPU)s``.
    """
    words = ["-m", "mpi4py", "-m", "cryoralib_plugin", program, "--config", config_file]
    words += ["--expected-ranks", str(n_ranks), "--threads", str(threads)]
    words += ["--backend", "cuda" if use_gpu else "cpu"]
    if resume:
        words.append("--resume")
    text = " ".join(shlex.quote(word) for word in words)
    if use_gpu:
        # Scipion formats the text with %, but only where the placeholder occurs in it.
        text = text.replace("%", "%%") + f' --gpus "{GPU_PLACEHOLDER}"'
    return text


def run_engine(
    protocol: Any, program: str, config_file: Path, run_dir: Path, *, resume: bool
) -> None:
    """Run a program on all ranks in this step; `EngineError` with its message if it fails."""
    status_file = ResultPaths(run_dir).status_json
    # The status of an earlier attempt must not pass for the end of this one.
    status_file.unlink(missing_ok=True)
    arguments = engine_arguments(
        program,
        str(config_file),
        n_ranks=protocol.numberOfMpi.get(),
        threads=protocol.numberOfThreads.get(),
        use_gpu=protocol.usesGpu(),
        resume=resume,
    )
    try:
        protocol.runJob(protocol.getPlugin().engine_python(), arguments)
    except CalledProcessError as error:
        # The program's own message says more than its exit code.
        logger.warning("%s ended with exit code %d", program, error.returncode)
    check_finished(status_file, patience_s=_patience(protocol))


def run_program(protocol: Any, program: str, config_file: Path, results: Sequence[Path]) -> None:
    """Run a program that leaves no status; `EngineError` unless it leaves these files."""
    for path in results:
        path.unlink(missing_ok=True)
    words = ["-m", "cryoralib_plugin", program, "--config", str(config_file)]
    protocol.runJob(
        protocol.getPlugin().engine_python(),
        " ".join(shlex.quote(word) for word in words),
        numberOfMpi=1,
    )
    end = time.monotonic() + _patience(protocol)
    while not all(path.is_file() for path in results):
        if time.monotonic() >= end:
            missing = [str(path) for path in results if not path.is_file()]
            raise EngineError(f"{program} did not write {', '.join(missing)}; see the run's log")
        time.sleep(0.5)


def check_finished(status_file: Path, *, patience_s: float = 0.0) -> None:
    """`EngineError` unless the status file says that the run came to its end.

    A queue loses the exit code of a job, so the file that the engine writes last is what counts.
    """
    end = time.monotonic() + patience_s
    while True:
        status = _status(status_file)
        state = status.get("state") if status else None
        if state == FINISHED:
            return
        if state == FAILED:
            raise EngineError(str(status.get("message", "the run failed; see its log")))
        if time.monotonic() >= end:
            break
        time.sleep(0.5)
    if state == RUNNING:
        raise EngineError(
            f"the run stopped without a word after iteration {status.get('iteration', 0)}: it was "
            "killed, by the queue's time limit or for want of memory perhaps. Continue resumes it."
        )
    raise EngineError(
        f"the run left no {status_file}: the program could not be started or was refused its "
        "parameters; its message is in the protocol's log"
    )


def _patience(protocol: Any) -> float:
    """How long to wait for files that the program wrote."""
    return _SECONDS_FOR_A_QUEUE if protocol.useQueue() else 0.0


def _status(status_file: Path) -> Optional[dict]:
    """The status, or None where it is absent or not yet whole."""
    try:
        return json.loads(status_file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
