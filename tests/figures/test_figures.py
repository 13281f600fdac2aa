# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures show: greys, scale bar, uniform circle, search range, crossings, empty data."""

from __future__ import annotations

import io

import numpy as np
import pytest

from cryoralib_plugin import figures
from cryoralib_plugin.figures import ClassTable, FrcTable, GalleryPage, History, PoseTable
from cryoralib_plugin.figures.contrast import bar_length_angst, grey_range
from cryoralib_plugin.figures.orientation import _wilson_interval, angle_bins

# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _classes(n_classes: int, empty: tuple[int, ...] = ()) -> ClassTable:
    members = np.arange(n_classes, 0, -1) * 10
    members[list(empty)] = 0
    return ClassTable(
        np.arange(1, n_classes + 1), members, np.full(n_classes, 10.0), np.ones(n_classes),
        members > 0,
    )  # fmt: skip


def _poses(n_particles: int, seed: int = 1) -> PoseTable:
    draw = np.random.default_rng(seed)
    return PoseTable(
        draw.integers(1, 4, n_particles), draw.uniform(-180, 180, n_particles),
        draw.normal(0, 1, (n_particles, 2)), draw.random(n_particles) < 0.5,
        draw.normal(5, 1, n_particles),
    )  # fmt: skip


def _words(figure) -> str:
    found = [text.get_text() for text in figure.texts] + [figure.get_suptitle()]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    return "\n".join(found)


def _save(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_greys_ignore_hot_pixels_and_the_corners():
    image = np.random.default_rng(0).normal(0, 1, (64, 64))
    spoilt = image.copy()
    spoilt[0, 0], spoilt[32, 32] = 1e6, 1e6
    low, high = grey_range(spoilt, radius_px=28)
    assert (low, high) == pytest.approx(grey_range(image, radius_px=28), abs=0.2)
    assert -3.5 < low < -2.0 and 2.0 < high < 3.5


def test_constant_image_has_a_grey_range_of_its_own():
    low, high = grey_range(np.full((8, 8), 4.0))
    assert low < 4.0 < high
    assert grey_range(np.full((8, 8), np.nan)) == (0.0, 1.0)


@pytest.mark.parametrize(("width", "length"), [(225.0, 50.0), (300.0, 100.0), (31.0, 10.0), (3, 1)])
def test_scale_bar_is_a_round_length_within_a_third(width, length):
    assert bar_length_angst(width) == length


def test_scale_bar_is_drawn_to_scale():
    images = np.random.default_rng(0).normal(size=(1, 90, 90))
    figure = figures.class_gallery(images, _classes(1), pixel_size_angst=2.5)
    (bar,) = [patch for patch in figure.axes[0].patches if patch.get_gid() == "scale-bar"]
    assert bar.get_width() * 2.5 == pytest.approx(50.0)
    assert "50 Å" in _words(figure)


def test_gallery_is_sorted_counted_and_paged():
    images = np.arange(60)[:, None, None] + np.zeros((60, 8, 8))
    classes = _classes(60)
    first = figures.class_gallery(images, classes, pixel_size_angst=1.0)
    assert [figures.class_of_axes(axes) for axes in first.axes] == list(range(1, 51))
    assert figures.n_pages(60) == 2 and "page 1 of 2" in _words(first)
    rest = figures.class_gallery(images, classes, pixel_size_angst=1.0, view=GalleryPage(page=1))
    assert [figures.class_of_axes(axes) for axes in rest.axes] == list(range(51, 61))
    # The image under a class number is that class's average.
    assert float(rest.axes[3].images[0].get_array().mean()) == 53.0
    assert "class 54  ·  10.0 Å\n70  (0.4 %)" in _words(rest)


def test_gallery_keeps_the_aspect_of_pixels():
    figure = figures.class_gallery(np.zeros((7, 16, 16)), _classes(7), pixel_size_angst=1.0)
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=1e-3)


def test_dead_classes_are_named_and_selected_ones_ticked():
    view = GalleryPage(selected=frozenset({2}))
    figure = figures.class_gallery(
        np.zeros((3, 8, 8)), _classes(3, empty=(2,)), pixel_size_angst=1.0, view=view
    )
    by_class = {figures.class_of_axes(axes): axes for axes in figure.axes}
    assert "empty" in [text.get_text() for text in by_class[3].texts]

    def ticked(number: int) -> bool:
        return any(t.get_text() == "✓" and t.get_visible() for t in by_class[number].texts)

    assert ticked(2) and not ticked(1)
    figures.mark_selected(by_class[2], False)
    figures.mark_selected(by_class[1], True)
    assert ticked(1) and not ticked(2)


def test_gallery_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"stack \(classes, box, box\); the shape is \(3, 8, 9\)"):
        figures.class_gallery(np.zeros((3, 8, 9)), _classes(3), pixel_size_angst=1.0)
    with pytest.raises(ValueError, match="2 averages and 3 classes"):
        figures.class_gallery(np.zeros((2, 8, 8)), _classes(3), pixel_size_angst=1.0)
    with pytest.raises(ValueError, match="Page must be 0 to 0; it is 1"):
        figures.class_gallery(
            np.zeros((3, 8, 8)), _classes(3), pixel_size_angst=1.0, view=GalleryPage(page=1)
        )


