# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle files to batches of images: paths, bad stacks, quarantine, caches, memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.io.mrc import write_stack
from cryoralib_plugin.io.star import read_star, write_star
from cryoralib_plugin.particles.opening import find_particles, make_source
from cryoralib_plugin.particles.preprocess import Preprocessing
from cryoralib_plugin.particles.quarantine import (
    CONSTANT,
    CONSTANT_BACKGROUND,
    NOT_FINITE,
    quarantine_frame,
)
from cryoralib_plugin.particles.source import ArraySource

REPOSITORY = Path(__file__).resolve().parents[2]


def noise(n, box=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, box, box)).astype(np.float32)


def write_particles(path, names, pixel_size=2.0):
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [pixel_size]})
    particles = pd.DataFrame({"rlnImageName": names, "rlnOpticsGroup": 1})
    write_star(path, {"optics": optics, "particles": particles})


@pytest.fixture
def two_stacks(tmp_path):
    """Seven particles of two stacks, their rows in another order than on disk."""
    first, second = noise(4, seed=1), noise(5, seed=2)
    (tmp_path / "Extract").mkdir()
    write_stack(tmp_path / "Extract" / "a.mrcs", first, pixel_size_angst=2.0)
    write_stack(tmp_path / "Extract" / "b.mrcs", second, pixel_size_angst=2.0)
    places = [("b", 5), ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 4), ("b", 2)]
    names = [f"{number:06d}@Extract/{stack}.mrcs" for stack, number in places]
    write_particles(tmp_path / "set.star", names)
    images = np.stack([{"a": first, "b": second}[stack][number - 1] for stack, number in places])
    return tmp_path / "set.star", images


def collect(source, rows, batch_size=3):
    parts = list(source.batches(np.asarray(rows), batch_size))
    assert all(len(part) <= batch_size for part, _ in parts)
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([x for _, x in parts])


def open_plain(path, preprocessing=None, **cache):
    table, catalogue = find_particles(path)
    return make_source(table, catalogue, preprocessing or Preprocessing(), **cache)


def test_images_come_in_the_order_of_the_rows(two_stacks):
    path, images = two_stacks
    table, source = open_plain(path)
    assert (source.n_particles, source.box_size_px, source.pixel_size_angst) == (7, 8, 2.0)
    for order in (np.arange(7), np.array([6, 0, 5, 2, 2]), np.array([], int)):
        for batch_size in (1, 3, 100):
            if len(order):
                rows, read = collect(source, order, batch_size)
                np.testing.assert_array_equal(rows, order)
                np.testing.assert_array_equal(read, images[order])
    assert list(source.batches(np.array([], int), 4)) == []


def test_relative_paths_are_found_from_cwd_and_from_the_star_file(two_stacks, monkeypatch):
    path, images = two_stacks
    nested = path.parent / "Select" / "job007"
    nested.mkdir(parents=True)
    moved = path.rename(nested / "set.star")
    for folder in (path.parent, nested, Path("/")):
        monkeypatch.chdir(folder)
        table, catalogue = find_particles(moved)
        np.testing.assert_array_equal(catalogue.read(np.arange(7)), images)
        # The names are now such that the working directory is enough to find the stacks.
        assert all(Path(name.split("@")[1]).is_file() for name in table.image_names)
    monkeypatch.chdir(path.parent)
    assert find_particles(moved)[0].image_names[0] == "000005@Extract/b.mrcs"


def test_bare_stacks_and_hdf5(tmp_path, caplog):
    images = noise(5)
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=1.5)
    table, source = open_plain(tmp_path / "a.mrcs")
    np.testing.assert_array_equal(collect(source, range(5))[1], images)
    assert table.pixel_size_angst == pytest.approx(1.5, rel=1e-6)
    np.testing.assert_array_equal(table.image_ids, np.arange(1, 6))
    with h5py.File(tmp_path / "b.hdf", "w") as file:
        for number, image in enumerate(images):
            file[f"MDF/images/{number}/image"] = image
    table, source = open_plain(tmp_path / "b.hdf")
    np.testing.assert_array_equal(collect(source, range(5))[1], images)
    assert "does not tell the pixel size: 1 A is assumed" in caplog.text
    assert table.pixel_size_angst == 1.0


