# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the CUDA twin of ring matching has: batches, memory, transforms and barriers."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels import _compile
from cryoralib_plugin.kernels.device import OutOfMemory
from cryoralib_plugin.kernels.ring_match import (
    MatchPlan,
    _cuda_fast,
    cuda,
    match_rings,
    prepare_references,
    shift_grid,
)
from cryoralib_plugin.kernels.ring_match._cuda_tables import DeviceTables
from tests.kernels.host_cuda.compiler import compile_kernel, has_compiler
from tests.kernels.host_cuda.host_cupy import on_device
from tests.reference.blobs import angle_difference_deg, blob_images

FIELDS = ("reference", "mirror", "psi_deg", "shift_px", "score", "reference_scores")


def _case(n: int = 7, **options):
    """Noisy particles, their starting shifts, prepared references and the search."""
    rng = np.random.default_rng(4)
    averages = np.concatenate(
        [blob_images(24, [0.0], [(0, 0)], [0], seed=seed, reach_px=6.0) for seed in range(3)]
    )
    images = averages[np.arange(n) % 3] + rng.normal(scale=0.1, size=(n, 24, 24))
    plan = MatchPlan(RingLayout.from_radii(1, 9), shift_grid(1, 1, 1.0), **options)
    references = prepare_references(averages, plan, normalise=True)
    return images.astype(np.float32), rng.uniform(-2, 2, (n, 2)), references, plan


