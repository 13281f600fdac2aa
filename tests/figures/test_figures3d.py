# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures of 3D runs show: the sphere and its symmetry, curves, rounds, maps, levels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.text import Text

from cryoralib_plugin import figures
from cryoralib_plugin.figures import (
    ClassTable,
    DirectionalFsc,
    FscTable,
    History,
    RefinedParticles,
    RoundResults,
)
from cryoralib_plugin.figures.certainty import low_scores
from cryoralib_plugin.figures.sphere import (
    asymmetric_unit,
    on_paper,
    raster_directions,
    symmetry_axes,
)
from cryoralib_plugin.figures.views import evenness
from cryoralib_plugin.geometry.directions import directions_of_pixels
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.geometry.symmetry import symmetry_operators

# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _particles(n: int, seed: int = 1, **columns) -> RefinedParticles:
    draw = np.random.default_rng(seed)
    found = {
        "rot_deg": draw.uniform(-180, 180, n),
        "tilt_deg": np.rad2deg(np.arccos(draw.uniform(-1, 1, n))),
        "psi_deg": draw.uniform(-180, 180, n),
        "shift_px": draw.normal(0, 1, (n, 2)),
        "score": draw.normal(1, 0.1, n),
        "weight": draw.gamma(20, 0.05, n),
        "angular_std_deg": draw.gamma(4, 0.3, n),
        "shift_std_px": draw.gamma(4, 0.1, n),
    }
    return RefinedParticles.from_columns({**found, **columns})


def _classes(n_classes: int) -> ClassTable:
    n = np.arange(n_classes, 0, -1) * 100
    return ClassTable(np.arange(1, n_classes + 1), n, np.full(n_classes, 10.0), np.ones(n_classes),
                      np.ones(n_classes, bool))  # fmt: skip


def _results(fsc: FscTable | None, n_classes: int = 1) -> RoundResults:
    return RoundResults(7, "refine3d", "local", 16, 2.0, 64, "C1", _classes(n_classes), fsc)


def _curves(n_classes: int = 1) -> FscTable:
    """A curve that crosses 0.5 at 10 angstrom exactly, and one half as far with random phases."""
    shell = np.arange(33)
    frequency = shell / 128.0
    corrected = np.clip(1.5 - frequency / 0.1, 0, 1)
    columns = [np.tile(values, n_classes) for values in (shell, frequency)]
    return FscTable(
        np.repeat(np.arange(1, n_classes + 1), 33), *columns,
        np.tile(np.clip(1.2 - frequency / 0.1, 0, 1), n_classes),
        np.tile(corrected, n_classes), np.tile(0.5 * corrected, n_classes),
        np.tile(corrected, n_classes),
    )  # fmt: skip


def _words(figure) -> str:
    found = [text.get_text() for text in figure.texts] + [figure.get_suptitle()]
    found.append(figure.get_supxlabel())
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    return "\n".join(found)


def _legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def _save(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_paper_and_sphere_are_inverse_and_areas_are_kept():
    directions, inside = raster_directions(200)
    assert np.linalg.norm(directions[inside], axis=-1) == pytest.approx(1.0)
    x, y = on_paper(directions[inside])
    rows, columns = np.nonzero(inside)
    assert x == pytest.approx(2 * 2**0.5 * (2 * (columns + 0.5) / 200 - 1), abs=2e-3)
    assert y == pytest.approx(2**0.5 * (1 - 2 * (rows + 0.5) / 100), abs=2e-3)
    # Pixels of paper have one area, so the polar caps above |z| = 1/2 hold half of them.
    cap = np.abs(directions[inside][:, 2]) > 0.5
    assert cap.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("symmetry", ["C1", "C4", "D3", "T", "O", "I"])
def test_asymmetric_unit_and_its_mates_cover_the_sphere_once(symmetry):
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turned = np.einsum("oij,nj->oni", to_matrices(symmetry_operators(symmetry)), directions)
    covered = asymmetric_unit(symmetry, turned).sum(axis=0)
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("symmetry", "folds"),
    [
        ("C1", {}),
        ("C4", {4: 2}),
        ("D7", {7: 2, 2: 14}),
        ("T", {3: 8, 2: 6}),
        ("O", {4: 6, 3: 8, 2: 12}),
        ("I", {5: 12, 3: 20, 2: 30}),
    ],
)
def test_axes_of_a_group_are_those_of_its_solid(symmetry, folds):
    found = [fold for _, fold in symmetry_axes(symmetry)]
    assert {fold: found.count(fold) for fold in set(found)} == folds