@pytest.mark.parametrize(
    "name, n, box, pixel_size",
    [
        ("apoferritin_10146_dev.star", 1966, 72, 3.0),
        ("empiar_10076_7.star", 7, 320, 1.31),
        ("aspire_sample_relion30.star", 17, 200, 1.338),
    ],
)
def test_real_files_open(shared_data, name, n, box, pixel_size):
    table, catalogue = find_particles(shared_data / "real" / name)
    assert (len(table), catalogue.box_size_px) == (n, box)
    assert table.pixel_size_angst == pytest.approx(pixel_size, rel=1e-4)
    settings = Preprocessing(remove_ramp=True, normalise_background=True, ctf="phase_flip")
    table, source = make_source(table, catalogue, settings)
    rows = np.arange(min(n, 20))
    read, images = collect(source, rows, 8)
    np.testing.assert_array_equal(read, rows)
    assert np.isfinite(images).all()
    assert len(source.quarantine) == 0
    assert np.isfinite(table.poses().shift_px).all()


def test_real_relion31_project_opens_once_its_stack_is_in_place(shared_data, tmp_path, caplog):
    real = shared_data / "real"
    blocks = read_star(real / "relion31.star")
    first = blocks["particles"]["rlnImageName"][0]
    stack = tmp_path / first.split("@")[1]
    stack.parent.mkdir(parents=True, exist_ok=True)
    stack.symlink_to(real / "relion31.mrcs")
    (tmp_path / "particles.star").write_bytes((real / "relion31.star").read_bytes())
    table, catalogue = find_particles(tmp_path / "particles.star")
    assert "no MAP word" in caplog.text
    with mrcfile.open(real / "relion31.mrcs", permissive=True) as mrc:
        np.testing.assert_array_equal(catalogue.read(np.arange(5)), mrc.data)
    assert table.pixel_size_angst == pytest.approx(2.806)
    expected = blocks["particles"][["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy() / 2.806
    np.testing.assert_allclose(table.poses().shift_px, expected)


def test_bad_sets_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_stack("a.mrcs", noise(4), pixel_size_angst=2.0)
    write_stack("big.mrcs", noise(4, box=10), pixel_size_angst=2.0)
    write_stack("flat.mrcs", noise(4)[:, :6], pixel_size_angst=2.0)
    Path("cut.mrcs").write_bytes(Path("a.mrcs").read_bytes()[:-10])

    def message(*names):
        write_particles("set.star", names)
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            find_particles("set.star")
        return str(caught.value)

    text = message("1@a.mrcs", "1@Extract/no.mrcs", "2@Extract/no.mrcs")
    assert "1 of 2 image stacks do not exist: Extract/no.mrcs; relative paths" in text
    assert str(tmp_path) in text
    text = message("1@a.mrcs", "5@a.mrcs", "3@a.mrcs", "9@a.mrcs")
    assert "2 rows name images that do not exist; the first is row 2 with image 5 of a.mrcs" in text
    assert "which has 4: the stack and the STAR file do not belong together" in text
    assert 'row 2 names its image "0@a.mrcs"; it must be a number from 1' in message(
        "1@a.mrcs", "0@a.mrcs"
    )
    assert 'row 1 names its image "x@a.mrcs"' in message("x@a.mrcs")
    assert "image stack cut.mrcs is truncated" in message("1@a.mrcs", "1@cut.mrcs")
    text = message("1@a.mrcs", "1@big.mrcs")
    assert "one box size, but there are 2: 8 px in a.mrcs; 10 px in big.mrcs" in text
    assert "must be square, but those of flat.mrcs have 8 x 6 px" in message("1@flat.mrcs")
    with pytest.raises(FileNotFoundError, match=r"particle file no\.star does not exist"):
        find_particles("no.star")
    with pytest.raises(IsADirectoryError, match=r"is a folder: name a STAR file or stack in it"):
        find_particles(".")
    write_particles("set.star", ["1@a.mrcs"])
    with pytest.raises(ValueError, match="needs rlnDefocusU"):
        open_plain("set.star", Preprocessing(ctf="phase_flip"))
    with pytest.raises(ValueError, match='cache must be "none", "memory" or "disk"'):
        open_plain("set.star", cache="ram")


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_unusable_images_are_set_aside_and_the_run_goes_on(tmp_path, cache):
    images = noise(12)
    images[2, 3, 3] = np.nan
    images[5, 0, 0] = np.inf
    images[7] = 4.0
    outside = np.hypot(*np.mgrid[-4:4, -4:4]) > 3
    images[9][outside] = 1.0
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=1.0)
    settings = Preprocessing(normalise_background=True)
    table, source = open_plain(
        tmp_path / "a.mrcs",
        settings,
        cache=cache,
        cache_bytes=1 << 20,
        cache_path=tmp_path / "run" / "scratch",
    )
    good = [0, 1, 3, 4, 6, 8, 10, 11]
    first_rows, first = collect(source, range(12), 5)
    again_rows, again = collect(source, range(12), 4)
    np.testing.assert_array_equal(first_rows, good)
    np.testing.assert_array_equal(again_rows, good)
    np.testing.assert_array_equal(first, again)
    expected = [(2, NOT_FINITE), (5, NOT_FINITE), (7, CONSTANT), (9, CONSTANT_BACKGROUND)]
    assert source.quarantine.items() == tuple(expected)
    frame = quarantine_frame(table, source.quarantine.items())
    assert frame["rlnImageId"].tolist() == [3, 6, 8, 10]
    assert frame["rlnImageName"][0].startswith("000003@")
    with pytest.raises(ValueError, match="none of the 12 particles can be used; most often becau"):
        quarantine_frame(table, [(row, CONSTANT) for row in range(12)])
    source.close()


@pytest.mark.parametrize("cache_images", [0, 1, 7, 10, 100])
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_caches_change_nothing(tmp_path, cache_images, kind, monkeypatch):
    images = noise(23, box=10)
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=1.0)
    from cryoralib_plugin.particles import cache as module

    monkeypatch.setattr(module, "_BLOCK_BYTES", 4 * 8 * 8 * 4)
    _, plain = open_plain(tmp_path / "a.mrcs", Preprocessing(downsample_box_px=8))
    _, cached = open_plain(
        tmp_path / "a.mrcs",
        Preprocessing(downsample_box_px=8),
        cache=kind,
        cache_bytes=cache_images * 4 * 8 * 8,
        cache_path=tmp_path / "scratch",
    )
    rng = np.random.default_rng(0)
    for batch_size in (1, 5, 23):
        for order in (np.arange(23), rng.permutation(23), np.arange(22, -1, -2)):
            expected = collect(plain, order, batch_size)
            result = collect(cached, order, batch_size)
            np.testing.assert_array_equal(expected[0], result[0])
            np.testing.assert_array_equal(expected[1], result[1])
    cached.close()


