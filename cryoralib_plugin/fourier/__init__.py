# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier transforms of images: filters, shifts, crops, ring correlation, masks and centring."""
