# SPDX-License-Identifier: GPL-3.0-or-later
"""A round on the disk: read by people, by RELION's users, and by the next round to the last bit."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.refine3d import Refine3DConfig
from cryoralib_plugin.contract.results import FSC_COLUMNS, METRICS3D_COLUMNS, ResultPaths
from cryoralib_plugin.fourier.fsc import MaskedFsc
from cryoralib_plugin.geometry.rotations import angle_between, from_axis_angle, multiply
from cryoralib_plugin.io.round_files import RoundFiles
from cryoralib_plugin.io.star import read_star
from cryoralib_plugin.io.thu import read_thu
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.particles.thunder import table_from_thu
from cryoralib_plugin.refine3d.cloud import PoseCloud
from cryoralib_plugin.refine3d.expectation import Outcome
from cryoralib_plugin.refine3d.reconstruct import _support_points
from cryoralib_plugin.refine3d.record import write_round
from cryoralib_plugin.refine3d.restore import restored_round
from cryoralib_plugin.refine3d.state import LOCAL, Refine3DState, RoundMaps
from cryoralib_plugin.refine3d.task import make_task

N, BOX, N_CLASSES, N_GROUPS, PIXEL = 10, 8, 2, 3, 2.0
N_SHELLS = BOX // 2 + 1
NONE = Outcome.none(N, N_CLASSES)


def table_of(**columns):
    particles = {
        "rlnImageName": [f"{i + 1}@a.mrcs" for i in range(N)],
        "rlnImageId": np.arange(N) + 40,
        "rlnDefocusU": np.linspace(9000, 20000, N),
        "rlnDefocusV": np.linspace(8000, 19000, N),
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": PIXEL,
        **columns,
    }
    return ParticleTable.from_blocks({"particles": pd.DataFrame(particles)})


def task_of(table=None, particles_file="a.star", **flat):
    config = from_flat(
        Refine3DConfig, {"particles_file": particles_file, "n_classes": N_CLASSES, **flat}
    )
    source = ArraySource(np.zeros((N, BOX, BOX)), PIXEL)
    return make_task(config, table or table_of(), source, None, SerialCommunicator())


def round_of(iteration, seed=0):
    """A state, its maps, what is said about the particles and their support points."""
    rng = np.random.default_rng([seed, iteration])

    def maps(*leading):
        return rng.normal(size=(*leading, BOX, BOX, BOX)).astype(np.float32)

    curves = np.linspace(1, 0, N_SHELLS) ** 2 + 0.01 * rng.random((N_CLASSES, 4, N_SHELLS))
    state = Refine3DState(
        iteration,
        LOCAL,
        3,
        maps(N_CLASSES, 2),
        rng.random((2, N_GROUPS, N_SHELLS)) + 1e-9,
        np.array([1 / 3, 2 / 3]),
        curves[:, 3],
        np.arange(4 * iteration).reshape(iteration, 4),
        np.array([np.inf, np.pi]),
    )
    round_maps = RoundMaps(
        maps(N_CLASSES, 2),
        maps(N_CLASSES),
        rng.random((N_CLASSES, BOX, BOX, BOX)).astype(np.float32),
        (MaskedFsc(*curves[0], 2), None),
    )
    rotations = rng.normal(size=(N, 4))
    probability = rng.random((N, N_CLASSES))
    outcome = Outcome(
        rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        rng.normal(size=(N, 2)),
        1 + 0.01 * rng.normal(size=N),
        probability / probability.sum(axis=1, keepdims=True),
        *(rng.random(N) for _ in range(6)),
        rng.integers(3, 9, N),
        np.ones(N, bool),
    )
    cloud = PoseCloud(
        rng.normal(size=(N, N_CLASSES, 5, 4)).astype(np.float32),
        rng.normal(size=(N, N_CLASSES, 3, 2)).astype(np.float32),
        rng.normal(size=(N, N_CLASSES, 2)).astype(np.float32),
        rng.random(N) > 0.3,
    )
    return state, round_maps, outcome, cloud


def assert_same_bits(first, second):
    for field in fields(first):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, field.name
            assert ours.tobytes() == theirs.tobytes(), field.name
        else:
            assert ours == theirs and type(ours) is type(theirs), field.name


@pytest.fixture
def files(tmp_path):
    files = RoundFiles(ResultPaths(tmp_path / "run"))
    files.prepare()
    return files


def test_a_run_continues_with_the_bits_it_wrote(files):
    task = task_of()
    assert restored_round(task, files) is None
    for iteration in (1, 2):
        state, maps, outcome, cloud = round_of(iteration)
        write_round(task, files, state, maps, outcome, NONE, cloud, {"scan": 1.5})
    for ours, theirs in zip((state, cloud, outcome), restored_round(task, files)):
        assert_same_bits(ours, theirs)


def test_each_rank_reads_its_own_particles(files):
    task = task_of()
    state, maps, outcome, cloud = round_of(1)
    write_round(task, files, state, maps, outcome, NONE, cloud, {})
    rows = np.arange(4, 9)
    _, clouds, found = restored_round(replace(task, rows=rows), files)
    np.testing.assert_array_equal(found.rotations, outcome.rotations[rows])
    np.testing.assert_array_equal(clouds.rotations, cloud.rotations[rows])


def test_another_run_is_not_continued(files):
    task = task_of()
    state, maps, outcome, cloud = round_of(1)
    write_round(task, files, state, maps, outcome, NONE, cloud, {})
    for other, said in (
        (task_of(symmetry="C2"), "2 class.es. and symmetry C1, but .* 2 class.es. and symmetry C2"),
        (task_of(n_classes=3), "3 class.es."),
        (task_of(table_of(rlnImageId=np.arange(N))), "this one has 10 other particles"),
    ):
        with pytest.raises(ValueError, match=said):
            restored_round(other, files)


def test_defoci_that_were_not_searched_spread_when_a_run_goes_on_with_them(files):
    state, maps, outcome, cloud = round_of(1)
    fixed = replace(cloud, defocus_factor=1.1 * np.ones((N, N_CLASSES, 1), np.float32))
    write_round(task_of(), files, state, maps, outcome, NONE, fixed, {})
    _, kept, _ = restored_round(task_of(), files)
    assert kept.defocus_factor.shape == (N, N_CLASSES, 1)
    _, spread, _ = restored_round(task_of(defocus_search=True, defocus_std=0.02), files)
    assert spread.defocus_factor.shape == (N, N_CLASSES, 9)
    np.testing.assert_allclose(spread.defocus_factor.mean(axis=2), 1.1, rtol=1e-5)
    std = 1.1 * 0.02
    assert spread.defocus_factor.std(axis=2) == pytest.approx(std, rel=0.2)


def test_particles_that_were_not_shifted_are_not_shifted_later(files):
    state, maps, outcome, cloud = round_of(1)
    centred = replace(cloud, shift_px=np.zeros((N, N_CLASSES, 1, 2), np.float32))
    write_round(task_of(shift_std_px=0.0), files, state, maps, outcome, NONE, centred, {})
    assert restored_round(task_of(shift_std_px=0.0), files) is not None
    with pytest.raises(ValueError, match="did not shift its particles .* shift_std_px is 4 now"):
        restored_round(task_of(), files)


def test_support_points_serve_other_pixels_and_refined_defoci(files):
    state, maps, outcome, cloud = round_of(1)
    near = replace(cloud, defocus_factor=1.0 + 0.01 * cloud.defocus_factor)
    write_round(task_of(), files, state, maps, outcome, NONE, near, {})
    path = str(files.paths.cloud_h5(1))
    # Defoci of the file were multiplied by what the run found; images are twice as fine.
    columns = {
        name: table_of().particles[name] * outcome.defocus_factor
        for name in ("rlnDefocusU", "rlnDefocusV")
    }
    refined = table_of(**columns, rlnImagePixelSize=PIXEL / 2)
    source = ArraySource(np.zeros((N, 2 * BOX, 2 * BOX)), PIXEL / 2)
    task = replace(task_of(refined), source=source)
    found = _support_points(task, path)
    np.testing.assert_allclose(found.shift_px[:, 0], 2.0 * near.shift_px[:, 0], rtol=1e-6)
    expected = near.defocus_factor[:, 0] / outcome.defocus_factor[:, None]
    np.testing.assert_allclose(found.defocus_factor[:, 0], expected, rtol=1e-6)


def test_support_points_of_other_particles_with_the_same_numbers_are_refused(files):
    state, maps, outcome, cloud = round_of(1)
    near = replace(cloud, defocus_factor=1.0 + 0.01 * cloud.defocus_factor)
    write_round(task_of(), files, state, maps, outcome, NONE, near, {})
    other = task_of(table_of(rlnDefocusU=np.linspace(30000, 9000, N)))
    with pytest.raises(ValueError, match="support points of other particles: . of 10 have a defo"):
        _support_points(other, str(files.paths.cloud_h5(1)))


def test_the_star_file_tells_poses_classes_and_certainty(files):
    state, maps, outcome, cloud = round_of(1)
    outcome.usable[3] = False
    outcome.angular_std_deg[3] = np.inf
    before = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.linspace(10, 90, N))
    table = table_of().with_poses3d(before, np.ones((N, 2)))
    write_round(task_of(table), files, state, maps, outcome, NONE, cloud, {})
    written = ParticleTable.read(files.paths.data_star(1), exact=True)
    particles = written.particles
    rotations, shift_px, known = written.poses3d()
    used = outcome.usable
    assert known.all()
    assert angle_between(rotations, outcome.rotations)[used].max() < 1e-9
    np.testing.assert_allclose(shift_px[used], outcome.shift_px[used], rtol=1e-14)
    # The particle without a weight keeps the pose it came with, in no class.
    assert angle_between(rotations[3], before[3]) < 1e-9
    assert particles.loc[3, ["rlnClassNumber", "cryoralibWeight"]].tolist() == [0, 0]
    assert particles.loc[3, "cryoralibAngularStdDeg"] == 180.0
    assert particles["rlnClassNumber"][used].tolist() == (outcome.class_index[used] + 1).tolist()
    np.testing.assert_allclose(
        particles["rlnDefocusV"][used],
        (table_of().ctf().defocus_v_angst * outcome.defocus_factor)[used],
    )
    assert sorted(set(particles["rlnRandomSubset"])) == [1, 2]
    assert np.isfinite(particles.select_dtypes("number").to_numpy()).all()


def test_who_could_not_be_used_is_listed(files):
    state, maps, outcome, cloud = round_of(1)
    outcome.usable[[3, 7]] = False
    task = task_of()
    task.source.quarantine.add([7], "the image is constant")
    write_round(task, files, state, maps, outcome, NONE, cloud, {})
    listed = pd.read_csv(files.paths.quarantine_csv)
    assert listed["rlnImageId"].tolist() == [43, 47]
    assert listed["reason"].tolist() == [
        "no pose gave it a finite weight", "the image is constant"
    ]  # fmt: skip


def test_metrics_tell_every_round(files):
    task = task_of(symmetry="C4", resolution_fsc=0.3)
    state, maps, outcome, cloud = round_of(1)
    write_round(task, files, state, maps, outcome, NONE, cloud, {"scan": 1.5})
    step = from_axis_angle(np.array([1.0, 0.0, 0.0]), np.full(N, 3.0))
    # A quarter turn about z is no change where the map has the symmetry.
    quarter = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.full(N, 90.0))
    turned = multiply(quarter, multiply(outcome.rotations, step))
    second, now = replace(state, iteration=2), replace(outcome, rotations=turned)
    row = write_round(task, files, second, maps, now, outcome, cloud, {})
    assert row["median_rotation_change_deg"] == pytest.approx(3.0)
    metrics = files.read_metrics()
    assert tuple(metrics.columns[: len(METRICS3D_COLUMNS)]) == METRICS3D_COLUMNS
    assert metrics["iteration"].tolist() == [1, 2] and metrics["stage"].tolist() == [LOCAL] * 2
    assert metrics["class_share_002"].tolist() == [2 / 3] * 2
    assert metrics["seconds_scan"].tolist()[0] == 1.5
    assert metrics["cutoff_angst"].tolist() == [BOX * PIXEL / 3] * 2
    assert np.isnan(metrics["median_rotation_change_deg"][0])
    assert metrics["median_score"][0] == np.median(outcome.score)


def test_curves_noise_and_model_are_those_of_the_state(files):
    task = task_of()
    state, maps, outcome, cloud = round_of(1)
    write_round(task, files, state, maps, outcome, NONE, cloud, {})
    fsc = files.newest_round().read_fsc()
    assert tuple(fsc.columns) == FSC_COLUMNS
    np.testing.assert_array_equal(fsc["fsc_used"].to_numpy().reshape(N_CLASSES, -1), state.fsc)
    first = fsc[fsc["class"] == 1]
    np.testing.assert_array_equal(first["fsc_unmasked"], maps.curves[0].unmasked)
    np.testing.assert_array_equal(first["resolution_angst"][1:], BOX * PIXEL / np.arange(1, 5))
    assert fsc[fsc["class"] == 2]["fsc_masked"].isna().all()
    noise = pd.read_csv(files.paths.noise_csv(1), float_precision="round_trip")
    at = noise[(noise["half"] == 2) & (noise["group"] == 3) & (noise["shell"] == 1)]
    assert at["noise_power"].tolist() == [state.noise_power[1, 2, 1]]
    model = files.newest_round().read_model()
    assert (model["stage"], model["symmetry"], model["n_particles"]) == (LOCAL, "C1", N)
    assert [one["share"] for one in model["classes"]] == [1 / 3, 2 / 3]
    assert sum(one["n_particles"] for one in model["classes"]) == N
    assert model["classes"][1]["resolution_unmasked_angst"] is None


def test_a_run_from_a_thu_file_writes_one(files):
    state, maps, outcome, cloud = round_of(1)
    write_round(task_of(particles_file="a.thu"), files, state, maps, outcome, NONE, cloud, {})
    table = table_from_thu(read_thu(files.paths.data_thu(1)), PIXEL)
    assert angle_between(table.poses3d()[0], outcome.rotations).max() < 1e-9
    star = read_star(files.paths.data_star(1))["particles"]
    np.testing.assert_allclose(table.particles["rlnDefocusU"], star["rlnDefocusU"])
