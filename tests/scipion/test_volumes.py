# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of Scipion reach the engine with the pixel size that Scipion knows."""

import shutil
import tempfile
import unittest
from pathlib import Path

import mrcfile
import numpy as np
from pwem.objects import Volume

from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.refine3d.input_maps import SAME_VOXEL
from cryoralib_plugin.scipion.volumes import write_map


class TestVolumes(unittest.TestCase):
    def test_pixel_sizes_are_scipions_and_never_pass_for_none(self):
        # The header says nothing; to the engine, 1 Angstrom says nothing either.
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        mrcfile.write(folder / "map.mrc", np.zeros((8, 8, 8), np.float32))
        for rate in (1.0, 1.34):
            volume = Volume(location=str(folder / "map.mrc"))
            volume.setSamplingRate(rate)
            write_map(volume, folder / "given.mrc")
            voxel_size = read_mrc(folder / "given.mrc")[1]
            self.assertNotEqual(voxel_size, 1.0)
            self.assertLess(abs(voxel_size / rate - 1.0), 0.5 * SAME_VOXEL)