def test_angle_bars_hold_every_particle_and_the_circle_is_the_mean():
    poses = _poses(5000)
    axes = figures.inplane_angles(poses).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    (circle,) = [line for line in axes.lines if line.get_gid() == "uniform"]
    assert len(heights) == angle_bins(5000) == 72
    assert sum(heights) == 5000
    assert np.mean(heights) == pytest.approx(circle.get_ydata()[0])


def test_preferred_angles_are_told_from_uniform_ones():
    even = np.linspace(0, 360, 400, endpoint=False)
    flat = PoseTable(np.ones(400, int), even, np.zeros((400, 2)), np.zeros(400, bool), even)
    assert "no preferred angle" in _words(figures.inplane_angles(flat))
    bent = PoseTable(np.ones(400, int), even / 2, np.zeros((400, 2)), np.zeros(400, bool), even)
    assert ", a preferred angle" in _words(figures.inplane_angles(bent))


def test_shift_figure_counts_every_particle_and_draws_the_range():
    poses = _poses(2000)
    figure = figures.shift_density(poses, pixel_size_angst=2.0, range_px=(3.0, 2.0))
    axes = figure.axes[0]
    assert axes.collections[0].get_array().sum() == 2000
    (range_box,) = [patch for patch in axes.patches if patch.get_gid() == "search-range"]
    assert (range_box.get_width(), range_box.get_height()) == (6.0, 4.0)
    outside = (np.abs(poses.shift_px) > [3.0, 2.0]).any(axis=1).mean()
    assert f"{100 * outside:.1f} % outside" in _words(figure)
    assert axes.yaxis_inverted()  # rows run downwards, as in the images


def test_wilson_interval_agrees_with_published_values():
    # Brown, Cai, DasGupta (2001): 0 of 10 gives 0 to 0.2775; symmetric about one half.
    share, low, high = _wilson_interval(np.array([0, 5]), np.array([10, 10]))
    assert share.tolist() == [0.0, 0.5]
    assert high[0] == pytest.approx(0.2775, abs=1e-4) and low[0] == pytest.approx(0, abs=1e-12)
    assert low[1] + high[1] == pytest.approx(1.0)


def test_crossing_is_interpolated_between_rings():
    frequency, frc = np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 0.8, 0.4, 0.0])
    assert figures.crossing_inv_angst(frequency, frc, 0.5) == pytest.approx(0.275)
    assert figures.crossing_inv_angst(frequency, np.ones(4), 0.5) == 0.4
    assert np.isnan(figures.crossing_inv_angst(frequency, np.zeros(4), 0.5))
    assert np.isnan(figures.crossing_inv_angst(frequency[:0], frc[:0], 0.5))


def test_frc_figure_names_the_resolution_of_large_classes():
    frequency = np.arange(1, 46) / 90 / 2.0
    curve = np.clip(1.5 - frequency / 0.1, 0, 1)  # crosses 0.5 at exactly 10 angstrom
    table = FrcTable(np.repeat([1, 2], 45), np.tile(frequency, 2), np.tile(curve, 2))
    figure = figures.frc_curves(table, _classes(2), pixel_size_angst=2.0)
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert named[0].startswith("class 1 (20): 10.0 Å")


def test_effective_classes_are_those_of_equal_size():
    assert figures.effective_classes(np.full(7, 10)) == pytest.approx(7.0)
    assert figures.effective_classes(np.array([5, 0, 0])) == pytest.approx(1.0)
    assert figures.effective_classes(np.array([3, 1])) == pytest.approx(1 / (0.75**2 + 0.25**2))
    assert figures.effective_classes(np.zeros(3)) == 0.0


def test_convergence_draws_what_is_there_and_names_what_is_not():
    history = History(
        {
            "iteration": np.arange(1.0, 4.0),
            "effective_classes": np.array([3.0, 4.0, 5.0]),
            "changed_fraction": np.array([np.nan, 0.5, 0.25]),
            "resolution_best_angst": np.array([np.inf, 12.0, 9.0]),
            "seconds_match": np.array([2.0, 3.0, 4.0]),
            "seconds_read": np.array([1.0, 1.0, 1.0]),
        }
    )
    figure = figures.convergence(history)
    assert "Score: not recorded" in _words(figure)
    changes = figure.axes[2].lines[0].get_ydata()
    assert changes[1:].tolist() == [50.0, 25.0]
    tops = [bar.get_y() + bar.get_height() for bar in figure.axes[5].patches]
    assert max(tops) == 5.0


@pytest.mark.parametrize(
    "figure",
    [
        figures.class_gallery(np.zeros((0, 4, 4)), _classes(0), pixel_size_angst=1.0),
        figures.class_occupancy(_classes(0)),
        figures.inplane_angles(_poses(0)),
        figures.shift_density(_poses(0), pixel_size_angst=1.0),
        figures.mirror_fractions(_poses(0), _classes(2)),
        figures.score_histogram(_poses(0)),
        figures.frc_curves(None, _classes(2), pixel_size_angst=1.0),
        figures.convergence(History()),
    ],
)
def test_empty_data_is_answered_in_words(figure):
    sentence = _words(figure)
    assert "." in sentence and len(sentence) > 20
    assert _save(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("n_particles", [1, 2, 50])
def test_few_particles_are_drawn(n_particles):
    poses = _poses(n_particles)
    for figure in (
        figures.inplane_angles(poses),
        figures.shift_density(poses, pixel_size_angst=1.5),
        figures.mirror_fractions(poses, _classes(3)),
        figures.score_histogram(poses),
    ):
        assert _save(figure).startswith(b"\x89PNG")
