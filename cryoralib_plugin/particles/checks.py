# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an input, in words, before any work."""

from __future__ import annotations

import numpy as np

from cryoralib_plugin.contract import labels

from .table import ParticleTable

_LARGEST_KV = 2000.0
_LARGEST_CS_MM = 100.0
_LEAST_DEFOCUS_ANGST = 50.0


def check_ctf(table: ParticleTable, ctf_correction: str) -> None:
    """Check that every particle has a CTF that can be, when CTF correction is asked for.

    Raises
    ------
    ValueError
        Naming every column that is wrong, its first row and what to do.
    """
    if ctf_correction != "none":
        asked = f"CTF correction ({ctf_correction}) needs"
        check_optics(table, asked, otherwise="set ctf_correction to none")


def check_optics(table: ParticleTable, asked: str, *, otherwise: str = "") -> None:
    """Check that every particle has a CTF that can be.

    Parameters
    ----------
    asked
        Who needs it: "a refinement in 3D needs".
    otherwise
        What can be done in place of estimating the CTF, if anything.

    Raises
    ------
    ValueError
        Naming every column that is wrong, its first row and what to do.
    """
    advice = "estimate the CTF first" + (f", or {otherwise}" if otherwise else "")
    per_row, per_group = table.particles, table.optics
    missing = [
        name
        for name in (
            labels.DEFOCUS_U,
            labels.VOLTAGE,
            labels.SPHERICAL_ABERRATION,
            labels.AMPLITUDE_CONTRAST,
        )
        if name not in per_row and name not in per_group
    ]
    if missing:
        raise ValueError(f"{asked} {', '.join(missing)}, which the particles lack: {advice}")
    problems = []
    ctf = table.ctf()
    largest_kv = float(np.nanmax(ctf.voltage_kv)) if len(ctf) else 0.0
    if largest_kv > _LARGEST_KV:
        problems.append(
            f"{labels.VOLTAGE} must be in kV, but is {largest_kv:g}: it seems to be in V, divide "
            "it by 1000"
        )
    largest_cs = float(np.nanmax(ctf.cs_mm)) if len(ctf) else 0.0
    if largest_cs > _LARGEST_CS_MM:
        problems.append(
            f"{labels.SPHERICAL_ABERRATION} must be in mm, but is {largest_cs:g}: a microscope has "
            "a few"
        )
    largest_defocus = float(np.nanmax(ctf.defocus_u_angst)) if len(ctf) else 0.0
    if 0.0 < largest_defocus < _LEAST_DEFOCUS_ANGST:
        problems.append(
            f"{labels.DEFOCUS_U} must be in Angstrom, but is {largest_defocus:g} at most: it seems "
            "to be in micrometres, multiply it by 10000"
        )
    for name, values, lowest, text in (
        (labels.DEFOCUS_U, ctf.defocus_u_angst, 1e-6, "positive (underfocus, in Angstrom)"),
        (labels.DEFOCUS_V, ctf.defocus_v_angst, 1e-6, "positive (underfocus, in Angstrom)"),
        (labels.DEFOCUS_ANGLE, ctf.defocus_angle_deg, -np.inf, "a number"),
        (labels.VOLTAGE, ctf.voltage_kv, 1.0, "at least 1 kV"),
        (labels.SPHERICAL_ABERRATION, ctf.cs_mm, 0.0, "not negative"),
        (labels.AMPLITUDE_CONTRAST, ctf.amplitude_contrast, 0.0, "between 0 and 1"),
    ):
        bad = ~(np.isfinite(values) & (values >= lowest))
        if name == labels.AMPLITUDE_CONTRAST:
            bad |= values > 1.0
        rows = np.flatnonzero(bad)
        if rows.size:
            problems.append(
                f"{name} must be {text}, but {rows.size} of {len(table)} particles have other "
                f"values, the first is row {rows[0] + 1} with {values[rows[0]]:g}: correct or "
                f"remove them; {advice}"
            )
    for name, done in (
        (labels.DATA_ARE_PHASE_FLIPPED, "phase-flipped"),
        (labels.DATA_ARE_PREMULTIPLIED, "multiplied by their CTF"),
    ):
        if name in per_group and (per_group[name] != 0).any():
            problems.append(
                f"the particles are {done} already ({name}): "
                + (f"{otherwise}, or " if otherwise else "")
                + "give them as they were extracted"
            )
    if problems:
        raise ValueError("\n".join(problems))
