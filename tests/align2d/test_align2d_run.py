# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole program in memory: what its files hold, what it refuses, how it continues."""

import json
import shutil

import numpy as np
import pytest

from cryoralib_plugin.align2d.task import make_task
from cryoralib_plugin.align2d.truth import class_quality
from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.results import METRICS_COLUMNS, ResultPaths
from cryoralib_plugin.fourier.transform import backward, forward
from cryoralib_plugin.io.mrc import write_stack
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.kernels.device import CpuDevice, OutOfMemory
from cryoralib_plugin.kernels.transform2d import transform_images
from cryoralib_plugin.optics.ctf import ctf_2d
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable

PIXEL_SIZE = 4.0


def last_table(files):
    checkpoint = files.read_checkpoint()
    return ParticleTable.from_blocks(checkpoint.blocks).at_pixel_size(PIXEL_SIZE), checkpoint


def files_of(folder, iterations):
    paths = ResultPaths(folder)
    return {
        path.name: path.read_bytes()
        for it in iterations
        for path in (paths.data_star(it), paths.classes_mrcs(it), paths.model_json(it))
    }


def test_views_of_high_signal_are_separated_and_aligned(program, views):
    state, found = program.run(program.config(n_iterations=6))
    quality = class_quality(found, views.view, views.poses, n_classes=4)
    assert quality.purity > 0.97
    assert quality.views_found == 3
    assert quality.dead_classes == 0
    assert quality.angle_error_deg < 2.0
    assert quality.wrong_hand < 0.05
    assert state.sizes.sum() == len(views.images)


@pytest.mark.parametrize("preset", ["recommended", "sparx_compat"])
def test_averages_are_the_means_of_the_listed_members_at_the_listed_poses(program, views, preset):
    config = program.config(
        preset=preset, **({"centring": "none"} if preset == "recommended" else {})
    )
    files = program.files()
    program.run(config, results=files)
    table, checkpoint = last_table(files)
    images = views.images
    if preset == "sparx_compat":
        from cryoralib_plugin.align2d.task import normalised_in_disk

        images = normalised_in_disk(images, 18)
    moved = transform_images(images, table.poses())
    for k in range(4):
        for half in range(2):
            members = (table.class_numbers == k + 1) & (table.half_sets() == half)
            if not members.any():
                continue
            mean = moved[members].mean(axis=0)
            average = checkpoint.half_averages[k, half]
            if preset == "sparx_compat":
                # Its averages are centred, its members are not told: compare what a shift keeps.
                mean, average = (np.abs(np.fft.rfft2(a))[1:20, 1:20] for a in (mean, average))
                np.testing.assert_allclose(average, mean, rtol=0.02, atol=0.2)
            else:
                np.testing.assert_allclose(average, mean, atol=2e-5)


def test_files_agree_with_each_other(program):
    files = program.files()
    state, found = program.run(program.config(), results=files)
    table, checkpoint = last_table(files)
    np.testing.assert_array_equal(table.class_numbers, found.reference + 1)
    np.testing.assert_array_equal(table.poses().shift_px, found.poses.shift_px)
    np.testing.assert_array_equal(checkpoint.averages, state.averages)
    model = json.loads(files.paths.model_json(3).read_text())
    assert [c["n_members"] for c in model["classes"]] == state.sizes.tolist()
    assert [c["n_half1"] + c["n_half2"] for c in model["classes"]] == state.sizes.tolist()
    assert model["outer_radius_px"] == 18 and model["program"] == "mra"
    assert checkpoint.frc["class"].unique().tolist() == [1, 2, 3, 4]
    metrics = files.read_metrics()
    assert list(metrics.columns[: len(METRICS_COLUMNS)]) == list(METRICS_COLUMNS)
    assert metrics["iteration"].tolist() == [1, 2, 3]
    assert metrics["mean_score"].iloc[-1] > metrics["mean_score"].iloc[0]
    sizes = np.bincount(table.class_numbers, minlength=5)[1:]
    assert metrics["effective_classes"].iloc[-1] == pytest.approx(90**2 / (sizes**2).sum())


def test_the_batch_changes_no_bit(program):
    for batch_size in (1, 7, 64):
        program.run(program.config(batch_size=batch_size, n_iterations=2), name=str(batch_size))
    first = files_of(program.folder / "1", (1, 2))
    assert files_of(program.folder / "7", (1, 2)) == first
    assert files_of(program.folder / "64", (1, 2)) == first


def test_another_seed_gives_another_start_and_the_same_seed_the_same(program):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        program.run(program.config(random_seed=seed, n_iterations=1), name=name)
    first = files_of(program.folder / "a", [1])
    assert files_of(program.folder / "b", [1]) == first
    assert files_of(program.folder / "c", [1]) != first


