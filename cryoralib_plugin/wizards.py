# SPDX-License-Identifier: GPL-3.0-or-later
"""The wizards of the forms: particles on an image, point groups, and this machine's hardware."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

from pwem.constants import UNIT_PIXEL
from pwem.objects import SetOfClasses2D
from pwem.wizards.wizard import MaskPreviewDialog, MaskRadiiPreviewDialog
from pyworkflow.gui import dialog
from pyworkflow.gui.tree import ListTreeProvider, TreeProvider
from pyworkflow.wizard import Wizard

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.schedule import outer_radius
from cryoralib_plugin.protocols import (
    CryoRalibProtClassify3D,
    CryoRalibProtMultirefAlign2D,
    CryoRalibProtReconstruct,
    CryoRalibProtRefFreeAlign2D,
    CryoRalibProtRefine3D,
)
from cryoralib_plugin.scipion.engine_protocol import HARDWARE
from cryoralib_plugin.scipion.hardware import layout_for, this_machine

_ALIGNMENTS = (CryoRalibProtMultirefAlign2D, CryoRalibProtRefFreeAlign2D)
_OF_MAPS = (CryoRalibProtRefine3D, CryoRalibProtClassify3D, CryoRalibProtReconstruct)
_IMAGES_SHOWN = 100
INNER, OUTER = "innerRadiusPx", "outerRadiusPx"
DIAMETER, SYMMETRY = "particleDiameterAngst", "symmetry"

POINT_GROUPS = (
    ("C1", "none", "any molecule without symmetry"),
    ("C2", "2-fold z; C3, C4, ... likewise", "rings and channels of n like subunits"),
    ("D2", "2-fold z, 2-fold x; D3, D7, ... likewise", "two rings back to back"),
    ("T", "3-fold z, 2-fold (0, 1.41, 1)", "12 like subunits"),
    ("O", "4-fold z, 3-fold (1, 1, 1)", "24 like subunits, such as ferritin"),
    ("I1", "2-fold x, y, z; 5-fold (1.62, 0, -1)", "60 like subunits, viruses"),
    ("I2", "2-fold x, y, z; 5-fold (1, 0, 1.62)", "as I1 turned by 90 degrees about z; I is I2"),
    ("I3", "5-fold z, 2-fold (-1, 0, 1.62)", "60 like subunits"),
    ("I4", "5-fold (2, 0, 1), 2-fold (1, 0, 1.62)", "as I3 turned by 180 degrees about z"),
)
"""Name, axes and examples of point groups, in RELION's settings."""


class CryoRalibRadiusWizard(Wizard):
    """Shows the inner and outer radius as circles on a particle or class average."""

    _targets = [(protocol, [INNER, OUTER]) for protocol in _ALIGNMENTS]

    def show(self, form, *params):
        protocol = form.protocol
        images = images_of(protocol)
        if not images:
            dialog.showWarning("Empty input", "Select the input particles first.", form.root)
            return
        scale = working_scale(protocol)
        inner = protocol.getAttributeValue(INNER, 1)
        outer = protocol.getAttributeValue(OUTER, 0) or widest_radius(protocol)
        preview = MaskRadiiPreviewDialog(
            form.root,
            ListTreeProvider(images),
            innerRadius=round(inner / scale),
            outerRadius=round(outer / scale),
            unit=UNIT_PIXEL,
        )
        if preview.resultYes():
            # The preview shows the particles as they are; radii count in the aligned box.
            inner = preview.getRadius(preview.radiusSliderIn)
            outer = preview.getRadius(preview.radiusSliderOut)
            form.setVar(INNER, max(1, round(inner * scale)))
            form.setVar(OUTER, round(outer * scale))