def test_evenness_is_the_share_of_bins_in_use():
    assert evenness(np.full(12, 3.0)) == pytest.approx(1.0)
    assert evenness(np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)
    assert evenness(np.array([5.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)


def test_sphere_shows_even_views_as_even_and_one_view_as_a_peak():
    even = _particles(20000)
    words = _words(figures.orientation_sphere(even))
    assert "20,000 particles" in words
    axes = figures.orientation_sphere(even).axes[0]
    shown = axes.images[0].get_array()
    assert float(shown.mean()) == pytest.approx(1.0, abs=0.03)
    top = _particles(500, tilt_deg=np.full(500, 5.0))
    assert "96.3 % of pixels empty" in _words(figures.orientation_sphere(top))


def test_mates_fill_the_sphere_from_one_asymmetric_unit():
    unit = directions_of_pixels(32)
    unit = unit[asymmetric_unit("O", unit)]
    particles = _particles(
        len(unit), rot_deg=np.rad2deg(np.arctan2(unit[:, 1], unit[:, 0])),
        tilt_deg=np.rad2deg(np.arccos(unit[:, 2])),
    )  # fmt: skip
    assert "pixels empty" in _words(figures.orientation_sphere(particles))
    words = _words(figures.orientation_sphere(particles, symmetry="O"))
    assert "pixels empty" not in words and "24 mates of O" in words and "asymmetric unit" in words


def test_particles_far_below_the_median_are_low_and_named():
    score = np.r_[np.full(80, 1.0), np.full(19, 0.1), np.nan]
    assert low_scores(score).sum() == 19
    figure = figures.certainty(_particles(100, score=score), pixel_size_angst=2.0)
    assert "19 of 100 particles (19.0 %)" in _words(figure)
    heights = [sum(bar.get_height() for bar in axes.patches) for axes in figure.axes[:4]]
    assert heights == [99, 100, 100, 100]


def test_shell_correlation_names_both_crossings_and_the_cutoff():
    figure = figures.half_map_fsc(_results(_curves()))
    named = _legend(figure.axes[0])
    assert "masked, corrected: 10.0 / 7.4" in named
    assert "unmasked: 14.3 / 9.5" in named
    assert "particles compared up to 8.0 Å" in named
    assert "phases randomised, masked" in named


def test_curves_that_were_not_measured_are_left_out():
    table = _curves()
    bare = FscTable(table.number, table.shell, table.frequency_inv_angst, table.unmasked,
                    *(np.full(33, np.nan) for _ in range(3)))  # fmt: skip
    assert len(_legend(figures.half_map_fsc(_results(bare)).axes[0])) == 2


def test_every_class_has_a_panel_and_a_curve():
    results = _results(_curves(3), 3)
    figure = figures.half_map_fsc(results)
    assert "class 2, 200 particles" in _words(figure)
    assert len(_legend(figures.compared_fsc(results).axes[0])) == 4


def test_curves_of_any_program_are_named_with_their_crossings():
    own = _curves().of_class(1)
    figure = figures.named_fsc(
        {"mine": (own.frequency_inv_angst, own.corrected), "empty": (np.zeros(0), np.zeros(0))}
    )
    assert _legend(figure.axes[0]) == ["mine: 10.0 / 7.4"]
    assert "no curve in this set" in _words(figures.named_fsc({}))


def _history() -> History:
    return History.from_columns(
        {
            "iteration": np.arange(1.0, 6.0),
            "stage": np.array(["global", "global", "local", "local", "local"], object),
            "cutoff_angst": np.array([20.0, 16.0, 12.0, 10.0, 10.0]),
            "resolution_angst": np.array([np.inf, 14.0, 12.0, 11.0, 8.0]),
            "class_share_001": np.full(5, 0.75),
            "class_share_002": np.full(5, 0.25),
            "seconds_expectation": np.full(5, 30.0),
        }
    )


def test_rounds_are_drawn_as_frequencies_under_their_stages():
    figure = figures.progress(_history())
    resolution, cutoff = figure.axes[0].lines[:2]
    assert resolution.get_ydata()[1:] == pytest.approx([1 / 14, 1 / 12, 1 / 11, 1 / 8])
    assert cutoff.get_ydata()[0] == pytest.approx(1 / 20)
    assert "finest 8.0 Å" in _legend(figure.axes[0])[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "global search", "local search",
    ]  # fmt: skip
    assert "Score: not recorded" in _words(figure) and "2.5 min in all" in _words(figure)


def test_shares_of_classes_fill_every_round():
    figure = figures.class_shares(_history())
    tops = [bar.get_y() + bar.get_height() for bar in figure.axes[0].patches]
    assert max(tops) == pytest.approx(100.0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "class 2: 25 %", "class 1: 75 %",
    ]  # fmt: skip


def _ball(box: int = 32, radius: float = 8.0) -> np.ndarray:
    grid = np.arange(box) - box // 2
    return grid[:, None, None] ** 2 + grid[:, None] ** 2 + grid**2 <= radius**2


def test_map_shows_what_lies_across_each_axis():
    volume = np.zeros((16, 16, 16))
    volume[8, 8, 12] = 1.0  # on the x axis
    volume[3, 8, 8] = 2.0  # below, on the z axis
    figure = figures.map_views(volume, pixel_size_angst=2.0)
    pictures = [axes.images[0].get_array() for axes in figure.axes]
    assert pictures[0][8, 12] == 1.0 and pictures[0].sum() == 1.0  # slice xy
    assert pictures[1][8, 12] == 1.0 and pictures[1][3, 8] == 2.0  # slice xz
    assert pictures[2][3, 8] == 2.0 and pictures[2].sum() == 2.0  # slice yz
    assert pictures[5][8, 8] == 1.0 and pictures[5][3, 8] == 2.0  # projection along x
    assert "central slice xz" in _words(figure) and "projection along x" in _words(figure)


def test_map_is_shown_round_its_mask():
    figure = figures.map_views(np.ones((64,) * 3), pixel_size_angst=1.0,
                               mask=_ball(64, 8).astype(float))  # fmt: skip
    assert figure.axes[0].images[0].get_array().shape == (21, 21)
    assert "the middle 21 px are shown" in _words(figure)


def test_map_and_mask_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"cube \(N, N, N\); the shape is \(2, 3, 3\)"):
        figures.map_views(np.zeros((2, 3, 3)), pixel_size_angst=1.0)
    with pytest.raises(ValueError, match=r"shape of the map, \(4, 4, 4\); it is \(5, 5, 5\)"):
        figures.map_views(np.zeros((4,) * 3), pixel_size_angst=1.0, mask=np.zeros((5,) * 3))


def test_directions_are_shown_where_they_are():
    directions = np.eye(3)
    frequency = np.arange(1, 257) / 1024.0
    curves = np.stack([np.clip(1.5 - frequency / f, 0, 1) for f in (0.1, 0.1, 0.05)])
    found = DirectionalFsc(directions, frequency, curves, area_ratio=0.4, sampling=0.9)
    figure = figures.directional_fsc(found)
    raster = figure.axes[0].images[0].get_array()
    assert raster[2, 240] == raster.min()  # z, at the top, is blurred
    assert raster[120, 240] == raster.max()  # x, in the middle, is not
    words = _words(figure)
    assert "cFAR 0.40 (anisotropic: limit 0.5)" in words and "SCF* 0.90 (isotropic" in words
    assert "smallest area: 14.7 Å" in _legend(figure.axes[1])


def test_level_parts_a_molecule_from_noise():
    draw = np.random.default_rng(0)
    volume = 10.0 * _ball() + draw.normal(0, 1, (32,) * 3)
    level = figures.contour_level(volume, _ball(radius=11).astype(float))
    assert 3.0 <= level <= 7.0
    assert (volume > level)[~_ball()].mean() < 0.01
    assert figures.contour_level(np.zeros((8,) * 3)) == 0.0


def test_script_opens_every_map_and_shows_the_merged_ones():
    paths = {"merged": "../a map.mrc", "half1": "../h1.mrc", "mask": "../m.mrc"}
    levels = {"merged": 0.25, "half1": 0.125, "mask": 0.5}
    surfaces = [
        surface for number in (1, 2)
        for surface in figures.surfaces_of_class(number, paths, levels)
    ]  # fmt: skip
    lines = figures.chimerax_script(surfaces, "run").splitlines()
    assert 'open "../a map.mrc" name "class 1"' in lines
    assert any(line.startswith("volume #1 ") and " level 0.25 " in line for line in lines)
    hidden = [line for line in lines if line.startswith("hide")]
    assert hidden == ["hide #2 models", "hide #3 models", "hide #5 models", "hide #6 models"]
    assert "tile #1,4" in lines and "transparency #3 70 target s" in lines


def test_defocus_is_shown_in_percent_and_angstrom():
    particles = _particles(400, defocus_factor=np.full(400, 1.02) + np.arange(400) * 1e-9,
                           defocus_angst=np.full(400, 10200.0))  # fmt: skip
    words = _words(figures.defocus_change(particles))
    assert "median +2 %" in words and "median +200 Å" in words
    assert "not refined" in _words(figures.defocus_change(_particles(5)))
    assert "not refined" in _words(figures.defocus_change(_particles(5, defocus_factor=np.ones(5))))


def test_unknown_columns_are_unknown_numbers():
    particles = RefinedParticles.from_columns({"tilt_deg": np.zeros(3), "rot_deg": np.zeros(3)})
    assert particles.number.tolist() == [1, 1, 1] and np.isnan(particles.score).all()
    with pytest.raises(ValueError, match="one length"):
        RefinedParticles.from_columns({"tilt_deg": np.zeros(3), "score": np.zeros(2)})


@pytest.mark.parametrize(
    "figure",
    [
        figures.orientation_sphere(None),
        figures.certainty(None, pixel_size_angst=1.0),
        figures.score_against_uncertainty(None),
        figures.class_certainty(_particles(3)),
        figures.defocus_change(None),
        figures.half_map_fsc(_results(None)),
        figures.compared_fsc(_results(None)),
        figures.progress(History()),
        figures.resolution_and_cutoff(History()),
        figures.class_shares(History()),
        figures.directional_fsc(None),
    ],
)
def test_missing_data_are_answered_in_words(figure):
    sentence = _words(figure)
    assert "." in sentence and len(sentence) > 20
    assert _save(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("n", [1, 2, 50])
def test_few_refined_particles_are_drawn(n):
    particles = _particles(n, probability=np.ones(n), defocus_factor=np.full(n, 1.01))
    for figure in (
        figures.orientation_sphere(particles, symmetry="D2"),
        figures.certainty(particles, pixel_size_angst=1.5),
        figures.score_against_uncertainty(particles),
        figures.class_certainty(particles),
        figures.defocus_change(particles),
        figures.shift_density(particles, pixel_size_angst=1.5),
    ):
        assert _save(figure).startswith(b"\x89PNG")


def test_particles_without_a_pose_have_no_shift():
    particles = _particles(40)
    particles.shift_px[::4] = np.nan
    figure = figures.shift_density(particles, pixel_size_angst=1.5)
    assert _save(figure).startswith(b"\x89PNG")
    assert "30 particles" in " ".join(text.get_text() for text in figure.findobj(Text))


def test_of_very_many_particles_a_part_is_drawn(monkeypatch):
    monkeypatch.setattr("cryoralib_plugin.figures.views._MOST_VIEWS", 5000)
    figure = figures.orientation_sphere(_particles(20000), symmetry="C2")
    assert "20,000 particles, every 8th drawn" in _words(figure)
    assert float(figure.axes[0].images[0].get_array().mean()) == pytest.approx(1.0, abs=0.1)