@pytest.mark.parametrize("kind", ["mra", "rfa"])
def test_a_run_continues_to_the_same_bits(program, kind):
    config = {"mra": {"n_iterations": 4}, "rfa": {"n_iterations": 2, "shift_range_px": "2 1"}}
    program.run(program.config(kind, **config[kind]), name="whole")
    shutil.copytree(program.folder / "whole", program.folder / "broken")
    for file in (program.folder / "broken").glob("run_it00[34]*"):
        file.unlink()
    program.run(program.config(kind, resume=True, **config[kind]), name="broken")
    assert files_of(program.folder / "broken", (3, 4)) == files_of(program.folder / "whole", (3, 4))
    metrics = RunFiles(ResultPaths(program.folder / "broken")).read_metrics()
    assert metrics["iteration"].tolist() == [1, 2, 3, 4]


def test_a_damaged_iteration_is_done_again(program):
    config = program.config(n_iterations=3)
    program.run(config, name="whole")
    shutil.copytree(program.folder / "whole", program.folder / "broken")
    paths = ResultPaths(program.folder / "broken")
    paths.classes_mrcs(3).write_bytes(b"half a file")
    program.run(program.config(n_iterations=3, resume=True), name="broken")
    assert files_of(paths.run_dir, [3]) == files_of(program.folder / "whole", [3])


def test_a_run_of_other_particles_is_not_continued(program, views):
    program.run(program.config(n_iterations=1))
    fewer = program.table().select(np.arange(80))
    with pytest.raises(ConfigError, match="run to continue has 90 particles.*has 80 particles"):
        program.run(
            program.config(n_iterations=2, resume=True),
            table=fewer,
            source=ArraySource(views.images[:80], PIXEL_SIZE),
        )


def test_given_references_are_found_again(program, views):
    _, found = program.run(program.config(n_iterations=1, n_classes=7), references=views.references)
    assert (found.reference == views.view).mean() > 0.97


def test_references_come_from_a_file(program, views):
    path = program.folder / "references.mrcs"
    write_stack(path, images=views.references, pixel_size_angst=PIXEL_SIZE)
    state, _ = program.run(program.config(n_iterations=1, references_file=str(path)))
    assert state.n_classes == 3


def test_references_of_another_pixel_size_are_refused(program, views):
    path = program.folder / "references.mrcs"
    write_stack(path, images=views.references, pixel_size_angst=2.5)
    with pytest.raises(ConfigError, match="pixels of 2.5 A, but the particles are aligned at 4 A"):
        program.run(program.config(references_file=str(path)))


def test_references_of_another_box_are_refused(program):
    with pytest.raises(ConfigError, match="48 x 48 px, but their shape is 40 x 40 px"):
        program.run(program.config(), references=np.ones((2, 40, 40), np.float32))


def test_a_constant_reference_is_refused(program, views):
    references = views.references.copy()
    references[1] = 3.0
    with pytest.raises(ConfigError, match="reference 2 is constant"):
        program.run(program.config(), references=references)


def test_more_classes_than_the_particles_allow_are_refused(program):
    with pytest.raises(ConfigError, match=r"n_classes \(50\).*needs 200 particles.*there are 90"):
        program.run(program.config(n_classes=50))


def test_no_particles_are_refused(program, views):
    with pytest.raises(ConfigError, match="no particles to align"):
        program.run(
            program.config("rfa"),
            table=program.table().select(np.arange(0)),
            source=ArraySource(views.images[:0], PIXEL_SIZE),
        )


def test_a_radius_that_leaves_the_box_is_refused(program):
    with pytest.raises(ConfigError, match=r"outer_radius_px \(22\) plus the largest shift"):
        program.run(program.config(outer_radius_px=22))


def test_a_batch_that_does_not_fit_is_halved_with_the_same_result(program, monkeypatch):
    from cryoralib_plugin.align2d import expectation

    program.run(program.config(n_iterations=1), name="roomy")
    whole, refused = expectation.match_rings, []

    def scarce(images, *given, **more):
        if len(images) > 3:
            refused.append(len(images))
            raise OutOfMemory("no room")
        return whole(images, *given, **more)

    monkeypatch.setattr(expectation, "match_rings", scarce)
    program.run(program.config(n_iterations=1), name="scarce")
    assert refused
    assert files_of(program.folder / "scarce", [1]) == files_of(program.folder / "roomy", [1])


def test_class_sums_that_do_not_fit_are_halved_with_the_same_result(program, monkeypatch):
    from cryoralib_plugin.kernels.class_sums import cpu

    program.run(program.config(n_iterations=2, n_classes=3), name="roomy")
    whole, refused = cpu.add_images, []

    def scarce(sums, images, poses, order, slots):
        if len(order) > 5:
            refused.append(len(order))
            raise OutOfMemory("no room")
        return whole(sums, images, poses, order, slots)

    monkeypatch.setattr(cpu, "add_images", scarce)
    program.run(program.config(n_iterations=2, n_classes=3), name="scarce")
    assert refused
    assert files_of(program.folder / "scarce", [1, 2]) == files_of(program.folder / "roomy", [1, 2])