class CryoRalibDiameterWizard(Wizard):
    """Shows the diameter of the particle as a circle on a particle."""

    _targets = [(protocol, [DIAMETER]) for protocol in _OF_MAPS]

    def show(self, form, *params):
        protocol = form.protocol
        images = images_of(protocol)
        if not images:
            dialog.showWarning("Empty input", "Select the input particles first.", form.root)
            return
        box, pixel_size = images[0].getXDim(), images[0].getSamplingRate()
        diameter = protocol.getAttributeValue(DIAMETER, 0) or 0.9 * box * pixel_size
        preview = MaskPreviewDialog(
            form.root,
            ListTreeProvider(images),
            maskRadius=min(round(diameter / (2 * pixel_size)), box // 2),
            unit=UNIT_PIXEL,
        )
        if preview.resultYes():
            form.setVar(
                DIAMETER, diameter_angst(preview.getRadius(preview.radiusSlider), pixel_size)
            )


class CryoRalibSymmetryWizard(Wizard):
    """Offers the point groups with the axes that each setting has."""

    _targets = [(protocol, [SYMMETRY]) for protocol in _OF_MAPS]

    def show(self, form, *params):
        chosen = dialog.ListDialog(
            form.root,
            "Point groups",
            PointGroups(),
            "The initial map must lie in the setting: axes go through its centre.",
            selectmode="browse",
            selectOnDoubleClick=True,
        )
        if chosen.resultYes():
            form.setVar(SYMMETRY, chosen.values[0].name)


class PointGroups(TreeProvider):
    """The rows of the list of point groups."""

    def getColumns(self):
        return [("Group", 80), ("Axes", 320), ("For", 330)]

    def getObjects(self):
        # The list remembers its rows by an attribute that it gives each.
        return [SimpleNamespace(name=name, values=values) for name, *values in POINT_GROUPS]

    def getObjectInfo(self, obj):
        return {"key": obj.name, "text": obj.name, "values": obj.values}


class CryoRalibHardwareWizard(Wizard):
    """Fills in GPUs, MPIs, threads and batch size for this machine."""

    _targets = [(protocol, [HARDWARE, "batchSize"]) for protocol in (*_ALIGNMENTS, *_OF_MAPS)]

    def show(self, form, *params):
        hardware = this_machine()
        for name, value in hardware_values(hardware).items():
            set_field(form, name, value)
        dialog.showInfo("This machine", f"The form is set for {hardware.in_words()}.", form.root)


def hardware_values(hardware):
    """The form's values for some hardware as {field: value}; batches follow from the memory."""
    layout = layout_for(hardware)
    values = {
        "useGpu": hardware.n_gpus > 0,
        "numberOfMpi": layout.n_ranks,
        "numberOfThreads": layout.n_threads,
        "batchSize": 0,
    }
    if layout.gpu_list:
        values["gpuList"] = layout.gpu_list
    return values


def set_field(form, name, value):
    """Give a field of an open form a value, also the fields Scipion draws by itself."""
    variable = {
        "useGpu": getattr(form, "useGpuVar", None),
        "gpuList": getattr(form, "gpuListVar", None),
    }.get(name)
    if variable is not None:
        variable.set(int(value) if name == "useGpu" else value)
    elif name in form.widgetDict:
        form.setVar(name, value)
    else:
        form.protocol.setAttributeValue(name, value)


def images_of(protocol):
    """Some images of the input to draw the circles on: averages where there are any."""
    source = protocol.inputParticles.get()
    if source is None:
        return []
    images = source.iterRepresentatives() if isinstance(source, SetOfClasses2D) else source
    return [image.clone() for image in itertools.islice(images, _IMAGES_SHOWN)]


def diameter_angst(radius_px, pixel_size_angst):
    """The diameter of a circle of the preview in steps of an angstrom."""
    return float(round(2 * float(radius_px) * pixel_size_angst))


def working_scale(protocol):
    """Pixels of the aligned box per pixel of the particles."""
    wanted = protocol.getAttributeValue("downsampleBoxPx", 0)
    box = protocol.input_particles().getXDim()
    return wanted / box if wanted else 1.0


def widest_radius(protocol):
    """The radius that a 0 in the form stands for."""
    _, box, _ = protocol.sizes()
    try:
        return outer_radius(protocol.config().search, box)
    except ConfigError:
        return box // 2 - 2
