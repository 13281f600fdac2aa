# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the 3D program: explained, bounded, and refused in words where they clash."""

import re

import pytest

from cryoralib_plugin.contract._codec import from_flat, from_json, to_json
from cryoralib_plugin.contract._param import ConfigError, iter_params, problem_with, validate
from cryoralib_plugin.contract.refine3d import Refine3DConfig


def config(**flat):
    return from_flat(Refine3DConfig, {"particles_file": "particles.star", **flat})


def test_defaults_are_valid_and_travel_as_json():
    validate(config())
    assert from_json(to_json(config(symmetry="D7")), Refine3DConfig) == config(symmetry="D7")


def test_every_parameter_is_explained():
    units = {"_px": "px", "_angst": "A", "_deg": "deg"}
    for _, group, name, parameter in iter_params(Refine3DConfig):
        assert parameter.label and parameter.help.endswith("."), (group.title, name)
        for ending, unit in units.items():
            if name.endswith(ending):
                assert parameter.unit == unit, name


def test_every_number_has_bounds_that_hold():
    for _, _, name, parameter in iter_params(Refine3DConfig):
        if parameter.kind in (int, float):
            assert parameter.minimum is not None and parameter.maximum is not None, name
            for wrong in (parameter.minimum - 1, parameter.maximum + 1):
                message = problem_with(name, parameter, parameter.kind(wrong))
                assert parameter.bounds_in_words in message, name


def test_conditions_name_parameters_that_exist():
    names = {name for _, _, name, _ in iter_params(Refine3DConfig)}
    conditions = {p.when.split()[0] for _, _, _, p in iter_params(Refine3DConfig) if p.when}
    assert conditions <= names


@pytest.mark.parametrize("name", ["C1", "c4", "D7", "T", "O", "I", "I3"])
def test_point_groups_are_accepted(name):
    validate(config(symmetry=name))


@pytest.mark.parametrize(
    "flat, message",
    [
        ({"symmetry": "X3"}, "symmetry 'X3' is not known"),
        ({"symmetry": "D2h"}, "contains mirrors"),
        ({"symmetry": " "}, "symmetry .* must be given"),
        (
            {"global_search": False, "local_search": False, "start_from_poses": True},
            "are all off: switch one",
        ),
        ({"global_search": False}, "needs poses to start from"),
        (
            {"start_from_poses": True, "local_search": False},
            "needs local_search or defocus_search",
        ),
        ({"map_mask": "given"}, "mask_file is empty"),
        ({"mask_file": "mask.mrc"}, "map_mask is 'automatic': set it to 'given'"),
        ({"initial_resolution_angst": 300.0}, "300 A\\) must be finer than .*200 A"),
        ({"highest_resolution_angst": 80.0}, "80 A\\) must not be coarser than .*60 A"),
        ({"global_resolution_angst": 70.0}, "70 A\\) must not be coarser than .*60 A"),
        (
            {"highest_phases": 1},
            "highest_phases \\(1\\) must be at least lowest_phases \\(2\\)",
        ),
        ({"n_classes": 0}, "n_classes .* between 1 and 100"),
    ],
)
def test_what_does_not_go_together_is_said(flat, message):
    with pytest.raises(ConfigError, match=message):
        validate(config(**flat))


def test_a_run_from_given_poses_is_valid():
    validate(config(start_from_poses=True, global_search=False))
    validate(config(start_from_poses=True, global_search=False, highest_phases=5))
    validate(config(map_mask="given", mask_file="mask.mrc"))


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({}, None),
        ({"initial_resolution_angst": 40.0}, None),
        ({"initial_resolution_angst": 20.0}, "one map to 20 A, but share only .* than 40 A later"),
        ({"join_halves_angst": 0.0}, "one map to 60 A, but share only nothing later"),
    ],
)
def test_halves_that_begin_with_more_than_they_share_are_spoken_of(flat, message):
    said = config(**flat).cautions()
    assert len(said) == (message is not None)
    assert message is None or re.search(message, said[0])