class SmallDevice(CpuDevice):
    """A device with room for three images at a time."""

    def __init__(self):
        self.refused = 0

    def to_device(self, value):
        if isinstance(value, np.ndarray) and value.ndim == 3 and len(value) > 3:
            self.refused += 1
            raise OutOfMemory("no room")
        return super().to_device(value)


def test_images_that_do_not_fit_on_the_device_come_in_smaller_batches(program):
    program.run(program.config(n_iterations=1, n_classes=3), name="roomy")
    device = SmallDevice()
    program.run(program.config(n_iterations=1, n_classes=3), name="small", device=device)
    assert device.refused
    assert files_of(program.folder / "small", [1]) == files_of(program.folder / "roomy", [1])


def test_rfa_aligns_one_view(program, views):
    only = views.view == 0
    program.views = type(views)(
        views.images[only], views.signal[only], views.poses[only], views.view[only],
        views.ctf[only], views.references, views.config,
    )  # fmt: skip
    state, found = program.run(program.config("rfa", n_iterations=4, shift_range_px="2 2"))
    quality = class_quality(found, views.view[only], views.poses[only], n_classes=1)
    assert state.n_classes == 1
    assert quality.angle_error_deg < 3.0 and quality.wrong_hand < 0.1


def test_rfa_within_classes_keeps_every_particle_in_its_own(program, views):
    numbers = np.array([3, 7, 9])[views.view]
    numbers[:5] = 0
    table = program.table().with_columns({labels.CLASS_NUMBER: numbers})
    files = program.files()
    config = program.config("rfa", within_classes=True, n_iterations=4)
    state, found = program.run(config, table=table, results=files)
    written, checkpoint = last_table(files)
    np.testing.assert_array_equal(written.class_numbers, numbers)
    assert (found.reference[:5] == -1).all()
    assert checkpoint.frc["class"].unique().tolist() == [3, 7, 9]
    rest = slice(5, None)
    quality = class_quality(found[rest], views.view[rest], views.poses[rest], n_classes=3)
    assert quality.purity == 1.0 and quality.angle_error_deg < 3.0


def test_rfa_within_classes_needs_classes(program):
    with pytest.raises(ConfigError, match="within_classes.*no particle has a class"):
        program.run(program.config("rfa", within_classes=True))


def test_a_given_alignment_is_the_start(program, views):
    table = program.table().with_poses(views.poses)
    files = program.files()
    config = program.config("rfa", n_iterations=1, shift_range_px="1", start_from_alignment=True)
    kept = views.view == 1
    program.views = type(views)(
        views.images[kept], views.signal[kept], views.poses[kept], views.view[kept],
        views.ctf[kept], views.references, views.config,
    )  # fmt: skip
    rows = np.flatnonzero(kept)
    _, found = program.run(config, table=table.select(rows), results=files)
    quality = class_quality(found, views.view[kept], views.poses[kept], n_classes=1)
    assert quality.angle_error_deg < 2.0


def test_ctf_is_summed_where_asked_for(program, views):
    ctf = {
        labels.DEFOCUS_U: 15000.0, labels.DEFOCUS_V: 15000.0, labels.DEFOCUS_ANGLE: 0.0,
        labels.VOLTAGE: 300.0, labels.SPHERICAL_ABERRATION: 2.7, labels.AMPLITUDE_CONTRAST: 0.1,
    }  # fmt: skip
    n = len(views.images)
    table = program.table().with_columns({name: np.full(n, v) for name, v in ctf.items()})
    plain, _ = program.run(program.config(n_iterations=1), table=table, name="plain")
    summed, _ = program.run(
        program.config(n_iterations=1, ctf_correction="wiener"), table=table, name="wiener"
    )
    assert not np.allclose(plain.averages, summed.averages)
    assert np.isfinite(summed.averages).all()


def test_references_have_the_amplitudes_of_particles_multiplied_by_their_ctf(program, views):
    ctf = {
        labels.DEFOCUS_U: 15000.0, labels.DEFOCUS_V: 15000.0, labels.DEFOCUS_ANGLE: 0.0,
        labels.VOLTAGE: 300.0, labels.SPHERICAL_ABERRATION: 2.7, labels.AMPLITUDE_CONTRAST: 0.1,
    }  # fmt: skip
    n, box = len(views.images), views.images.shape[-1]
    table = program.table().with_columns({name: np.full(n, v) for name, v in ctf.items()})
    source = ArraySource(views.images, PIXEL_SIZE)
    config = program.config(ctf_correction="wiener")
    task = make_task(config, table, source, CpuDevice(), SerialCommunicator(), 0)
    # All particles share one CTF, so what they show is its size times the object.
    transfer = np.abs(ctf_2d(table.ctf(np.array([0])), box, PIXEL_SIZE)[0])
    shown = task.shown_by_particles(views.references)
    expected = backward(forward(views.references) * transfer, box)
    np.testing.assert_allclose(shown, expected, atol=1e-5 * np.abs(expected).max())
    plain = make_task(program.config(), table, source, CpuDevice(), SerialCommunicator(), 0)
    assert plain.shown_by_particles(views.references) is views.references
