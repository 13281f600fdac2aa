# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs: the only place where devices, ranks, files and parameters are put together.

Importing this module imports no program; each is imported when its name is called.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from . import __version__, _engines
from ._arguments import read_config
from ._machine import keep_compiled_kernels, launched, notice_of_first_use, share_cores
from .contract._codec import nearest, to_json
from .contract._param import ConfigError
from .contract.plan import GIB, MEMORY_SHARE
from .contract.results import FAILED, FINISHED, RUNNING, ResultPaths

logger = logging.getLogger(__name__)

_SECONDS_FOR_THE_ROOT = 2.0
"""How long another rank waits with its message: the root often has the same one."""


@dataclass
class Session:
    """What the end of a program must know, good or bad: its ranks and its run directory."""

    comm: Optional[Any] = None
    files: Optional[Any] = None

    @property
    def rank(self) -> int:
        """This rank's number, also before MPI is opened."""
        return self.comm.rank if self.comm is not None else launched().rank


class Program(NamedTuple):
    """A program's one-line description and what starts it."""

    description: str
    start: Callable[[List[str], Session], int]


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the program the command line names; its exit code."""
    given = list(sys.argv[1:] if words is None else words)
    session = Session()
    keep_compiled_kernels()
    try:
        return _dispatch(given, session)
    except KeyboardInterrupt:
        return _fail("interrupted", session, 130)
    except Exception as error:
        logger.debug("the program ended because of", exc_info=True)
        return _fail(_sentence(error), session, 1)


def _dispatch(given: List[str], session: Session) -> int:
    name = given[0] if given else "--help"
    if name in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if name == "--version":
        sys.stdout.write(f"cryoralib {__version__}\n")
        return 0
    if name not in PROGRAMS:
        like = nearest(name, PROGRAMS)
        hint = f"did you mean {like}?" if like else "known are: " + ", ".join(PROGRAMS)
        raise ConfigError(f"unknown program: {name}; {hint}")
    return PROGRAMS[name].start(given[1:], session)


def _overview() -> str:
    lines = [
        "usage: python -m cryoralib_plugin PROGRAM [options]",
        "       mpirun -n 4 python -m mpi4py -m cryoralib_plugin PROGRAM [options]",
        "",
        *(f"  {name:<11} {program.description}" for name, program in PROGRAMS.items()),
        "",
        "python -m cryoralib_plugin PROGRAM --help lists a program's options.",
    ]
    return "\n".join(lines) + "\n"


def _multireference(words: List[str], session: Session) -> int:
    from .contract.align2d import MultireferenceConfig

    return _on_particles(MultireferenceConfig, words, session, _engines.align2d)


def _reference_free(words: List[str], session: Session) -> int:
    from .contract.align2d import ReferenceFreeConfig

    return _on_particles(ReferenceFreeConfig, words, session, _engines.align2d)


def _refine3d(words: List[str], session: Session) -> int:
    from .contract.refine3d import Refine3DConfig

    return _on_particles(Refine3DConfig, words, session, _engines.refinement)


def _reconstruct(words: List[str], session: Session) -> int:
    from .contract.reconstruct import ReconstructConfig

    return _on_particles(ReconstructConfig, words, session, _engines.reconstruction)


def _on_particles(
    config_class: Any, words: List[str], session: Session, load: Callable[[], _engines.Engine]
) -> int:
    """Open ranks, run directory, device and particles; then run the program."""
    description = PROGRAMS[config_class.program].description
    config: Any = read_config(config_class, description, words)
    threads = share_cores(config.compute.threads)
    comm = session.comm = _open_ranks(config.compute.expected_ranks)
    _log_to_screen(comm)

    from .io.memory_limit import free_memory_bytes
    from .kernels.device import open_device
    from .particles.opening import open_particles

    engine = load()
    files = engine.files(ResultPaths(config.files.output_dir))
    if comm.is_root:
        _take_directory(files, config)
    # Whatever goes wrong from here on is told in status.json, which Scipion reads.
    comm.barrier()
    session.files = files
    device = open_device(config.compute.backend, _gpu_ids(config.compute.gpus), comm.local_rank)
    compute = config.compute
    memory = compute.memory_gib * GIB or MEMORY_SHARE * free_memory_bytes() / launched().n_local
    table, source = open_particles(
        config,
        comm,
        memory,
        check=partial(engine.check, config),
        preprocessing=partial(engine.prepare, config),
    )
    plan = engine.plan(
        config,
        table,
        source,
        n_ranks=comm.size,
        threads=threads,
        backend=device.kind,
        memory_bytes=int(memory),
        device_bytes=device.free_bytes() if device.kind == "cuda" else 0,
    )
    logger.info(
        "cryoralib %s, %s of %d particles on %d rank(s), %s: %s",
        __version__, config.program, len(table), comm.size, device.name, plan.in_words,
    )  # fmt: skip
    notice = notice_of_first_use(engine.kernels) if device.kind == "cpu" else ""
    if notice:
        logger.info(notice)
    # The result does not depend on the batch, so the record of the run keeps what was asked for.
    compute = replace(compute, batch_size=plan.batch_size)
    try:
        engine.run(replace(config, compute=compute), table, source, device, comm, files)
    finally:
        source.close()
    if comm.is_root:
        logger.info("finished; the results are in %s", files.paths.run_dir)
        files.write_status(FINISHED, iteration=files.paths.last_iteration() or 0)
    return 0


def _simulate(words: List[str], session: Session) -> int:
    from .contract.simulate import SimulateConfig

    config = read_config(SimulateConfig, PROGRAMS["simulate"].description, words)
    share_cores(0)
    _log_to_screen(None)
    from .simulate import simulate

    simulate(config)
    return 0


def _report(words: List[str], session: Session) -> int:
    usage = "usage: python -m cryoralib_plugin report RUN_DIR [OUTPUT_DIR]"
    if words in (["-h"], ["--help"]):
        sys.stdout.write(usage + "\n")
        return 0
    if len(words) not in (1, 2):
        raise ConfigError(usage)
    _log_to_screen(None)
    from .report import write_report

    page = write_report(*words)
    logger.info("the report is %s", page)
    return 0


def _convert(words: List[str], session: Session) -> int:
    usage = (
        "usage: python -m cryoralib_plugin convert IN OUT [PIXEL_SIZE_ANGST]\n"
        "IN and OUT are RELION STAR or THUNDER .thu files; IN may be a stack"
    )
    if words in (["-h"], ["--help"]):
        sys.stdout.write(usage + "\n")
        return 0
    if len(words) not in (2, 3):
        raise ConfigError(usage)
    _log_to_screen(None)
    from .particles.convert import convert_particles

    pixel_size = _positive(words[2], "PIXEL_SIZE_ANGST") if len(words) == 3 else 0.0
    convert_particles(words[0], words[1], pixel_size_angst=pixel_size)
    logger.info("written: %s", words[1])
    return 0


def _positive(text: str, name: str) -> float:
    """The number in a text, which must be above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise ConfigError(f"{name} must be a number above 0, not {text!r}")
    return number


