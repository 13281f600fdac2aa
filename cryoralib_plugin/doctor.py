# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this installation able to run, and if not, what mends it?

MPI and CUDA are probed in other processes, so that a broken one cannot take this one down.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

from ._machine import keep_compiled_kernels
from .system_packages import QT_PACKAGES, system_packages

_PROBE_SECONDS = 90

_ENGINE = (
    "numpy",
    "scipy",
    "pandas",
    "mrcfile",
    "h5py",
    "numba",
    "threadpoolctl",
    "mpi4py",
)

_MPI_PROBE = """
from mpi4py import MPI
import sys
sys.stdout.write("ranks=%d\\n" % MPI.COMM_WORLD.Get_size())
"""

_DRIVER_PROBE = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
version, count, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
code = cuda.cuInit(0)
if code:
    raise SystemExit("cuInit gave error %d" % code)
cuda.cuDriverGetVersion(ctypes.byref(version))
cuda.cuDeviceGetCount(ctypes.byref(count))
names = []
for ordinal in range(count.value):
    cuda.cuDeviceGetName(name, 100, ordinal)
    names.append(name.value.decode())
print(json.dumps({"version": version.value, "names": names}))
"""

_CUPY_PROBE = """
from cryoralib_plugin.kernels._cuda_libraries import load_cuda_libraries
load_cuda_libraries()
import cupy, json
source = "#include <cuda_fp16.h>\\nextern \\"C\\" __global__ void one(float* x)"
source += " { x[0] = __half2float(__float2half(1.0f)); }"
x = cupy.zeros(1, cupy.float32)
cupy.RawKernel(source, "one")((1,), (1,), (x,))
product = float((cupy.ones((8, 8), cupy.float32) @ cupy.ones((8, 8), cupy.float32))[0, 0])
spectrum = float(abs(cupy.fft.fft(cupy.ones(8)))[0])
assert (float(x[0]), product, spectrum) == (1.0, 8.0, 8.0)
print(json.dumps(cupy.__version__))
"""


class Check(NamedTuple):
    """One finding: what was looked at, whether it is well, what was seen, what mends it.

    `is_needed` is true for what the programs cannot run without on the processor.
    """

    name: str
    is_well: bool
    seen: str
    mend: str = ""
    is_needed: bool = False


def diagnose() -> List[Check]:
    """All findings, in the order they are shown."""
    looks: Tuple[Callable[[], Check], ...] = (
        _python, _engine, _scipion, _launcher, _mpi, _driver, _cupy, _numba_cache, _cuda_cache,
        _tkinter, _qt, _compiler,
    )  # fmt: skip
    return [look() for look in looks]


def main() -> int:
    """Show every finding; 1 where the programs cannot run on the processor, else 0."""
    checks = diagnose()
    for check in checks:
        state = "ok  " if check.is_well else ("FAIL" if check.is_needed else "mend")
        sys.stdout.write(f"{state}  {check.name:<16} {check.seen}\n")
        if not check.is_well:
            sys.stdout.write(f"      {'':<16} -> {check.mend}\n")
    failed = any(check.is_needed and not check.is_well for check in checks)
    verdict = "cannot run: mend the lines marked FAIL" if failed else "can run on the processor"
    sys.stdout.write(f"\nThe alignment programs {verdict}.\n")
    return int(failed)


def _run(command: List[str]) -> Tuple[int, str, str]:
    """Exit code, output and last line of complaint of a command; never raises."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    complaint = done.stderr.strip().splitlines()
    return done.returncode, done.stdout.strip(), complaint[-1] if complaint else ""


def _pip(*packages: str) -> str:
    """The command that installs packages into this Python."""
    return f"{sys.executable} -m pip install {' '.join(packages)}"


