# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that stands in for a GPU is strict: it finds what would go wrong on a device."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.host_cuda import host_cupy
from tests.kernels.host_cuda.compiler import compile_kernel, has_compiler
from tests.kernels.host_cuda.host_cupy import make_module, on_device

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no g++")

REVERSE = """
__global__ void reverse(const float* in, float* out, int n) {
    __shared__ float kept[64];
    kept[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = kept[n - 1 - threadIdx.x];
}
"""
WARP_SUM = """
__global__ void warp_sum(const int* in, int* out) {
    int value = in[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    out[threadIdx.x] = value;
}
"""
BEYOND = "__global__ void beyond(float* out, int n) { out[n] = 1.0f; }"
UNWRITTEN = """
template <int N> __global__ void unwritten(float* out, int* more) {
    __shared__ float kept[N];
    __shared__ int number;
    out[blockIdx.x] = kept[N - 1];
    more[blockIdx.x] = number;
    kept[N - 1] = 3.0f;
    number = 4;
}
"""
DIVERGENT = """
__global__ void running_total(const int* in, int* out, int n) {
    __shared__ int total;
    for (int i = 0; i < n; ++i) {
        if (threadIdx.x == i) total = (i ? total : 0) + in[i];
        __syncthreads();
    }
    out[threadIdx.x] = total;
}
"""


def _compiled(text: str, name: str):
    return compile_kernel(text, (), name)


def test_a_barrier_makes_the_threads_meet():
    values = on_device(np.arange(48, dtype=np.float32))
    reversed_values = on_device(np.zeros(48, np.float32))
    _compiled(REVERSE, "reverse")((1,), (48,), (values, reversed_values, np.int32(48)))
    np.testing.assert_array_equal(reversed_values.get(), values.get()[::-1])


def test_threads_take_turns_at_every_barrier():
    values, totals = on_device(np.arange(40, dtype=np.int32)), on_device(np.zeros(40, np.int32))
    _compiled(DIVERGENT, "running_total")((1,), (40,), (values, totals, np.int32(40)))
    np.testing.assert_array_equal(totals.get(), np.full(40, 780))


def test_a_missing_barrier_is_found():
    values, out = on_device(np.arange(48, dtype=np.float32)), on_device(np.zeros(48, np.float32))
    broken = _compiled(REVERSE.replace("__syncthreads();", ""), "reverse")
    with pytest.raises(AssertionError, match="argument 1 depends on the order of threads"):
        broken((1,), (48,), (values, out, np.int32(48)))


def test_lanes_of_a_warp_exchange_values():
    values, sums = on_device(np.arange(64, dtype=np.int32)), on_device(np.zeros(64, np.int32))
    _compiled(WARP_SUM, "warp_sum")((1,), (64,), (values, sums))
    np.testing.assert_array_equal(sums.get(), np.repeat([496, 1520], 32))


def test_a_write_beyond_an_array_is_found():
    out = on_device(np.zeros(5, np.float32))
    with pytest.raises(AssertionError, match="writes beyond argument 0"):
        _compiled(BEYOND, "beyond")((1,), (1,), (out, np.int32(5)))


def test_shared_memory_begins_spoilt():
    out, more = on_device(np.zeros(3, np.float32)), on_device(np.zeros(3, np.int32))
    _compiled(UNWRITTEN, "unwritten<8>")((3,), (1,), (out, more))
    assert np.isnan(out.get()).all()
    np.testing.assert_array_equal(more.get(), [-1, -1, -1])


def test_arguments_are_held_against_the_signature():
    values, out = on_device(np.zeros(4, np.float32)), on_device(np.zeros(4, np.float32))
    reverse = _compiled(REVERSE, "reverse")
    with pytest.raises(TypeError, match="'pf4', 'pf4', 'i4'.*'pf4', 'pf4', 'i8'"):
        reverse((1,), (4,), (values, out, np.int64(4)))
    with pytest.raises(TypeError, match="'pf8'"):
        reverse((1,), (4,), (values, out.astype(np.float64), np.int32(4)))
    with pytest.raises(TypeError, match="device arrays only"):
        reverse((1,), (4,), (np.zeros(4, np.float32), out, np.int32(4)))
    with pytest.raises(ValueError, match="contiguous"):
        reverse((1,), (2,), (values[::2], out, np.int32(2)))


def test_limits_of_a_device_are_kept():
    values, out = on_device(np.zeros(4, np.float32)), on_device(np.zeros(4, np.float32))
    reverse = _compiled(REVERSE, "reverse")
    with pytest.raises(ValueError, match="block"):
        reverse((1,), (1025,), (values, out, np.int32(4)))
    with pytest.raises(ValueError, match="grid"):
        reverse((1, 65536), (1,), (values, out, np.int32(4)))
    with pytest.raises(ValueError, match="shared memory"):
        reverse((1,), (4,), (values, out, np.int32(4)), shared_mem=50_000)


def test_cupy_has_all_that_its_stand_in_offers():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed: the stand-in is unchecked")
    missing = [name for name in host_cupy._FUNCTIONS + host_cupy._TYPES if not hasattr(cupy, name)]
    missing += [name for name in host_cupy._FFT_FUNCTIONS if not hasattr(cupy.fft, name)]
    assert not missing
    assert cupy.asnumpy and cupy.RawModule and cupy.get_default_memory_pool
    assert cupy.cuda.memory.OutOfMemoryError and cupy.cuda.runtime.memGetInfo


def test_host_and_device_arrays_do_not_mix():
    cupy = make_module()
    there, here = cupy.zeros(3), np.zeros(3)
    with pytest.raises(TypeError, match="CuPy refuses"):
        there + here
    with pytest.raises(TypeError, match="CuPy refuses"):
        cupy.concatenate([there, here])
    assert not hasattr(cupy, "trapz")
    assert hasattr(cupy.stack([there, there]).sum(axis=0), "__cuda_array_interface__")
