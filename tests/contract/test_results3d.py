# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a 3D run have the names that its readers, RELION's users among them, look for."""

from __future__ import annotations

from cryoralib_plugin.contract.results import ResultPaths, class_share_column


def test_maps_have_the_names_relion_users_know(tmp_path):
    paths = ResultPaths(tmp_path)
    assert paths.unfiltered_half_mrc(7, 2, 1).name == "run_it007_half2_class001_unfil.mrc"
    assert paths.reference_mrc(7, 1, 3).name == "run_it007_half1_class003.mrc"
    assert paths.merged_mrc(12, 1).name == "run_it012_class001.mrc"
    assert paths.masked_mrc(12, 1).name == "run_it012_class001_masked.mrc"
    assert paths.mask_mrc(12, 2).name == "run_it012_mask_class002.mrc"
    assert class_share_column(2) == "class_share_002"


def test_no_two_files_of_a_round_share_a_name(tmp_path):
    paths = ResultPaths(tmp_path)
    names = [
        getattr(paths, name)(1)
        for name in ("data_star", "fsc_csv", "noise_csv", "cloud_h5", "model_json", "manifest_json")
    ]
    for k in (1, 2):
        names += [paths.merged_mrc(1, k), paths.masked_mrc(1, k), paths.mask_mrc(1, k)]
        for half in (1, 2):
            names += [paths.unfiltered_half_mrc(1, half, k), paths.reference_mrc(1, half, k)]
    assert len(set(names)) == len(names)
