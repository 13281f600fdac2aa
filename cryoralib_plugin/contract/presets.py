# SPDX-License-Identifier: GPL-3.0-or-later
"""Named sets of parameter values for the 2D programs.

A preset is values only: it switches no code path that the single parameters could not.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Dict, Iterator, List, Mapping, Tuple

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The declared defaults are the recommended values; each may be changed singly.
    "recommended": {},
    # SPARX mref_ali2d and ali2d: no sub-pixel shift, references keep their contrast, one filter
    # for all classes, averages are centred but their members are not told.
    "sparx_compat": {
        "refine_shift": False,
        "normalise_references": False,
        "average_filter": "mean_tanh",
        "frc_in_mask": False,
        "centring": "phase_centre",
        "centre_members": False,
        "empty_class": "random_particle",
        "minimum_class_size": 4,
    },
}

# Where SPARX's two programs differ from each other: ali2d does not normalise the rings, brings
# offsets that left the frame back to its edge and undoes the mean shift of the members.
PROGRAM_PRESETS: Mapping[Tuple[str, str], Mapping[str, Any]] = {
    ("mra", "sparx_compat"): {
        "outside_frame": "reset",
        "normalise_in_mask": True,
        "balanced_iterations": 0,
        "start_detail": 0.0,
    },
    ("rfa", "sparx_compat"): {
        "normalise_particles": False,
        "frc_in_mask": True,
        "centring": "mean_shift",
        "centre_members": True,
    },
}


def _preset_fields(config: Any) -> Iterator[Tuple[str, str, Any, Any]]:
    """(group name, field name, declared default, preset value) of each field a preset sets."""
    preset = config.search.preset
    values = {**PRESETS[preset], **PROGRAM_PRESETS.get((config.program, preset), {})}
    for group in fields(config):
        for parameter in fields(getattr(config, group.name)):
            if parameter.name in values:
                yield group.name, parameter.name, parameter.default, values[parameter.name]


def apply_preset(config: Any) -> Any:
    """Return the config with the values of its preset filled in."""
    groups: Dict[str, Dict[str, Any]] = {}
    for group, name, _, value in _preset_fields(config):
        groups.setdefault(group, {})[name] = value
    return replace(
        config,
        **{group: replace(getattr(config, group), **values) for group, values in groups.items()},
    )


def conflicts_with_preset(config: Any) -> List[str]:
    """Sentences on parameters set by hand that the preset would overrule."""
    return [
        f"{name} is {value!r}, but preset {config.search.preset} sets it to {wanted!r}: leave it "
        "out, or choose preset recommended and set every value by hand"
        for group, name, default, wanted in _preset_fields(config)
        for value in [getattr(getattr(config, group), name)]
        if value not in (default, wanted)
    ]
