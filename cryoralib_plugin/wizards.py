# SPDX-License-Identifier: GPL-3.0-or-later
"""The wizards of the forms: the particle's radius on an image, and this machine's hardware."""

from __future__ import annotations

import itertools

from pwem.constants import UNIT_PIXEL
from pwem.objects import SetOfClasses2D
from pwem.wizards.wizard import MaskRadiiPreviewDialog
from pyworkflow.gui import dialog
from pyworkflow.gui.tree import ListTreeProvider
from pyworkflow.wizard import Wizard

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.schedule import outer_radius
from cryoralib_plugin.protocols import (
    CryoRalibProtMultirefAlign2D,
    CryoRalibProtRefFreeAlign2D,
)
from cryoralib_plugin.scipion.engine_protocol import HARDWARE
from cryoralib_plugin.scipion.hardware import layout_for, this_machine

_ALIGNMENTS = (CryoRalibProtMultirefAlign2D, CryoRalibProtRefFreeAlign2D)
_IMAGES_SHOWN = 100
INNER, OUTER = "innerRadiusPx", "outerRadiusPx"


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


class CryoRalibHardwareWizard(Wizard):
    """Fills in GPUs, MPIs, threads and batch size for this machine."""

    _targets = [(protocol, [HARDWARE, "batchSize"]) for protocol in _ALIGNMENTS]

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
