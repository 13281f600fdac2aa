# SPDX-License-Identifier: GPL-3.0-or-later
"""The program ``simulate``: its files agree with one another and repeat from their settings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryoralib_plugin.contract._codec import from_flat, from_json
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.io.mrc import read_mrc, read_mrc_header
from cryoralib_plugin.io.star import read_star
from cryoralib_plugin.simulate import run, simulate
from cryoralib_plugin.simulate.scene import make_scene, render_images, render_signal
from cryoralib_plugin.simulate.truth import draw_truth

SETTINGS = {
    "n_particles": 37,
    "box_size_px": 32,
    "pixel_size_angst": 6.0,
    "object_diameter_angst": 110.0,
    "blob_sigma_angst": 6.0,
    "view_choice": "discrete",
    "n_views": 3,
    "mirrored_fraction": 0.4,
    "junk_fraction": 0.2,
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    config = from_flat(SimulateConfig, {**SETTINGS, "output_dir": str(folder)})
    simulate(config)
    return folder, config


def test_stack_holds_the_images_of_its_rows_whatever_the_batch(simulated, tmp_path, monkeypatch):
    folder, config = simulated
    images, pixel_size = read_mrc(folder / "particles.mrcs")
    assert pixel_size == pytest.approx(6.0)
    scene, truth = make_scene(config), draw_truth(config, np.arange(37))
    expected = render_images(
        scene, truth, render_signal(scene, truth.poses, truth.ctf, truth.molecule)
    )
    np.testing.assert_allclose(images, expected, atol=2e-6)
    monkeypatch.setattr(run, "_PIXELS_PER_BATCH", 7 * 32**2)
    again = from_flat(SimulateConfig, {**SETTINGS, "output_dir": str(tmp_path)})
    simulate(again)
    np.testing.assert_allclose(read_mrc(tmp_path / "particles.mrcs")[0], images, atol=2e-6)
    assert (tmp_path / "truth.star").read_text() == (folder / "truth.star").read_text()


def test_truth_has_relion_poses_in_angstrom_and_junk_in_no_class(simulated):
    folder, config = simulated
    rows = read_star(folder / "truth.star")["particles"]
    truth = draw_truth(config, np.arange(37))
    np.testing.assert_allclose(rows["rlnAnglePsi"], truth.poses.angles_deg[:, 2])
    np.testing.assert_allclose(rows["rlnOriginXAngst"], 6.0 * truth.poses.shift_px[:, 0])
    np.testing.assert_array_equal(rows["rlnIsFlip"], truth.mirror)
    junk = rows["cryoralibImageKind"] != "particle"
    assert 0 < junk.sum() < 20
    np.testing.assert_array_equal(rows["rlnClassNumber"][junk], 0)
    assert set(rows["rlnClassNumber"][~junk]) == {1, 2, 3}


def test_particles_star_tells_what_an_experimenter_knows(simulated):
    folder, _ = simulated
    blocks = read_star(folder / "particles.star")
    optics = blocks["optics"].iloc[0]
    assert optics["rlnVoltage"] == 300.0 and optics["rlnImagePixelSize"] == 6.0
    columns = set(blocks["particles"].columns)
    assert "rlnDefocusU" in columns
    assert not {"rlnAnglePsi", "rlnClassNumber", "rlnOriginXAngst"} & columns
    assert blocks["particles"]["rlnImageName"][36] == "000037@particles.mrcs"


def test_without_ctf_no_ctf_is_written(tmp_path):
    simulate(
        from_flat(SimulateConfig, {**SETTINGS, "apply_ctf": False, "output_dir": str(tmp_path)})
    )
    assert "rlnDefocusU" not in read_star(tmp_path / "particles.star")["particles"]


def test_settings_repeat_the_run_and_summary_counts(simulated):
    folder, config = simulated
    assert from_json((folder / "settings.json").read_text(), SimulateConfig) == config
    summary = json.loads((folder / "summary.json").read_text())
    kinds = read_star(folder / "truth.star")["particles"]["cryoralibImageKind"]
    assert summary["n_empty"] == (kinds == "empty").sum()
    assert summary["n_contamination"] == (kinds == "contamination").sum()
    assert summary["mean_snr"] == pytest.approx(0.05, rel=0.3)


def test_map_and_views_have_the_grey_scale_of_the_images(simulated):
    folder, _ = simulated
    views, _ = read_mrc(folder / "views.mrcs")
    volume, _ = read_mrc(folder / "phantom.mrc")
    assert len(views) == 3 and volume.shape == (32, 32, 32)
    np.testing.assert_allclose(views.sum(axis=(1, 2)), volume.sum(), rtol=1e-4)
    assert read_mrc_header(folder / "phantom.mrc").pixel_size_angst == pytest.approx(6.0)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"object_diameter_angst": 190.0}, "need 226 A, but the box is 192 A wide"),
        ({"blob_sigma_angst": 4.0}, "blob_sigma_angst must be at least 0.8 pixels, that is 4.8 A"),
        (
            {"object_diameter_angst": 40.0},
            "between 8 and 100 times blob_sigma_angst, that is 48 to 600 A, not 40 A",
        ),
        ({"defocus_min_angst": 30000.0}, "must not be above defocus_max_angst"),
        ({"disk_radius_px": 17.0}, "disk_radius_px must be at most half the box, 16 px, not 17 px"),
        ({"snr": 0.0}, "snr"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        from_flat(SimulateConfig, {**SETTINGS, **settings})
