"""Molecular dynamics with the stand-in's potentials, which the examples and benchmarks draw configurations from."""

import numpy as np
import pytest
from ase.spacegroup import crystal

from aiida_slhmc.standin.potential import SPECIES, VARIANTS, md_frames


@pytest.mark.parametrize(("ensemble", "moves"), [("nvt", False), ("npt", True)])
def test_frames_of_molecular_dynamics(tmp_path, ensemble, moves):
    """The last frames of the run, in the order of the start's atoms; the cell moves with a barostat only."""
    start = crystal(SPECIES, [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])
    settings = {"temperature": 300, "n_frames": 3, "steps_per_frame": 20, "ensemble": ensemble}
    frames = md_frames(start, VARIANTS["matsui_akaogi"], tmp_path / "md", **settings)
    assert [frame.get_chemical_symbols() for frame in frames] == [start.get_chemical_symbols()] * 3
    for first, second in zip([start, *frames], frames, strict=False):
        largest = np.abs(second.get_scaled_positions(wrap=False) - first.get_scaled_positions(wrap=False)).max()
        assert 1e-4 < largest < 0.2, "atoms move, and stay near their sites"
    lengths = np.array([frame.cell.lengths() for frame in frames])
    assert np.allclose(lengths, start.cell.lengths(), atol=1e-6) != moves