def test_a_cached_image_is_not_read_again_and_cannot_be_spoilt(tmp_path):
    write_stack(tmp_path / "a.mrcs", noise(6), pixel_size_angst=1.0)
    _, source = open_plain(tmp_path / "a.mrcs", cache="memory", cache_bytes=1 << 20)
    _, first = collect(source, range(6), 6)
    (tmp_path / "a.mrcs").unlink()
    for _, images in source.batches(np.arange(6), 6):
        np.testing.assert_array_equal(images, first)
        with pytest.raises(ValueError, match="read-only"):
            images[0] = 0


def test_a_full_disk_only_ends_the_disk_cache(tmp_path):
    write_stack(tmp_path / "a.mrcs", noise(40, box=32), pixel_size_angst=1.0)
    code = f"""
        import resource, sys, logging
        logging.basicConfig()
        sys.path.insert(0, {str(REPOSITORY)!r})
        import numpy as np
        from cryoralib_plugin.particles.opening import find_particles, make_source
        from cryoralib_plugin.particles.preprocess import Preprocessing
        found = find_particles({str(tmp_path / "a.mrcs")!r})
        _, source = make_source(*found, Preprocessing(), cache="disk",
                                cache_path={str(tmp_path / "scratch")!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        for repeat in range(2):
            images = np.concatenate([x for _, x in source.batches(np.arange(40), 8)])
            assert np.array_equal(images, found[1].read(np.arange(40)))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "cannot write scratch" in ended.stderr
    assert "the remaining images are read again in every iteration" in ended.stderr
    assert not (tmp_path / "scratch").exists()


def test_a_stack_larger_than_the_address_space_streams(tmp_path):
    """A sparse stack of 6 GiB is read through in a process of 2 GiB, its last images as well."""
    box, n = 512, 6144
    write_stack(tmp_path / "a.mrcs", np.ones((1, box, box)), pixel_size_angst=1.0)
    with open(tmp_path / "a.mrcs", "r+b") as file:
        file.seek(8)
        file.write(np.int32(n).tobytes())
        file.truncate(1024 + n * box * box * 4)
        file.seek(1024 + (n - 2) * box * box * 4)
        file.write(noise(2, box=box).tobytes())
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(REPOSITORY)!r})
        import numpy as np
        from cryoralib_plugin.particles.opening import find_particles, make_source
        from cryoralib_plugin.particles.preprocess import Preprocessing
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        found = find_particles({str(tmp_path / "a.mrcs")!r})
        settings = Preprocessing(downsample_box_px=32)
        _, source = make_source(*found, settings, cache="memory", cache_bytes=1 << 28)
        rows = np.r_[0:300, {n} - 2, {n} - 1]
        read = [rows for rows, _ in source.batches(rows, 64)]
        print(np.concatenate(read).tolist(), len(source.quarantine))
    """
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == f"[{n - 2}, {n - 1}] 300"


