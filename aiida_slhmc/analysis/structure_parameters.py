"""What is analysed of a trajectory: species, windows, bins and errors, checked in one place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ase.data import chemical_symbols

from aiida_slhmc.analysis.radial_distribution import whole_bins
from aiida_slhmc.kernel.checks import check_fields, is_number, is_whole

__all__ = ("StructureParameters",)

POSITIVE = ("nearest_bin_width", "coordination_cutoff", "rdf_bin_width", "rdf_r_max")
# the least that each may be
WHOLE = {"n_short": 0, "n_long": 0, "block_length": 1, "n_resamples": 2, "n_peak_resamples": 2, "seed": 0}
SPECIES = set(chemical_symbols[1:])
# a peak is a bin that is higher than its neighbours
LEAST_BINS = 3


@dataclass(frozen=True, kw_only=True)
class StructureParameters:
    """Parameters of :func:`~aiida_slhmc.analysis.structure.analyse_structure`; the defaults are the paper's.

    `centre` and `neighbour` are the species whose nearest neighbours, coordination and first shell are looked at.
    `nearest_bin_width` (Å) of the histogram; `coordination_cutoff` (Å; None: not counted); `n_short` and `n_long`: how
    many neighbours of the first shell are averaged as its short and its long bonds (0 and 0: no split).
    `peak_windows`: for each pair of species, such as ``Ti-O``, the window (Å) in which the first peak of its radial
    distribution lies; `rdf_bin_width` and `rdf_r_max` (Å). `replication`: how often the unit cell is repeated along
    each vector. Errors: `block_length` frames in a block (that of cell metrics is chosen from the autocorrelation
    time), `n_resamples`, `n_peak_resamples`, `seed`.

    :raises ValueError: for a value that makes no sense.
    """

    centre: str
    neighbour: str
    nearest_bin_width: float = 0.005
    coordination_cutoff: float | None = None
    n_short: int = 0
    n_long: int = 0
    peak_windows: dict[str, list[float]] = field(default_factory=dict)
    rdf_bin_width: float = 0.00529177
    rdf_r_max: float = 6.0
    replication: list[int] = field(default_factory=lambda: [1, 1, 1])
    block_length: int = 10
    n_resamples: int = 400
    n_peak_resamples: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if not (is_number(value) and value > 0) and not (name == "coordination_cutoff" and value is None):
                raise ValueError(f"{name} must be a positive number, not {value!r}")
        for name, least in WHOLE.items():
            if not is_whole(getattr(self, name)) or getattr(self, name) < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, not {getattr(self, name)!r}")
        if bool(self.n_short) != bool(self.n_long):
            raise ValueError("n_short and n_long are given together, or neither")
        if self.rdf_bin_width > self.rdf_r_max:
            raise ValueError(f"rdf_bin_width = {self.rdf_bin_width} Å is more than rdf_r_max = {self.rdf_r_max} Å")
        for name in ("centre", "neighbour"):
            _check_species(name, getattr(self, name))
        self._check_replication()
        if not isinstance(self.peak_windows, dict):
            raise ValueError(f'peak_windows are written like {{"Ti-O": [1.6, 2.2]}}, not {self.peak_windows!r}')
        for pair, window in self.peak_windows.items():
            self._check_window(pair, window)
        own, turned = f"{self.centre}-{self.neighbour}", f"{self.neighbour}-{self.centre}"
        if turned in self.peak_windows and turned != own:
            raise ValueError(f"write the pair of centre and neighbour in peak_windows as {own}, not {turned}")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> StructureParameters:
        """Read parameters that people wrote.

        :raises ValueError: for a name that is unknown, with the nearest one, or missing.
        """
        check_fields(cls, content, {"centre", "neighbour"}, "parameter of the analysis")
        return cls(**content)

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Species of each pair of `peak_windows`, by its name."""
        return {pair: (pair.split("-")[0], pair.split("-")[1]) for pair in self.peak_windows}

    def check_symbols(self, symbols: Sequence[str]) -> None:
        """Whether a cell of these atoms can be analysed.

        :raises ValueError: a species is not there, or the cell is no such supercell as `replication` says.
        """
        counts = Counter(symbols)
        species = {self.centre, self.neighbour, *(name for pair in self.pairs.values() for name in pair)}
        missing = sorted(species - set(counts))
        if missing:
            raise ValueError(f"there is no {', '.join(missing)} among the species {', '.join(sorted(counts))}")
        cells = math.prod(self.replication)
        if any(count % cells for count in counts.values()):
            formula = " ".join(f"{name}{count}" for name, count in sorted(counts.items()))
            raise ValueError(f"replication = {self.replication} are {cells} unit cells, which {formula} is not")

    def _check_replication(self) -> None:
        given = self.replication
        if not (isinstance(given, list | tuple) and len(given) == 3 and all(is_whole(n) and n > 0 for n in given)):
            raise ValueError(f"replication must be three positive whole numbers, not {given!r}")

    def _check_window(self, pair: Any, window: Any) -> None:
        species = str(pair).split("-")
        if len(species) != 2 or not set(species) <= SPECIES:
            raise ValueError(f"a pair of species is written like Ti-O, not {pair!r}")
        is_window = isinstance(window, list | tuple) and len(window) == 2 and all(is_number(edge) for edge in window)
        if not is_window or not 0 <= window[0] < window[1] <= self.rdf_r_max:
            raise ValueError(
                f"the window of {pair} must be two distances in increasing order, up to rdf_r_max = {self.rdf_r_max} "
                f"Å, not {window!r}"
            )
        first, last = whole_bins((window[0], window[1]), self.rdf_bin_width)
        if last - first < LEAST_BINS:
            raise ValueError(
                f"the window {window} Å of {pair} has fewer than {LEAST_BINS} bins of rdf_bin_width = "
                f"{self.rdf_bin_width} Å"
            )


def _check_species(name: str, value: Any) -> None:
    if not isinstance(value, str) or value not in SPECIES:
        raise ValueError(f"{name} must be the symbol of an element, not {value!r}")
