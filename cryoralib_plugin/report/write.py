# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws all figures of a run, saves them as PNG and binds them into report.html."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Optional, Union

from matplotlib.figure import Figure

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.atomic import write_atomically, write_text_atomically

from .alignment import alignment_content
from .collect import read_record
from .page import Picture, report_page
from .refinement import REFINEMENTS, refinement_content


def write_report(run_dir: Union[str, Path], output_dir: Optional[Union[str, Path]] = None) -> Path:
    """Write PNG pictures and one self-contained page on a run; return the path of the page.

    Parameters
    ----------
    run_dir
        The output_dir of a 2D alignment or a 3D refinement or reconstruction, finished or not.
    output_dir
        Where to write; None means the folder `report` inside the run.

    Raises
    ------
    FileNotFoundError
        If `run_dir` is not a run directory.
    """
    record = read_record(Path(run_dir))
    paths = ResultPaths(run_dir)
    folder = Path(output_dir) if output_dir else paths.report_dir
    folder.mkdir(parents=True, exist_ok=True)
    if record.program in REFINEMENTS:
        content = refinement_content(record, folder)
    else:
        content = alignment_content(record)
    pictures = [
        (heading, [_save(folder, *picture) for picture in drawn])
        for heading, drawn in content.sections
        if drawn
    ]
    page = folder / paths.report_html.name
    write_text_atomically(page, report_page(record, content, pictures))
    return page


def _save(folder: Path, name: str, title: str, caption: str, figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    png = buffer.getvalue()
    write_atomically(folder / f"{name}.png", lambda path: _write_bytes(path, png))
    return Picture(f"{name}.png", title, caption, png)


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
