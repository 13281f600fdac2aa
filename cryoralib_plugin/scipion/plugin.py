# SPDX-License-Identifier: GPL-3.0-or-later
"""What Scipion asks a plugin: its name, its variables, its environment and its binaries."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Dict, List

import pwem
import pyworkflow.utils as pwutils
from pyworkflow import VarTypes

import cryoralib_plugin

CRYORALIB_PYTHON = "CRYORALIB_PYTHON"
CRYORALIB_GPU_PACKAGE = "CRYORALIB_GPU_PACKAGE"
DISTRIBUTION = "scipion-em-cryoralib"
ENGINE = "cryoralib"

_BARE_REQUIREMENTS = (
    "numpy", "scipy", "pandas", "mrcfile", "h5py", "numba", "threadpoolctl", "matplotlib",
    "tqdm", "mpi4py", "mpich",
)  # fmt: skip

# Open MPI refuses to run as root and with more ranks than cores unless told otherwise; MPICH
# ignores these. A value of the site wins.
_MPI_DEFAULTS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


class Plugin(pwem.Plugin):
    """Cryo-RALib in Scipion."""

    # pyworkflow looks up the package's folder through the module that the class names.
    __module__ = "cryoralib_plugin"

    _url = "https://github.com/phonchi/Cryo-RALib"
    _supportedVersions = [cryoralib_plugin.__version__]
    _processingField = ["SPA"]

    @classmethod
    def _defineVariables(cls):
        cls._defineVar(
            CRYORALIB_PYTHON,
            cls._default_python(),
            description="Python that runs the alignment programs: the one of Scipion, or of an "
            "environment of its own with a newer CuPy.",
            var_type=VarTypes.PATH,
        )
        cls._defineVar(
            CRYORALIB_GPU_PACKAGE,
            "cupy-cuda12x",
            description="CuPy for the environment that 'installb cryoralib' makes: cupy-cuda13x "
            "for a driver of CUDA 13, empty for a machine without GPU.",
            var_type=VarTypes.STRING,
        )

    def getName(self):
        """The name shown before every protocol, and the suffix of PARALLEL_COMMAND_CRYORALIB."""
        return "cryoralib"

    @classmethod
    def engine_python(cls) -> str:
        """The Python executable the alignment programs run with."""
        return cls.getVar(CRYORALIB_PYTHON) or sys.executable

    @classmethod
    def engine_folder(cls) -> str:
        """Where `scipion installb cryoralib` puts the engine's own environment."""
        return os.path.join(pwem.Config.EM_ROOT, f"{ENGINE}-{cryoralib_plugin.__version__}")

    @classmethod
    def _default_python(cls) -> str:
        """The engine's own environment where `installb` made one, else Scipion's Python."""
        own = os.path.join(cls.engine_folder(), "env", "bin", "python")
        return own if os.path.exists(own) else sys.executable

    @classmethod
    def getEnviron(cls):
        """The environment the programs run in: the engine's own folder of programs comes first.

        mpirun must be the one of the engine's MPI, which a wheel puts beside its Python.
        """
        environ = pwutils.Environ(os.environ)
        python = cls.engine_python()
        environ.update({"PATH": os.path.dirname(python)}, position=pwutils.Environ.BEGIN)
        if os.path.abspath(python) != os.path.abspath(sys.executable):
            environ.pop("PYTHONPATH", None)
            environ.pop("PYTHONHOME", None)
        else:
            environ.update({"PYTHONPATH": str(_import_folder())}, position=pwutils.Environ.BEGIN)
        for name, value in _MPI_DEFAULTS.items():
            environ.setdefault(name, value)
        return environ

    @classmethod
    def validateInstallation(cls):
        """Sentences on what is missing; none where the programs can be started."""
        python = cls.engine_python()
        if not os.access(python, os.X_OK):
            return [
                f"{CRYORALIB_PYTHON} is {python}, which is not a program that can be started.",
                "Set it to the Python of an environment with scipion-em-cryoralib, or leave it "
                "out to use Scipion's own.",
            ]
        return []

    @classmethod
    def defineBinaries(cls, env):
        """Offer an environment of the engine's own, made with venv and pip (no conda)."""
        source = _install_source()
        wanted = engine_requirements(cls.getVar(CRYORALIB_GPU_PACKAGE, ""))
        packages = " ".join(f"'{name}'" for name in wanted)
        pip = "env/bin/python -m pip install"
        commands = [
            f"{sys.executable} -m venv env",
            f"{pip} -U pip",
            f"{pip} {packages}",
            # Without its dependencies: Scipion's pins would hold back NumPy and CuPy.
            f"{pip} --no-deps {source}",
            "env/bin/python -m cryoralib_plugin --version > installed.txt",
        ]
        env.addPackage(
            ENGINE,
            version=cryoralib_plugin.__version__,
            tar="void.tgz",
            commands=[(" && ".join(commands), ["installed.txt"])],
            neededProgs=[],
            default=False,
        )


def engine_requirements(gpu_package: str) -> List[str]:
    """What the engine needs beside Scipion, as pip names it, with a GPU's libraries if asked for.

    It is what the installed distribution declares; a checkout on PYTHONPATH, which declares
    nothing, gets the bare names.
    """
    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        declared = []
    if not declared:
        return [*_BARE_REQUIREMENTS, *gpu_package.split()]
    by_extra: Dict[str, List[str]] = {}
    for line in declared:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == .(\w+).", marker)
        by_extra.setdefault(extra.group(1) if extra else "", []).append(requirement.strip())
    extras = ["", "engine", "mpi"]
    extras += [
        name
        for name, lines in by_extra.items()
        if gpu_package and any(re.match(re.escape(gpu_package) + r"\b", line) for line in lines)
    ]
    found = [line for name in extras for line in by_extra.get(name, [])]
    return [line for line in found if not line.startswith("scipion")]


def _import_folder() -> Path:
    """The folder that has to be on the path for `import cryoralib_plugin`."""
    return Path(cryoralib_plugin.__file__).resolve().parent.parent


def _install_source() -> str:
    """What pip installs the engine from: this checkout, or the release of the same version."""
    checkout = _import_folder()
    if (checkout / "setup.py").exists():
        return f"'{checkout}'"
    return f"{DISTRIBUTION}=={cryoralib_plugin.__version__}"