def _doctor(words: List[str], session: Session) -> int:
    from .doctor import main as doctor

    return doctor()


def _demo(words: List[str], session: Session) -> int:
    from .scipion.environment import DEFAULT_HOME, scipion_environment

    os.environ.update(scipion_environment(DEFAULT_HOME))
    _log_to_screen(None)
    from .scipion.demo import main as demo

    return demo(words, notice=notice_of_first_use("ring_match"))


def _scipion(words: List[str], session: Session) -> int:
    from .scipion.environment import start_scipion

    start_scipion(words)


PROGRAMS: Dict[str, Program] = {
    "mra": Program("multi-reference alignment: particles into class averages", _multireference),
    "rfa": Program("reference-free alignment of particles to their average", _reference_free),
    "refine3d": Program("particle-filter refinement and classification in 3D", _refine3d),
    "reconstruct": Program("a map from particles whose poses are known", _reconstruct),
    "simulate": Program("particles of known truth, for tests and demonstrations", _simulate),
    "report": Program("pictures and an HTML page of a run: report RUN_DIR", _report),
    "convert": Program("particle files between RELION and THUNDER: convert IN OUT", _convert),
    "doctor": Program("check this installation and say what mends it", _doctor),
    "demo": Program("simulate, then run a whole Scipion project: demo --output DIR", _demo),
    "scipion": Program("start Scipion with this Python: scipion [project NAME]", _scipion),
}