def _version(distribution: str) -> Optional[str]:
    """The installed version of a distribution; None where it is absent."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 9) <= sys.version_info[:2] <= (3, 12)
    mend = "use Python 3.9 to 3.12: what Scipion pins has wheels for no other"
    return Check("Python", fits, f"{version} ({sys.executable})", mend, is_needed=True)


def _engine() -> Check:
    missing = [name for name in _ENGINE if importlib.util.find_spec(name) is None]
    seen = f"missing: {', '.join(missing)}" if missing else f"numpy {_version('numpy')} and others"
    mend = _pip("'scipion-em-cryoralib[engine]'")
    return Check("engine packages", not missing, seen, mend, is_needed=True)


def _scipion() -> Check:
    version = _version("scipion-pyworkflow")
    has_em = _version("scipion-em") is not None
    new_enough = version is not None and tuple(map(int, version.split(".")[:2])) >= (3, 11)
    seen = f"scipion-pyworkflow {version}" if version else "not installed (command line only)"
    if new_enough and not has_em:
        seen = "scipion-em is not installed"
    mend = _pip("-U", "pip") + " && " + _pip("'scipion-pyworkflow>=3.11'", "'scipion-em>=3.11'")
    return Check("Scipion", new_enough and has_em, seen, mend)


def _launcher() -> Check:
    version = _version("scipion-app")
    seen = f"scipion-app {version}" if version else "scipion-app is not installed (no windows)"
    return Check("Scipion windows", version is not None, seen, _pip("scipion-app"))


def _mpi() -> Check:
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    if mpirun is None:
        return Check("MPI", False, "no mpirun (one rank only)", _pip("mpi4py", "mpich"))
    code, output, complaint = _run([mpirun, "-n", "2", sys.executable, "-c", _MPI_PROBE])
    ranks = [line for line in output.splitlines() if line.startswith("ranks=")]
    if code == 0 and ranks == ["ranks=2", "ranks=2"]:
        return Check("MPI", True, f"2 ranks see each other ({mpirun})")
    if ranks:
        seen = f"{mpirun} -n 2 starts {len(ranks)} runs of their own ({ranks[0]})"
        mend = (
            "mpirun and mpi4py belong to different MPI libraries; use the mpirun that comes "
            f"with: {_pip('mpi4py', 'mpich')}"
        )
    else:
        seen = f"{mpirun} -n 2 failed: {complaint or f'exit code {code}'}"
        mend = _pip("mpi4py", "mpich") + " (Open MPI as root wants OMPI_ALLOW_RUN_AS_ROOT=1)"
    return Check("MPI", False, seen, mend)


def _driver() -> Check:
    code, output, complaint = _run([sys.executable, "-c", _DRIVER_PROBE])
    if code:
        seen = f"no CUDA device ({complaint.split(': ', 1)[-1]})"
        mend = "only for GPU runs: install NVIDIA's driver (nvidia-smi must list the GPU)"
        return Check("CUDA driver", False, seen, mend)
    found = json.loads(output)
    version = f"{found['version'] // 1000}.{found['version'] % 1000 // 10}"
    seen = f"CUDA {version}; {len(found['names'])} device(s): {', '.join(found['names'])}"
    mend = "the driver sees no device: is CUDA_VISIBLE_DEVICES empty?"
    return Check("CUDA driver", bool(found["names"]), seen, mend)


def _cupy() -> Check:
    extra = "only for GPU runs: " + _pip("'scipion-em-cryoralib[cuda12]'") + " (or [cuda13])"
    if importlib.util.find_spec("cupy") is None:
        return Check("CuPy", False, "not installed", extra)
    code, output, complaint = _run([sys.executable, "-c", _CUPY_PROBE])
    if code == 0:
        return Check("CuPy", True, f"{json.loads(output)}: compiles, multiplies, transforms")
    mend = extra
    if "cuda_fp16.h" in complaint or "header" in complaint:
        mend = "CUDA's headers are missing: " + _pip("'nvidia-cuda-runtime-cu12>=12.8,<13'")
    return Check("CuPy", False, f"installed, but not usable: {complaint}", mend)


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder that exists or could be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _cache(name: str, variable: str, folders: List[Path]) -> Check:
    """Whether one of the folders a compiler may keep its results in can be written to."""
    chosen = os.environ.get(variable)
    folders = [Path(chosen)] if chosen else folders
    usable = [folder for folder in folders if _is_writable(folder)]
    seen = str(usable[0]) if usable else f"cannot write to {folders[-1]}"
    mend = f"kernels are compiled anew in every run; set {variable} to a folder of yours"
    return Check(name, bool(usable), seen, mend)


def _numba_cache() -> Check:
    return _cache("CPU kernel cache", "NUMBA_CACHE_DIR", [keep_compiled_kernels()])


def _cuda_cache() -> Check:
    home = Path("~/.cupy/kernel_cache").expanduser()
    return _cache("GPU kernel cache", "CUPY_CACHE_DIR", [home])


def _system(package: str, name: str) -> Check:
    """A package that only the system can supply."""
    found = next(item for item in system_packages() if item.package == package)
    seen = found.purpose if found.is_here else f"missing: {found.purpose}"
    return Check(name, found.is_here, seen, f"sudo apt-get install -y {package}")


def _tkinter() -> Check:
    return _system("python3-tk", "tkinter")


def _compiler() -> Check:
    return _system("g++", "g++")


def _qt() -> Check:
    found = importlib.util.find_spec("PyQt5")
    if found is None or not found.submodule_search_locations:
        return Check("Qt", False, "PyQt5 is not installed (no table of images)", _pip("PyQt5"))
    root = Path(found.submodule_search_locations[0])
    plugin = root / "Qt5" / "plugins" / "platforms" / "libqxcb.so"
    _, output, complaint = _run(["ldd", str(plugin)])
    missing = [line.split()[0] for line in output.splitlines() if "not found" in line]
    if not output:
        return Check("Qt", False, f"{plugin}: {complaint}", _pip("--force-reinstall", "PyQt5"))
    seen = f"libraries are missing: {', '.join(missing)}" if missing else "all libraries are here"
    mend = "sudo apt-get install -y " + " ".join(QT_PACKAGES)
    return Check("Qt", not missing, seen, mend)
