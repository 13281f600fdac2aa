# SPDX-License-Identifier: GPL-3.0-or-later
"""Which averages of a gallery are chosen, in what order and on what page: the window's memory."""

from __future__ import annotations

from matplotlib.figure import Figure

from cryoralib_plugin import figures
from cryoralib_plugin.figures import GalleryPage

from .shown import Shown


class GallerySelection:
    """Chosen classes of a gallery; changes by clicks, draws itself as a figure."""

    def __init__(self, shown: Shown, sort_by: str = "size"):
        self.shown = shown
        self.sort_by = sort_by
        self.page = 0
        self.chosen: set[int] = set()

    @property
    def n_pages(self) -> int:
        """How many pages hold all classes."""
        return figures.n_pages(len(self.shown.results.classes))

    def turn(self, step: int) -> None:
        """Go some pages on or back, as far as there are any."""
        self.page = min(max(self.page + step, 0), self.n_pages - 1)

    def sort(self, sort_by: str) -> None:
        """Show the best classes by another measure, from the first page."""
        self.sort_by, self.page = sort_by, 0

    def toggle(self, number: int) -> bool:
        """Choose a class or give it up; True if it is chosen now."""
        if number in self.chosen:
            self.chosen.remove(number)
        elif number in self.shown.selectable:
            self.chosen.add(number)
        return number in self.chosen

    def choose_all(self) -> None:
        """Choose every class of all pages."""
        self.chosen = set(self.shown.selectable)

    def choose_none(self) -> None:
        """Give up all classes."""
        self.chosen.clear()

    def invert(self) -> None:
        """Choose what is not chosen."""
        self.chosen = set(self.shown.selectable) - self.chosen

    def words(self) -> str:
        """How much is chosen, for the status line."""
        classes = self.shown.results.classes
        if self.shown.items is None:
            return "Selecting needs the outputs, which the run makes after its last iteration."
        if not self.chosen:
            return "Click on averages to select them."
        text = f"{len(self.chosen)} of {len(classes)} selected"
        total = int(classes.n_members.sum())
        if total == 0:
            return text
        chosen = [int(number) in self.chosen for number in classes.number]
        members = int(classes.n_members[chosen].sum())
        return f"{text}: {members:,} particles ({100 * members / total:.1f} %)"

    def figure(self) -> Figure:
        """Draw the present page."""
        results = self.shown.results
        if results.averages is None:
            return figures.figure_in_words(
                "These classes have no average images.", title=self.shown.title
            )
        return figures.class_gallery(
            results.averages,
            results.classes,
            pixel_size_angst=results.pixel_size_angst,
            radius_px=results.outer_radius_px,
            view=GalleryPage(
                sort_by=self.sort_by,
                page=self.page,
                selected=frozenset(self.chosen),
                note=self.shown.note,
            ),
        )
