"""Parameters of the analysis: what makes no sense is refused in words."""

from __future__ import annotations

import pytest

from aiida_slhmc.analysis.structure_parameters import StructureParameters

MINIMAL = {"centre": "Ti", "neighbour": "O"}


def test_defaults_are_the_papers():
    parameters = StructureParameters.from_dict(MINIMAL)
    assert parameters.nearest_bin_width == 0.005
    assert parameters.rdf_bin_width == pytest.approx(0.01 * 0.529177, abs=1e-6)
    assert (parameters.block_length, parameters.n_resamples, parameters.n_peak_resamples) == (10, 400, 300)


def test_pairs_by_name():
    parameters = StructureParameters.from_dict(MINIMAL | {"peak_windows": {"O-O": [2.3, 3.2], "Ti-O": [1.6, 2.2]}})
    assert parameters.pairs == {"O-O": ("O", "O"), "Ti-O": ("Ti", "O")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordination_cut": 2.4}, "coordination_cutoff"),
        ({"coordination_cutoff": -1.0}, "coordination_cutoff must be a positive number"),
        ({"nearest_bin_width": None}, "nearest_bin_width must be a positive number"),
        ({"n_short": 4}, "n_short and n_long are given together"),
        ({"replication": [2, 2]}, "replication must be three"),
        ({"replication": [2, 2, 0]}, "replication must be three"),
        ({"block_length": 0}, "block_length must be a whole number of at least 1"),
        ({"n_resamples": 1}, "n_resamples must be a whole number of at least 2"),
        ({"peak_windows": {"TiO": [1.6, 2.2]}}, "written like Ti-O"),
        ({"peak_windows": {"Ti-O": [2.2, 1.6]}}, "window of Ti-O"),
        ({"peak_windows": {"Ti-O": [1.6, 9.0]}}, "up to rdf_r_max"),
        ({"peak_windows": {"Ti-O": 1.6}}, "window of Ti-O"),
        ({"peak_windows": {"Ti-O": [1.6, 1.61]}}, "fewer than 3 bins"),
        ({"peak_windows": {"Ti-": [1.6, 2.2]}}, "written like Ti-O"),
        ({"peak_windows": {"O-Ti": [1.6, 2.2]}}, "as Ti-O, not O-Ti"),
        ({"peak_windows": [1.6, 2.2]}, "peak_windows are written like"),
        ({"rdf_bin_width": 10.0}, "more than rdf_r_max"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": "a"}, "seed must be a whole number"),
        ({"centre": "Xx"}, "centre must be the symbol of an element"),
        ({"neighbour": 5}, "neighbour must be the symbol of an element"),
        ({"replication": 2}, "replication must be three"),
    ],
)
def test_nonsense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        StructureParameters.from_dict(MINIMAL | change)


@pytest.mark.parametrize(
    ("change", "symbols", "message"),
    [
        ({}, ["Ti", "Zr"], "there is no O among the species Ti, Zr"),
        ({"peak_windows": {"Zr-O": [1.6, 2.2]}}, ["Ti", "O"], "there is no Zr"),
        ({"replication": [2, 2, 2]}, ["Ti"] * 8 + ["O"] * 12, "8 unit cells, which O12 Ti8 is not"),
    ],
)
def test_cells_that_cannot_be_analysed_so(change, symbols, message):
    parameters = StructureParameters.from_dict(MINIMAL | change)
    with pytest.raises(ValueError, match=message):
        parameters.check_symbols(symbols)
    parameters.check_symbols(["Ti", "Zr", "O", "O"] * 8)


def test_missing_species():
    with pytest.raises(ValueError, match="missing parameter of the analysis: neighbour"):
        StructureParameters.from_dict({"centre": "Ti"})
