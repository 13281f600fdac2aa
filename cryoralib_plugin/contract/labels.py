# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION's column names with their types and units, and the few that RELION has no word for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict


@dataclass(frozen=True)
class Column:
    """One column: its name, the type of its values and their unit."""

    name: str
    kind: type
    unit: str = ""


IMAGE_NAME = "rlnImageName"
IMAGE_ID = "rlnImageId"
MICROGRAPH_NAME = "rlnMicrographName"
COORDINATE_X = "rlnCoordinateX"
COORDINATE_Y = "rlnCoordinateY"

ANGLE_ROT = "rlnAngleRot"
ANGLE_TILT = "rlnAngleTilt"
ANGLE_PSI = "rlnAnglePsi"
ORIGIN_X_ANGST = "rlnOriginXAngst"
ORIGIN_Y_ANGST = "rlnOriginYAngst"
ORIGIN_X_PX = "rlnOriginX"
ORIGIN_Y_PX = "rlnOriginY"
IS_FLIP = "rlnIsFlip"

CLASS_NUMBER = "rlnClassNumber"
RANDOM_SUBSET = "rlnRandomSubset"
FIGURE_OF_MERIT = "rlnParticleFigureOfMerit"
MAX_PROBABILITY = "rlnMaxValueProbDistribution"
LOG_LIKELIHOOD = "rlnLogLikeliContribution"
NORM_CORRECTION = "rlnNormCorrection"
GROUP_NUMBER = "rlnGroupNumber"
REFERENCE_IMAGE = "rlnReferenceImage"

DEFOCUS_U = "rlnDefocusU"
DEFOCUS_V = "rlnDefocusV"
DEFOCUS_ANGLE = "rlnDefocusAngle"
PHASE_SHIFT = "rlnPhaseShift"
CTF_BFACTOR = "rlnCtfBfactor"
CTF_SCALEFACTOR = "rlnCtfScalefactor"
CTF_MAX_RESOLUTION = "rlnCtfMaxResolution"

OPTICS_GROUP = "rlnOpticsGroup"
OPTICS_GROUP_NAME = "rlnOpticsGroupName"
VOLTAGE = "rlnVoltage"
SPHERICAL_ABERRATION = "rlnSphericalAberration"
AMPLITUDE_CONTRAST = "rlnAmplitudeContrast"
IMAGE_PIXEL_SIZE = "rlnImagePixelSize"
IMAGE_SIZE = "rlnImageSize"
IMAGE_DIMENSIONALITY = "rlnImageDimensionality"
DATA_ARE_PHASE_FLIPPED = "rlnCtfDataArePhaseFlipped"
DATA_ARE_PREMULTIPLIED = "rlnCtfDataAreCtfPremultiplied"

DETECTOR_PIXEL_SIZE = "rlnDetectorPixelSize"
MAGNIFICATION = "rlnMagnification"
PIXEL_SIZE = "rlnPixelSize"

# What RELION has no name for: how sure a 3D refinement is of a particle, and what it weighs.
ANGULAR_STD = "cryoralibAngularStdDeg"
SHIFT_STD = "cryoralibShiftStdPx"
DEFOCUS_FACTOR = "cryoralibDefocusFactor"
DEFOCUS_STD = "cryoralibDefocusStd"
WEIGHT = "cryoralibWeight"

COLUMNS: Dict[str, Column] = {
    column.name: column
    for column in (
        Column(IMAGE_NAME, str),
        Column(IMAGE_ID, int),
        Column(MICROGRAPH_NAME, str),
        Column(COORDINATE_X, float, "px"),
        Column(COORDINATE_Y, float, "px"),
        Column(ANGLE_ROT, float, "deg"),
        Column(ANGLE_TILT, float, "deg"),
        Column(ANGLE_PSI, float, "deg"),
        Column(ORIGIN_X_ANGST, float, "angst"),
        Column(ORIGIN_Y_ANGST, float, "angst"),
        Column(ORIGIN_X_PX, float, "px"),
        Column(ORIGIN_Y_PX, float, "px"),
        Column(IS_FLIP, int),
        Column(CLASS_NUMBER, int),
        Column(RANDOM_SUBSET, int),
        Column(FIGURE_OF_MERIT, float),
        Column(MAX_PROBABILITY, float),
        Column(LOG_LIKELIHOOD, float),
        Column(NORM_CORRECTION, float),
        Column(GROUP_NUMBER, int),
        Column(REFERENCE_IMAGE, str),
        Column(DEFOCUS_U, float, "angst"),
        Column(DEFOCUS_V, float, "angst"),
        Column(DEFOCUS_ANGLE, float, "deg"),
        Column(PHASE_SHIFT, float, "deg"),
        Column(CTF_BFACTOR, float, "angst^2"),
        Column(CTF_SCALEFACTOR, float),
        Column(CTF_MAX_RESOLUTION, float, "angst"),
        Column(OPTICS_GROUP, int),
        Column(OPTICS_GROUP_NAME, str),
        Column(VOLTAGE, float, "kv"),
        Column(SPHERICAL_ABERRATION, float, "mm"),
        Column(AMPLITUDE_CONTRAST, float),
        Column(IMAGE_PIXEL_SIZE, float, "angst"),
        Column(IMAGE_SIZE, int, "px"),
        Column(IMAGE_DIMENSIONALITY, int),
        Column(DATA_ARE_PHASE_FLIPPED, int),
        Column(DATA_ARE_PREMULTIPLIED, int),
        Column(DETECTOR_PIXEL_SIZE, float, "um"),
        Column(MAGNIFICATION, float),
        Column(PIXEL_SIZE, float, "angst"),
        Column(ANGULAR_STD, float, "deg"),
        Column(SHIFT_STD, float, "px"),
        Column(DEFOCUS_FACTOR, float),
        Column(DEFOCUS_STD, float),
        Column(WEIGHT, float),
    )
}
