# SPDX-License-Identifier: GPL-3.0-or-later
"""What each program that works on particles is put together of; a part of cli.py.

Importing this module imports no program; each is imported when it is asked for, after the
numerical libraries were told their share of the cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from .contract.plan import MemoryPlan, forecast, workload_of
from .contract.plan3d import forecast3d, workload3d_of
from .contract.results import ResultPaths


class Engine(NamedTuple):
    """What a program that works on particles is put together of.

    Attributes
    ----------
    files : class of the files of its run directory.
    check, prepare : of the input, and how images are prepared; take config, table, catalogue.
    plan : takes config, table, source and the sizes of the machine; forecasts memory and time.
    run : takes config, table, source, device, comm and files.
    kernels : folder of the kernels it needs first.
    """

    files: Callable[[ResultPaths], Any]
    check: Callable[..., None]
    prepare: Callable[..., Any]
    plan: Callable[..., MemoryPlan]
    run: Callable[..., Any]
    kernels: str


def align2d() -> Engine:
    """The two programs of alignment in the plane."""
    from .align2d import run
    from .align2d.checks import check_input, preprocessing_of
    from .io.run_files import RunFiles

    return Engine(RunFiles, check_input, preprocessing_of, _plan2d, run, "ring_match")


def refinement() -> Engine:
    """Refinement and classification in 3D."""
    from .io.round_files import RoundFiles
    from .refine3d.checks import check_refinement, preprocessing_of
    from .refine3d.run import run

    return Engine(RoundFiles, check_refinement, preprocessing_of, _plan3d, _with_maps(run), "score")


def reconstruction() -> Engine:
    """A map from known poses."""
    from .contract.reconstruct import as_refinement
    from .io.round_files import RoundFiles
    from .refine3d.checks import check_reconstruction, preprocessing_of
    from .refine3d.reconstruct import run

    def plan(config: Any, *others: Any, **machine: Any) -> MemoryPlan:
        return _plan3d(as_refinement(config), *others, **machine)

    return Engine(
        RoundFiles, check_reconstruction, preprocessing_of, plan, _with_maps(run), "backproject"
    )


def _with_maps(run: Callable[..., Any]) -> Callable[..., Any]:
    """A 3D program that reads its maps before it runs."""
    from .refine3d.read_start import read_start_maps

    def read_and_run(
        config: Any, table: Any, source: Any, device: Any, comm: Any, files: Any
    ) -> Any:
        maps = read_start_maps(config, source, comm)
        return run(config, table, source, device, comm, files, maps)

    return read_and_run


def _plan2d(config: Any, table: Any, source: Any, **machine: Any) -> MemoryPlan:
    return forecast(
        workload_of(
            config,
            n_particles=len(table),
            image_box_px=source.raw_box_size_px,
            n_classes=_number_of_classes(config, table),
            **machine,
        )
    )


def _plan3d(config: Any, table: Any, source: Any, **machine: Any) -> MemoryPlan:
    return forecast3d(
        workload3d_of(
            config,
            n_particles=len(table),
            image_box_px=source.raw_box_size_px,
            pixel_size_angst=table.image_pixel_size_angst,
            **machine,
        )
    )


def _number_of_classes(config: Any, table: Any) -> Optional[int]:
    """Classes of a run where its input decides them; None where the configuration does."""
    if getattr(config.files, "references_file", ""):
        from .io.stack import read_stack_header

        return int(read_stack_header(Path(config.files.references_file)).n_images)
    if getattr(config.files, "within_classes", False):
        return len(set(table.class_numbers.tolist()) - {0})
    return None
