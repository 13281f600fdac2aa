# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels: the only code that exists twice, once for the CPU and once for CUDA."""
