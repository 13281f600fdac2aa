# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of a reconstruction: explained, bounded, and refused in words where they clash."""

import pytest

from cryoralib_plugin.contract._codec import from_flat, from_json, to_json
from cryoralib_plugin.contract._param import ConfigError, iter_params, problem_with, validate
from cryoralib_plugin.contract.reconstruct import ReconstructConfig
from cryoralib_plugin.contract.refine3d import Refine3DConfig


def config(**flat):
    return from_flat(ReconstructConfig, {"particles_file": "particles.star", **flat})


def test_defaults_are_valid_and_travel_as_json():
    validate(config())
    assert from_json(to_json(config(symmetry="D7")), ReconstructConfig) == config(symmetry="D7")


def test_every_parameter_is_explained_and_every_number_bounded():
    for _, _, name, parameter in iter_params(ReconstructConfig):
        assert parameter.label and parameter.help.endswith("."), name
        if parameter.kind in (int, float):
            for wrong in (parameter.minimum - 1, parameter.maximum + 1):
                message = problem_with(name, parameter, parameter.kind(wrong))
                assert parameter.bounds_in_words in message, name


def test_what_both_programs_ask_is_asked_in_the_same_words():
    refinement = {name: declared for _, _, name, declared in iter_params(Refine3DConfig)}
    shared = ("weight_floor", "mask_edge_px", "particle_diameter_angst", "pixel_size_angst")
    found = {name: declared for _, _, name, declared in iter_params(ReconstructConfig)}
    assert all(found[name] == refinement[name] for name in shared)


@pytest.mark.parametrize(
    "flat, message",
    [
        ({"symmetry": "D2h"}, "contains mirrors"),
        ({"map_mask": "given"}, "mask_file is empty"),
        ({"mask_file": "mask.mrc"}, "map_mask is 'automatic': set it to 'given'"),
    ],
)
def test_what_does_not_go_together_is_said(flat, message):
    with pytest.raises(ConfigError, match=message):
        config(**flat)
