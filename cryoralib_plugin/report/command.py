# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the report program."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Sequence

from .write import write_report

logger = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Write the report of the run that the words name; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cryoralib_plugin report",
        description="Pictures (PNG) and one self-contained HTML page of an MRA or RFA run.",
    )
    parser.add_argument("run_dir", type=Path, help="output folder of the run, finished or not")
    parser.add_argument(
        "--output-dir", type=Path, default=None, help="where to write; RUN_DIR/report by default"
    )
    given = parser.parse_args(list(words))
    logger.info("the report is %s", write_report(given.run_dir, given.output_dir))
    return 0
