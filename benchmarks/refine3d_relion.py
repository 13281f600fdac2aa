# SPDX-License-Identifier: GPL-3.0-or-later
"""With RELION (S3): its images refined by us, our poses reconstructed and refined further by it.

    python benchmarks/refine3d_relion.py [--particles 1000]

Needs relion_project, relion_reconstruct and relion_refine on the PATH (Debian's package `relion`).
The images are relion_project's, with CTF and its own white noise.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._refine3d import (
    Verdicts,
    arguments,
    errors,
    folder_of,
    gauge_of,
    inserted,
    particles_of,
    poses_of,
    refine,
    simulated,
    with_true_map,
)
from cryoralib_plugin.fourier.fsc import fsc, last_shell_above
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.fourier.reconstruction import reconstruct
from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.star import read_star, write_star

BOX, PIXEL, DIAMETER = 64, 4.0, 150
KNOWN = {"symmetry": "C1", "particle_diameter_angst": DIAMETER + 20, "shift_std_px": 2}
NOISE_OVER_SIGNAL = 2.0


def relion(name: str, folder: Path, *words: object) -> None:
    """Run one of RELION's programs in a folder."""
    command = [f"relion_{name}", *map(str, words)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{ended.stderr[-3000:]}")


def relions_images(folder: Path, n: int) -> Path:
    """Simulate with relion_project; return the folder with particles.star and truth.star."""
    ours = simulated(
        folder / "ours", n_particles=n, box_size_px=BOX, pixel_size_angst=PIXEL, snr=1,
        object_diameter_angst=DIAMETER, blob_sigma_angst=4, shift_max_px=3, bfactor_angst2=0,
    )  # fmt: skip
    if not (ours / "theirs.mrcs").is_file():
        words = ("--i", "phantom.mrc", "--ang", "truth.star", "--ctf", "--angpix", PIXEL)
        relion("project", ours, *words, "--o", "clean")
        sigma = NOISE_OVER_SIGNAL * read_mrc(ours / "clean.mrcs")[0].std()
        relion("project", ours, *words, "--o", "theirs", "--add_noise", "--white_noise", sigma)
    for name in ("particles", "truth"):
        blocks = read_star(ours / f"{name}.star")
        blocks["particles"]["rlnImageName"] = [f"{i + 1:06d}@theirs.mrcs" for i in range(n)]
        write_star(ours / f"theirs_{name}.star", blocks)
    return ours


def main() -> int:
    """Simulate, refine and compare with RELION both ways."""
    parser = arguments(__doc__)
    parser.add_argument("--particles", type=int, default=1000)
    given = parser.parse_args()
    if shutil.which("relion_project") is None:
        parser.error("there is no RELION on the PATH; Debian's package is called relion")
    folder, verdicts = folder_of(given), Verdicts()
    images = relions_images(folder, given.particles)
    run = refine(
        images / "run", given, particles_file=images / "theirs_particles.star",
        reference_file=images / "phantom.mrc", initial_resolution_angst=40, **KNOWN,
    )  # fmt: skip
    rows = run.particles()
    truth = poses_of(particles_of(images / "theirs_truth.star"))
    found = poses_of(rows)
    cutoff = int(run.metrics.cutoff_px.iloc[-1])
    best = with_true_map(
        images / "with_true_map", given, images / "theirs_truth.star", images / "phantom.mrc",
        initial_resolution_angst=BOX * PIXEL / cutoff, **KNOWN,
    )  # fmt: skip
    free = errors(found, truth, gauge=gauge_of(found, truth))
    least = errors(poses_of(best.particles()), truth)
    verdicts.say("errors on relion_project's images", str(free))
    verdicts.say("errors given the true map", str(least))
    ratio = np.median(free.angle_deg) / np.median(least.angle_deg)
    verdicts.below("median angle over that of the true map", ratio, 1.25)
    _reconstructed(images, run, verdicts)
    _refined_further(images, run, verdicts)
    print(run.metrics.iloc[:, :11].to_string(index=False))
    return verdicts.end(folder)


def _reconstructed(images: Path, run, verdicts: Verdicts) -> None:
    """Compare relion_reconstruct's maps of the exported poses with ours."""
    star = run.paths.data_star(run.last)
    mask = soft_sphere(BOX, 22, 6)
    ours = run.halves()
    reported = last_shell_above(fsc(*ours, mask), 0.143)
    verdicts.say("reported shell", reported)
    rows = run.particles()
    stack, halves = read_mrc(images / "theirs.mrcs")[0], rows["rlnRandomSubset"].to_numpy(int)
    for half, own in zip((1, 2), ours):
        for words in ((), ("--skip_gridding",)):
            name = f"relion_half{half}{'_'.join(words)}.mrc"
            relion("reconstruct", star.parent, "--i", star.name, "--o", name, "--ctf", "--subset",
                   half, *words)  # fmt: skip
            theirs = read_mrc(star.parent / name)[0]
            what = f"lowest FSC with relion_reconstruct {' '.join(words)}, half {half}"
            lowest = float(fsc(own, theirs, mask)[1 : reported + 1].min())
            same = halves == half
            plain = reconstruct(*inserted(stack[same], poses_of(rows)[same], PIXEL, BOX // 2 - 2))
            verdicts.say(what + ", the run's map", lowest)
            lowest = float(fsc(plain, theirs, mask)[1 : reported + 1].min())
            if words:
                verdicts.above(what + ", F / T of the poses", lowest, 0.99)
            else:
                verdicts.say(what + ", F / T of the poses", lowest)


def _refined_further(images: Path, run, verdicts: Verdicts) -> None:
    """Let relion_refine search locally for one iteration: from our poses and map, and, as a
    control of what its sampling and this noise make of them, from the true ones."""
    truth = poses_of(particles_of(images / "theirs_truth.star"))
    star = run.paths.data_star(run.last)
    starts = {
        "ours": (star.parent, star, run.paths.merged_mrc(run.last, 1)),
        "the truth": (images, images / "theirs_truth.star", images / "phantom.mrc"),
    }
    change = {}
    for name, (folder, particles, reference) in starts.items():
        out = folder / "relion_refine"
        out.mkdir(exist_ok=True)
        relion(
            "refine", folder, "--i", particles.name, "--ref", reference.name,
            "--o", "relion_refine/run", "--iter", 1, "--K", 1, "--tau2_fudge", 4, "--ctf",
            "--ctf_corrected_ref",
            "--particle_diameter", KNOWN["particle_diameter_angst"], "--sym", "C1", "--pad", 2,
            "--ini_high", 2.5 * PIXEL, "--norm", "--scale", "--oversampling", 1,
            "--healpix_order", 5, "--sigma_ang", 1, "--offset_range", 2, "--offset_step", 0.5,
            "--dont_check_norm", "--j", 2,
        )  # fmt: skip
        theirs = particles_of(out / "run_it001_data.star")
        given = particles_of(particles).loc[theirs.index]
        moved = angle_between(poses_of(given).rotations, poses_of(theirs).rotations)
        change[name] = float(np.median(moved))
        verdicts.say(f"median change by relion_refine from {name} (deg)", change[name])
        apart = errors(poses_of(theirs), truth[theirs.index.to_numpy()])
        verdicts.say("    errors of its poses", str(apart))
    verdicts.below("median change from ours (deg)", change["ours"], 1.0)


if __name__ == "__main__":
    sys.exit(main())
