# SPDX-License-Identifier: GPL-3.0-or-later
"""Named arrays in an HDF5 file, kept to the last bit: groups of datasets, with single values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

import h5py
import numpy as np


def write_arrays(path: Union[str, Path], groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Write groups of arrays, numbers and words.

    Parameters
    ----------
    path
        Overwritten.
    groups
        Name ("/" for the root of the file) to the members of the group. Arrays become datasets of
        their type; numbers and words become attributes.
    """
    with h5py.File(path, "w") as file:
        for name, members in groups.items():
            group = file.require_group(name)
            for key, value in members.items():
                if isinstance(value, np.ndarray):
                    group.create_dataset(key, data=value)
                else:
                    group.attrs[key] = value


def read_arrays(
    path: Union[str, Path], group: str = "/", *, rows: Optional[np.ndarray] = None
) -> Dict[str, Any]:
    """Return the arrays, numbers and words of one group by name.

    Parameters
    ----------
    rows
        (m,) integers, consecutive: which part of the first axis of every array to read; None
        stands for all of it.

    Raises
    ------
    ValueError
        If the file cannot be read or lacks the group.
    """
    try:
        with h5py.File(path, "r") as file:
            if group not in file:
                raise ValueError(f"{path} lacks the group {group}: another program wrote it")
            part = slice(None)
            if rows is not None:
                part = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
            members = file[group]
            found: Dict[str, Any] = {
                key: item[part] for key, item in members.items() if isinstance(item, h5py.Dataset)
            }
            found.update((key, _plain(value)) for key, value in members.attrs.items())
            return found
    except OSError as error:
        raise ValueError(f"{path} cannot be read as HDF5 ({error}): it is damaged") from error


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
