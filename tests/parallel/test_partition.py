# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row belongs to exactly one rank, in order and evenly."""

import numpy as np
import pytest

from cryoralib_plugin.parallel.partition import rows_of_rank


@pytest.mark.parametrize("n_rows", [0, 1, 2, 7, 100, 105_247])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_ranks_share_all_rows_evenly_and_in_order(n_rows, size):
    parts = [rows_of_rank(n_rows, rank, size) for rank in range(size)]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(n_rows))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_a_rank_outside_the_group_is_refused():
    with pytest.raises(ValueError, match="rank must lie between 0 and 2, but it is 3"):
        rows_of_rank(10, 3, 3)