def test_leaving_a_pass_early_and_errors_in_the_reader(tmp_path):
    write_stack(tmp_path / "a.mrcs", noise(50), pixel_size_angst=1.0)
    _, source = open_plain(tmp_path / "a.mrcs")
    for rows, _ in source.batches(np.arange(50), 4):
        assert rows[0] == 0
        break
    (tmp_path / "a.mrcs").write_bytes((tmp_path / "a.mrcs").read_bytes()[:3000])
    with pytest.raises(OSError, match="ended while it was read: has it changed"):
        collect(source, range(50))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        next(source.batches(np.arange(5), 0))


def test_batches_go_to_the_device(tmp_path):
    class Device:
        def to_device(self, images):
            return ("device", images)

    images = noise(5)
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=1.0)
    for source in (open_plain(tmp_path / "a.mrcs")[1], ArraySource(images)):
        places = [place for _, (place, _) in source.batches(np.arange(5), 2, Device())]
        assert places == ["device"] * 3


def test_an_array_is_a_source_too():
    images = noise(5)
    source = ArraySource(images, 2.5)
    assert (source.n_particles, source.box_size_px, source.pixel_size_angst) == (5, 8, 2.5)
    rows, read = collect(source, [4, 0, 2], 2)
    np.testing.assert_array_equal(read, images[rows])
    with pytest.raises(ValueError, match="images must be"):
        ArraySource(images[:, :4])


def test_ten_thousand_stacks_are_checked_in_seconds(tmp_path, monkeypatch):
    """Scaled down to 2,000 stacks: one header read each, whatever the number of particles."""
    from cryoralib_plugin.particles import catalogue as module

    write_stack(tmp_path / "a.mrcs", noise(50), pixel_size_angst=1.0)
    for number in range(2000):
        (tmp_path / f"{number}.mrcs").symlink_to(tmp_path / "a.mrcs")
    names = [f"{i + 1}@{number}.mrcs" for number in range(2000) for i in range(50)]
    count = 0
    real = module.read_stack_header

    def counted(path):
        nonlocal count
        count += 1
        return real(path)

    monkeypatch.setattr(module, "read_stack_header", counted)
    catalogue = module.StackCatalogue.open(names, tmp_path)
    assert count == 2000
    assert len(catalogue) == 100_000
