# SPDX-License-Identifier: GPL-3.0-or-later
"""Small documents of a run, CSV and JSON, read as empty where they are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pandas as pd


def read_csv(path: Path) -> pd.DataFrame:
    """Return the table, or an empty frame where the file is missing or empty."""
    return pd.read_csv(path) if path.is_file() and path.stat().st_size else pd.DataFrame()


def read_json(path: Path) -> Dict[str, Any]:
    """Return the object, or an empty dict where the file is missing or holds no object."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
