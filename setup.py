# SPDX-License-Identifier: GPL-3.0-or-later
"""Distribution scipion-em-cryoralib: one package for Scipion's side and for the engine."""

import re
import sys
from pathlib import Path

if not (3, 9) <= sys.version_info[:2] <= (3, 12):
    raise SystemExit(
        "scipion-em-cryoralib needs Python 3.9 to 3.12, because Scipion's pinned packages have "
        "wheels for no other; this is Python %d.%d. Make the environment with another Python, "
        "for instance: make demo PYTHON=python3.11" % sys.version_info[:2]
    )

from setuptools import find_packages, setup  # noqa: E402 (it fails on its own on an old Python)

HERE = Path(__file__).resolve().parent
INIT = (HERE / "cryoralib_plugin" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "([^"]+)"', INIT, re.MULTILINE).group(1)

# Beside the package in the repository, inside it once installed, where Scipion looks for them.
MAPPED = {
    "cryoralib_plugin.protocols": "protocols",
    "cryoralib_plugin.viewers": "viewers",
    "cryoralib_plugin.tests": "tests/scipion",
}

# numpy >= 2 is never asked for: pip would then quietly take a pyworkflow of years ago.
ENGINE = [
    "numpy>=1.26",
    "scipy>=1.10",
    "pandas>=2.0",
    "mrcfile>=1.4",
    "h5py>=3.8",
    "numba>=0.59",
    "threadpoolctl>=3",
    "matplotlib>=3.7",
    "tqdm>=4",
    # Every launch is `python -m mpi4py -m cryoralib_plugin`; without an MPI library it is one rank.
    "mpi4py>=4",
]

setup(
    name="scipion-em-cryoralib",
    version=VERSION,
    description="2D alignment and classification of cryo-EM particles on GPUs and CPUs",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    url="https://github.com/phonchi/Cryo-RALib",
    license="GPL-3.0-or-later",
    keywords="scipion cryoem alignment classification gpu mpi",
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    python_requires=">=3.9,<3.13",
    package_dir=MAPPED,
    packages=[
        *find_packages(include=["cryoralib_plugin", "cryoralib_plugin.*"], exclude=list(MAPPED)),
        *(name for name, folder in MAPPED.items() if (HERE / folder).is_dir()),
    ],
    package_data={
        "cryoralib_plugin": [
            "protocols.conf",
            "*.png",
            "templates/*",
            "**/*.cu",
            "**/*.cuh",
            "**/*.conf",
            "**/*.html",
        ]
    },
    entry_points={
        "pyworkflow.plugin": ["cryoralib_plugin = cryoralib_plugin"],
        "console_scripts": ["cryoralib = cryoralib_plugin.cli:main"],
    },
    # NumPy and SciPy are bounded as Scipion bounds them: pip would try the newest of both first,
    # then old releases of everything that fits those.
    install_requires=[
        "scipion-pyworkflow>=3.11",
        "scipion-em>=3.11",
        "numpy>=1.26,<2",
        "scipy>=1.10,<1.12",
    ],
    extras_require={
        "engine": ENGINE,
        # An MPI library and its mpirun as a wheel, where the machine's own is not to be used.
        "mpi": ["mpich>=4"],
        "launcher": ["scipion-app>=3.8"],
        # CuPy 14 wants NumPy 2, which Scipion forbids: without the bound pip tries other packages'
        # old releases first. The other wheels spare a CUDA toolkit.
        "cuda12": [
            "cupy-cuda12x>=13.6,<14",
            "nvidia-cuda-runtime-cu12>=12.8,<13",
            "nvidia-cuda-nvrtc-cu12>=12.8,<13",
            "nvidia-cublas-cu12",
            "nvidia-cufft-cu12",
        ],
        "cuda13": [
            "cupy-cuda13x>=13.6,<14",
            "nvidia-cuda-runtime>=13,<14",
            "nvidia-cuda-nvrtc>=13,<14",
            "nvidia-cublas>=13,<14",
            "nvidia-cufft",
        ],
        # NVRTC and its headers compile every kernel for every GPU generation, without a GPU.
        "test": [
            "pytest>=7",
            "starfile>=0.5",
            "setuptools>=64",
            "nvidia-cuda-nvrtc-cu12>=12.8,<13",
            "nvidia-cuda-runtime-cu12>=12.8,<13",
        ],
    },
)