def _assert_same(found, expected, *, refined: bool = False) -> None:
    # A refined shift stands on float32 heights, so twins agree to their rounding.
    loose = 1e-4 if refined else 1e-9
    for name in ("reference", "mirror"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.shift_px, expected.shift_px, atol=loose)
    assert angle_difference_deg(found.psi_deg, expected.psi_deg).max() < loose
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-6 if refined else 1e-12)
    np.testing.assert_allclose(found.reference_scores, expected.reference_scores, rtol=1e-4)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("per_reference", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_twins_agree(device_backend, refine, per_reference, mirror):
    images, shifts, references, plan = _case(refine_shift=refine, mirror=mirror)
    options = {"per_reference": per_reference}
    there = match_rings(device_backend.put(images), shifts, references, plan, **options)
    here = match_rings(images, shifts, references, plan, **options)
    _assert_same(there, here, refined=refine)


def test_particles_with_ranges_of_their_own_agree(device_backend):
    images, shifts, references, plan = _case()
    ranges = np.array([(0, 3), (1, 2), (0, 3), (2, 3), (1, 2), (0, 1), (0, 2)])
    options = {"candidates": ranges}
    there = match_rings(device_backend.put(images), shifts, references, plan, **options)
    _assert_same(there, match_rings(images, shifts, references, plan, **options))


def test_sparx_numbers(device_backend, shared_data):
    folder = shared_data / "oracle"
    n = 3 if device_backend.name == "cuda_on_host" else 300
    mask = circular_mask(90, 36) > 0
    averages = mrcfile.read(folder / "mra_references_K5.mrcs").astype(float)
    averages -= averages[:, mask].mean(axis=1)[:, None, None]
    images = mrcfile.read(folder / "mra_particles_300.mrcs")[:n]
    table = pd.read_csv(folder / "sparx_mra_K5.csv")[:n]
    plan = MatchPlan(RingLayout.from_radii(1, 36), shift_grid(3, 3, 1.0))
    references = prepare_references(averages, plan, normalise=False)
    found = match_rings(device_backend.put(images), np.zeros((n, 2)), references, plan)
    np.testing.assert_array_equal(found.reference, table.ref)
    np.testing.assert_array_equal(found.mirror, table.mirror)
    np.testing.assert_allclose(found.score, table.peak, rtol=1e-5)
    assert angle_difference_deg(found.psi_deg, -table.ang.to_numpy()).max() < 1e-3


def test_a_full_device_halves_the_batch_and_goes_on(cuda_on_host, monkeypatch, caplog):
    images, shifts, references, plan = _case(refine_shift=True)
    whole = match_rings(cuda_on_host.put(images), shifts, references, plan)
    sizes, spectra = [], cuda.ring_spectra

    def at_most_two(xp: Any, batch: Any, *rest: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise sys.modules["cupy"].cuda.memory.OutOfMemoryError("full")
        return spectra(xp, batch, *rest)

    monkeypatch.setattr(cuda, "ring_spectra", at_most_two)
    with caplog.at_level(logging.INFO):
        parts = match_rings(cuda_on_host.put(images), shifts, references, plan)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "going on with 3 particles at a time" in caplog.text
    for name in FIELDS:
        found, expected = getattr(parts, name), getattr(whole, name)
        if found.dtype.kind == "f":
            # The matrix product rounds as it likes for another number of rows.
            np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, expected)


def test_batches_of_one_search_share_its_constants(cuda_on_host, monkeypatch):
    images, shifts, references, plan = _case()
    built, build = [], DeviceTables.build
    monkeypatch.setattr(
        DeviceTables, "build", lambda *arguments: built.append(1) or build(*arguments)
    )
    there = cuda_on_host.put(images)
    for rows in (slice(0, 3), slice(3, 7)):
        match_rings(there[rows], shifts[rows], references, plan)
    assert len(built) == 1
    _, _, other, plan = _case()
    match_rings(there, shifts, other, plan)
    assert len(built) == 2


def test_no_room_for_one_particle_is_said(cuda_on_host, monkeypatch):
    images, shifts, references, plan = _case()

    def never(*arguments: Any) -> Any:
        raise sys.modules["cupy"].cuda.memory.OutOfMemoryError("full")

    monkeypatch.setattr(cuda, "ring_spectra", never)
    with pytest.raises(OutOfMemory, match="single particle with 3 references at 9 shifts"):
        match_rings(cuda_on_host.put(images), shifts, references, plan)


def test_small_memory_makes_small_batches(cuda_on_host, monkeypatch):
    images, shifts, references, plan = _case()
    whole = match_rings(cuda_on_host.put(images), shifts, references, plan)
    room = 2.6 * _cuda_fast.bytes_per_particle(references, plan, 3)
    runtime = sys.modules["cupy"].cuda.runtime
    monkeypatch.setattr(runtime, "memGetInfo", lambda: (int(room / 0.8), 2**40))
    sizes, spectra = [], cuda.ring_spectra
    monkeypatch.setattr(
        cuda,
        "ring_spectra",
        lambda xp, batch, *rest: sizes.append(len(batch)) or spectra(xp, batch, *rest),
    )
    parts = match_rings(cuda_on_host.put(images), shifts, references, plan)
    assert sizes == [2, 2, 2, 1]
    np.testing.assert_array_equal(parts.score, whole.score)


class _Counting:
    """An array module that adds up the bytes of the arrays it makes."""

    def __init__(self, module: Any) -> None:
        self._module, self.bytes = module, 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if name not in ("empty", "where", "zeros"):
            return function

        def counted(*arguments: Any, **options: Any) -> Any:
            made = function(*arguments, **options)
            self.bytes += made.nbytes
            return made

        return counted


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_the_memory_plan_is_what_a_batch_takes(cuda_on_host, reach):
    images, shifts, references, plan = _case(n=6)
    plan = MatchPlan(plan.rings, shift_grid(reach, reach, 1.0))
    xp = _Counting(sys.modules["cupy"])
    tables = DeviceTables.build(sys.modules["cupy"], references, plan)
    there = cuda_on_host.put(images)
    search = cuda._BatchSearch(xp, there, shifts / 2, references, plan, tables, (0, 3))
    candidates = search._heights.nbytes // 2 * 1.25
    planned = len(images) * _cuda_fast.bytes_per_particle(references, plan, 3)
    assert planned == pytest.approx(xp.bytes + candidates, rel=0.15)


def test_rings_beyond_shared_memory_are_refused(cuda_on_host):
    plan = MatchPlan(RingLayout.from_radii(324, 330, 3), shift_grid(0, 0, 1.0))
    images = np.random.default_rng(0).normal(size=(1, 664, 664)).astype(np.float32)
    references = prepare_references(images, plan, normalise=True)
    with pytest.raises(ValueError, match="at most 325 px, but it is 330 px.*use the CPU backend"):
        match_rings(cuda_on_host.put(images), np.zeros((1, 2)), references, plan)


TRANSFORM = """
#include "fft.cuh"
template <int LENGTH, int SIGN>
__global__ void transform(const float2* in, const float2* turns, float2* out) {
    __shared__ float2 room[Transform<LENGTH>::STRIDE];
    float2 values[4];
    for (int q = 0; q < 4; ++q) values[q] = in[threadIdx.x + q * LENGTH / 4];
    fourier_transform<LENGTH, SIGN>(values, room, threadIdx.x, turns);
    for (int q = 0; q < 4; ++q) out[threadIdx.x + q * LENGTH / 4] = values[q];
}
"""


@pytest.mark.skipif(not has_compiler(), reason="no g++")
@pytest.mark.parametrize("length", [8, 16, 32, 64, 128, 256, 512, 1024, 2048])
def test_transforms_of_every_length(length):
    rng = np.random.default_rng(length)
    values = (rng.normal(size=(length, 2)) @ [1.0, 1.0j]).astype(np.complex64)
    turns = np.exp(2j * np.pi * np.arange(length) / length).astype(np.complex64)
    for sign, truth in ((-1, np.fft.fft(values)), (1, np.fft.ifft(values) * length)):
        out = on_device(np.zeros(length, np.complex64))
        launch = compile_kernel(
            TRANSFORM, (_compile.include_folder(),), f"transform<{length}, {sign}>"
        )
        launch((1,), (length // 4,), (on_device(values), on_device(turns), out))
        np.testing.assert_allclose(out.get(), truth, atol=2e-6 * np.abs(truth).max())


def _barriers() -> list[tuple[str, int]]:
    """Every barrier of every kernel, as file and number within it."""
    kernels = Path(_compile.include_folder()).parent
    found = []
    for path in sorted([*kernels.glob("*/*.cu"), *kernels.glob("*/*.cuh")]):
        count = path.read_text(encoding="utf-8").count("__syncthreads();")
        found += [(path.name, number) for number in range(count)]
    return found


def _without_barrier(text: str, number: int) -> str:
    parts = text.split("__syncthreads();")
    return (
        "__syncthreads();".join(parts[: number + 1])
        + ";"
        + "__syncthreads();".join(parts[number + 1 :])
    )


@pytest.mark.parametrize(("file", "number"), _barriers())
def test_no_barrier_can_be_left_out(cuda_on_host, monkeypatch, tmp_path, file, number):
    folder = Path(shutil.copytree(_compile.include_folder(), tmp_path / "_cuda"))
    header = folder / file
    if header.exists():
        header.write_text(_without_barrier(header.read_text(encoding="utf-8"), number))
    source_text = _compile.source_text

    def mutated(package: str, name: str) -> str:
        text = source_text(package, name)
        return _without_barrier(text, number) if f"{name}.cu" == file else text

    monkeypatch.setattr(_compile, "include_folder", lambda: str(folder))
    monkeypatch.setattr(_compile, "source_text", mutated)
    images, shifts, references, plan = _case(n=1, refine_shift=True)
    with pytest.raises(AssertionError, match="depends on the order of threads"):
        match_rings(cuda_on_host.put(images), shifts, references, plan)