def _open_ranks(expected_ranks: int) -> Any:
    """The communicator; refused where the launcher started more ranks than it holds."""
    from .parallel.mpi import open_communicator

    comm = open_communicator(expected_ranks)
    n_launched = launched().n_ranks
    if n_launched > 1 and comm.size == 1:
        raise ConfigError(
            f"mpirun started {n_launched} ranks, but each is a run of its own: mpirun and mpi4py "
            f"belong to different MPI libraries; use {Path(sys.executable).parent / 'mpirun'}, or "
            "install the MPI of your mpirun into this Python"
        )
    return comm


def _gpu_ids(text: str) -> tuple[int, ...]:
    """The device numbers in a text such as "0 1"."""
    words = text.replace(",", " ").split()
    if not all(word.isdigit() for word in words):
        raise ConfigError(f"gpus (GPUs) must be device numbers such as '0 1', not {text!r}")
    return tuple(map(int, words))


def _take_directory(files: Any, config: Any) -> None:
    """Make the run directory this run's own; an earlier run's results are never overwritten."""
    earlier = files.paths.last_iteration()
    if earlier is not None and not config.compute.resume:
        raise ConfigError(
            f"{files.paths.run_dir} holds a run that came to iteration {earlier}: continue it "
            "with --resume, or choose another --output-dir"
        )
    files.prepare()
    files.write_config(to_json(config))
    files.write_status(RUNNING, iteration=earlier or 0)
    handler = logging.FileHandler(files.paths.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.DEBUG)
    logging.getLogger(__package__).addHandler(handler)


def _log_to_screen(comm: Any) -> None:
    """The root tells what it does, the other ranks only what is wrong."""
    is_root = comm is None or comm.is_root
    handler = logging.StreamHandler(sys.stderr)
    who = "" if is_root else f"rank {comm.rank}: "
    handler.setFormatter(logging.Formatter(f"%(asctime)s {who}%(message)s", "%H:%M:%S"))
    handler.setLevel(logging.INFO if is_root else logging.WARNING)
    package = logging.getLogger(__package__)
    package.handlers[:] = [handler]
    package.setLevel(logging.DEBUG)
    # A full disk stops run.log too, which must not bury the message about it.
    logging.raiseExceptions = False


def _sentence(error: Exception) -> str:
    """What went wrong, for the user at the screen."""
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and not missing.startswith(__package__):
        return (
            f"{missing} is not installed in this Python: {sys.executable} -m pip install "
            f"'scipion-em-cryoralib[engine]' (python -m cryoralib_plugin doctor tells more)"
        )
    if isinstance(error, MemoryError):
        return (
            f"not enough memory ({error}): use --cache disk, a smaller --batch-size or fewer "
            "ranks per machine"
        )
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        if error.errno == errno.ENOSPC and error.filename:
            text = "the disk is full"
        return f"{error.filename}: {text}" if error.filename else text
    if isinstance(error, (ValueError, TypeError, RuntimeError, ImportError)):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}; the details are in run.log"


def _fail(message: str, session: Session, code: int) -> int:
    """Say what went wrong once, note it in status.json and end every rank."""
    if session.rank:
        time.sleep(_SECONDS_FOR_THE_ROOT)
    who = f"error on rank {session.rank}" if session.rank else "error"
    sys.stderr.write(f"{who}: {message}\n")
    sys.stderr.flush()
    if session.files is not None:
        try:
            iteration = session.files.paths.last_iteration() or 0
            session.files.write_status(FAILED, iteration=iteration, message=message)
        except OSError as error:
            sys.stderr.write(f"status.json could not be written: {error}\n")
    if session.comm is not None and session.comm.size > 1:
        session.comm.abort(code)
    return code
