# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules, radii and presets of the 2D programs, and the messages of those that cannot work."""

import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract._param import ConfigError, iter_params, validate
from cryoralib_plugin.contract.align2d import MultireferenceConfig, ReferenceFreeConfig
from cryoralib_plugin.contract.presets import PRESETS, PROGRAM_PRESETS, apply_preset
from cryoralib_plugin.contract.schedule import ShiftStage, outer_radius, shift_stages

PROGRAMS = [MultireferenceConfig, ReferenceFreeConfig]


def config(kind=MultireferenceConfig, **flat):
    return from_flat(kind, {"particles_file": "particles.star", **flat})


@pytest.mark.parametrize("kind", PROGRAMS)
def test_defaults_are_valid(kind):
    validate(config(kind))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_every_parameter_is_explained(kind):
    for _, group, name, parameter in iter_params(kind):
        assert parameter.label and parameter.help.endswith("."), (group.title, name)
        if name.endswith("_px"):
            assert parameter.unit == "px", name
        if name.endswith("_angst"):
            assert parameter.unit == "A", name


def test_one_value_holds_for_every_stage():
    stages = shift_stages(config(shift_range_px="4, 2 1", shift_step_px="1").search)
    assert stages == (ShiftStage(4, 4, 1), ShiftStage(2, 2, 1), ShiftStage(1, 1, 1))
    (single,) = shift_stages(config(shift_range_px="3", shift_range_y_px="2").search)
    assert single == ShiftStage(3, 2, 1)


def test_lists_of_different_length_are_refused():
    with pytest.raises(ConfigError, match="shift_range_px has 2 values.*3 stages"):
        validate(config(shift_range_px="3 2", shift_step_px="1 1 0.5"))


@pytest.mark.parametrize("text", ["", "three", "-1"])
def test_a_shift_range_must_be_numbers_from_zero(text):
    with pytest.raises(ConfigError, match="shift_range_px"):
        validate(config(shift_range_px=text))


def test_the_automatic_radius_leaves_room_for_the_shifts():
    assert outer_radius(config(shift_range_px="3").search, 90) == 90 // 2 - 2 - 3
    assert outer_radius(config(shift_range_px="4 2", outer_radius_px=36).search, 90) == 36


def test_a_radius_beyond_the_box_is_refused():
    # SPARX: radius + shift <= (N - 1) // 2.
    assert outer_radius(config(outer_radius_px=41).search, 90) == 41
    with pytest.raises(ConfigError, match=r"outer_radius_px \(42\).*at most 44 px in a box of 90"):
        outer_radius(config(outer_radius_px=42).search, 90)


def test_a_box_without_room_is_refused():
    with pytest.raises(ConfigError, match="a box of 10 px has no room"):
        outer_radius(config(shift_range_px="3").search, 10)


def test_radii_must_be_in_order():
    with pytest.raises(ConfigError, match="must not be below inner_radius_px"):
        validate(config(inner_radius_px=20, outer_radius_px=10))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_presets_name_real_parameters_with_valid_values(kind):
    names = {name for _, _, name, _ in iter_params(kind)}
    for preset in PRESETS:
        chosen = apply_preset(config(kind, preset=preset))
        validate(chosen)
        assert apply_preset(chosen) == chosen
        own = set(PROGRAM_PRESETS.get((kind.program, preset), {}))
        assert own <= names
    known = {name for kind in PROGRAMS for _, _, name, _ in iter_params(kind)}
    assert all(set(values) <= known for values in PRESETS.values())


def test_recommended_changes_nothing():
    given = config(refine_shift=False, centring="none")
    assert apply_preset(given) == given


def test_sparx_compat_sets_sparx_values():
    mra = apply_preset(config(preset="sparx_compat"))
    assert not mra.search.refine_shift and not mra.search.normalise_references
    assert mra.search.normalise_particles and mra.search.outside_frame == "reset"
    assert mra.averages.average_filter == "mean_tanh" and not mra.averages.centre_members
    rfa = apply_preset(config(ReferenceFreeConfig, preset="sparx_compat"))
    assert not rfa.search.normalise_particles and rfa.search.outside_frame == "clamp"
    assert rfa.averages.centring == "mean_shift" and rfa.averages.centre_members


def test_a_value_set_against_the_preset_is_refused():
    with pytest.raises(ConfigError, match="centring is 'none', but preset sparx_compat sets it"):
        validate(config(preset="sparx_compat", centring="none"))
