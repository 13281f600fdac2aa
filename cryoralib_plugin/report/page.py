# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page: pictures embedded, no script, no network, printable."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cryoralib_plugin.figures import History

from .collect import RunRecord

MOST_QUARANTINED = 200

Drawn = Tuple[str, str, str, Figure]
"""Name of a picture's file, its title, how to read it, and the figure."""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1240px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.2em; margin-top: 2em;
     border-bottom: 1px solid #ccc; } h3 { font-size: 1em; }
figure { margin: 1em 0; } figure img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .92em; max-width: 60em; }
.pair { display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start; }
.pair figure { flex: 1 1 420px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #e2e2e2; }
th { background: #f4f4f4; } td.word, th.word { text-align: left; }
tr.dead td { color: #a33; }
.state { display: inline-block; padding: .1em .7em; border: 2px solid; border-radius: 1em; }
.finished { color: #00664b; } .failed { color: #a03c00; } .running { color: #00507f; }
@media print { body { max-width: none; } figure, tr { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Picture:
    """A saved figure: PNG bytes, the name of its file, what it shows and how to read it."""

    name: str
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Content:
    """What the page of a run shows beside what all pages do.

    Attributes
    ----------
    summary
        Rows of two words: what, and how much.
    sections
        Heading and figures of each section, in order.
    classes
        Table of the classes, its heading first; empty where there are none.
    notes
        Sentences below the summary.
    """

    title: str
    summary: Sequence[Sequence[str]]
    sections: Sequence[Tuple[str, Sequence[Drawn]]]
    classes: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


def report_page(
    record: RunRecord, content: Content, pictures: Sequence[Tuple[str, Sequence[Picture]]]
) -> str:
    """Return the whole page.

    Parameters
    ----------
    pictures
        Heading and saved pictures of each section, in order.
    """
    title = content.title
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(str(record.run_dir.resolve()))}</p>"]
    parts += [_state(record.status), _table(content.summary, header=False)]
    parts += [f"<p>{escape(note)}</p>" for note in content.notes]
    for heading, shown in pictures:
        parts.append(f"<h2>{escape(heading)}</h2>")
        # Wide pictures stand alone; two small ones share a line.
        parts.append('<div class="pair">' + "".join(map(_figure, shown)) + "</div>")
    if record.iteration is not None:
        table = _table(content.classes) if content.classes else "<p>This run has no classes.</p>"
        parts += ["<h2>Classes</h2>", table]
    parts += ["<h2>Figures of merit of every iteration</h2>", _metrics_table(record.metrics)]
    parts += ["<h2>Quarantined particles</h2>", _quarantine(record.quarantine)]
    parts += ["<h2>Parameters</h2>", _parameters(record.config)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def box_words(box_size_px: int, pixel_size_angst: float) -> str:
    """Return box and pixel size in words."""
    return f"{box_size_px} px of {pixel_size_angst:.4g} Å ({box_size_px * pixel_size_angst:.0f} Å)"


def time_rows(history: History, name: str) -> List[List[str]]:
    """Return a row with the seconds of all iterations together; none where not recorded."""
    seconds = sum(float(np.nansum(column)) for column in history.phase_seconds.values())
    total = history.columns.get("seconds_total")
    seconds = float(np.nansum(total)) if total is not None else seconds
    return [[name, _duration(seconds)]] if seconds > 0 else []


def _state(status: Mapping[str, Any]) -> str:
    state = str(status.get("state", "")) or "unknown: status.json is missing"
    words = str(status.get("message") or "")
    css = state if state in ("finished", "failed", "running") else "running"
    version = f" Version {status['version']}." if status.get("version") else ""
    return (
        f'<p><span class="state {css}">{escape(state)}</span> {escape(words)}{escape(version)}</p>'
    )


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<figure><img alt="{escape(picture.title)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(picture.caption)} ({escape(picture.name)})</figcaption></figure>"
    )


def _metrics_table(metrics: pd.DataFrame) -> str:
    if metrics.empty:
        return "<p>No iteration has finished yet.</p>"
    rows = [[str(name).replace("_", " ") for name in metrics]]
    rows += [[number_words(value) for value in row] for row in metrics.itertuples(index=False)]
    return _table(rows)


def _quarantine(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "<p>None: every particle took part.</p>"
    shown = frame.head(MOST_QUARANTINED)
    counts = frame["reason"].value_counts() if "reason" in frame else pd.Series(dtype=int)
    words = "; ".join(f"{count:,} × {reason}" for reason, count in counts.head(20).items())
    text = f"{len(frame):,} particles took no part. {words}."
    if len(frame) > len(shown):
        text += f" The first {len(shown)} are listed; all are in quarantine.csv."
    rows = [[str(name) for name in frame]]
    rows += [[str(value) for value in row] for row in shown.itertuples(index=False)]
    return f"<p>{escape(text)}</p>" + _table(rows)


def _parameters(config: Mapping[str, Any]) -> str:
    if not config:
        return "<p>config.json is missing.</p>"
    rows: List[List[str]] = []
    for group, values in config.items():
        flat: Dict[str, Any] = values if isinstance(values, dict) else {"": values}
        for name, value in flat.items():
            rows.append([" . ".join(filter(None, (str(group), str(name)))), str(value)])
    return _table(rows, header=False)


def _table(rows: Sequence[Sequence[str]], *, header: bool = True) -> str:
    """An HTML table; under a heading numbers stand right, in a list of names all stands left."""
    lines = []
    for place, row in enumerate(rows):
        tag = "th" if header and place == 0 else "td"
        cells = "".join(f"<{tag}{_css(cell, header)}>{escape(cell)}</{tag}>" for cell in row)
        dead = ' class="dead"' if row[-1] == "dead" else ""
        lines.append(f"<tr{dead}>{cells}</tr>")
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def _css(cell: str, in_columns: bool) -> str:
    is_number = cell.replace(",", "").replace(".", "").replace("-", "").replace("e", "").isdigit()
    return "" if in_columns and (is_number or cell == "–") else ' class="word"'


def number_words(value: Any) -> str:
    """Return a number for readers: whole, or four significant digits; a dash where unknown."""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        return str(value)
    if not np.isfinite(value):
        return "–"
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
