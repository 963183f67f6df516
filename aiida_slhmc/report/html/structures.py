"""The structure of the chain's states in each epoch: cells, nearest neighbours and radial distributions.

The sample is the chain with its repeats, which is that of the target's ensemble; every state in it was accepted at some
time or is the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from aiida import orm
from ase.data import chemical_symbols
from ase.geometry import cell_to_cellpar
from numpy.typing import NDArray

from aiida_slhmc.analysis.distributions import density_histogram
from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.neighbours import nearest_distances
from aiida_slhmc.analysis.radial_distribution import radial_distribution
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.report.decisions import decisions_of, decisions_query, in_order
from aiida_slhmc.report.html.contents import Epoch

__all__ = ("NEAREST_BIN", "RDF_MAX", "EpochStructure", "main_pair", "read_structures")

# states of an epoch that are read; a longer chain is thinned evenly
MAX_FRAMES = 300
MAX_PAIRS = 6
NEAREST_BIN, RDF_BIN, RDF_MAX = 0.02, 0.05, 6.0  # Å

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class EpochStructure:
    """``cells``: a, b, c (Å) and three angles of each frame, (n_frames, 6), with its cycle and walker beside it.

    ``nearest`` (Å, 1/Å) is the density of the distance to the nearest neighbour of the *main* pair, with its mean;
    ``rdf`` has (Å, g) by pair, the main one first.
    """

    cycles: NDArray[np.int64]
    walkers: NDArray[np.int64]
    cells: NDArray[np.float64]
    pair: Pair
    nearest: Curve
    nearest_mean: float
    rdf: dict[Pair, Curve]


def read_structures(epochs: Iterable[Epoch]) -> dict[int, EpochStructure]:
    """The structure of each epoch whose states are in the profile, by the epoch's number."""
    found: dict[int, EpochStructure] = {}
    pair: Pair | None = None
    for epoch in epochs:
        if epoch.node is None:
            continue
        # an epoch's states are read once, however often a running run's report is written
        structure = _read(epoch.node.uuid, epoch.node.pk, epoch.n_cycles, pair)
        pair = structure.pair
        found[epoch.number] = structure
    return found


@lru_cache(maxsize=512)
def _read(uuid: str, pk: int, n_cycles: int, pair: Pair | None) -> EpochStructure:
    states = _states(pk, n_cycles)
    kept = [states[i] for i in np.unique(np.linspace(0, len(states) - 1, MAX_FRAMES).round().astype(int))]
    arrays = _arrays({node for _, _, node in kept})
    first = arrays[kept[0][2]]
    frames = Frames(
        tuple(chemical_symbols[number] for number in first["numbers"]),
        np.stack([arrays[node]["positions"] for _, _, node in kept]),
        np.stack([arrays[node]["cell"] for _, _, node in kept]),
    )
    pair = pair or main_pair(frames)
    nearest = nearest_distances(frames, *pair)
    others = [other for other in _pairs(frames.symbols) if set(other) != set(pair)]
    pairs = [pair, *others][:MAX_PAIRS]
    return EpochStructure(
        cycles=np.array([cycle for cycle, _, _ in kept]),
        walkers=np.array([walker for _, walker, _ in kept]),
        cells=np.array([cell_to_cellpar(cell) for cell in frames.cells]),
        pair=pair,
        nearest=density_histogram(nearest, NEAREST_BIN),
        nearest_mean=float(nearest.mean()),
        rdf={other: radial_distribution(frames, other, bin_width=RDF_BIN, r_max=RDF_MAX) for other in pairs},
    )


def main_pair(frames: Frames) -> Pair:
    """The pair of unlike species that are nearest to each other, the rarer one first; of one species with itself."""
    counts = Counter(frames.symbols)
    unlike = [pair for pair in _pairs(frames.symbols) if pair[0] != pair[1]]
    first = frames.select(slice(0, 1))
    best = min(unlike or _pairs(frames.symbols), key=lambda pair: float(nearest_distances(first, *pair).min()))
    one, other = sorted(best, key=lambda symbol: (counts[symbol], symbol))
    return one, other


def _pairs(symbols: tuple[str, ...]) -> list[Pair]:
    """All pairs of species, those of unlike ones first."""
    pairs = list(combinations_with_replacement(sorted(set(symbols)), 2))
    return sorted(pairs, key=lambda pair: pair[0] == pair[1])


def _states(pk: int, n_cycles: int) -> list[tuple[int, int, int]]:
    """Cycle, walker and pk of the configuration that the walker is in after each of the first *n_cycles* decisions."""
    decisions = list(decisions_of(pk).items())[:n_cycles]
    nodes = _decided(pk)
    found = []
    for cycle, (name, decision) in enumerate(decisions):
        for walker, accepted in enumerate(decision["accepted"]):
            kind = "label" if accepted else "state"
            found.append((cycle, walker, nodes[name, f"{kind}_{walker}"]))
    return found


def _decided(pk: int) -> dict[tuple[str, str], int]:
    """The pk of each state and label that an epoch's decisions had, by the names of the decision and of the input."""
    query = decisions_query(pk).append(
        ConfigurationData,
        with_outgoing="call",
        tag="node",
        project=["id"],
        edge_tag="given_as",
        edge_project=["label"],
    )
    return {(row["link"]["label"], row["given_as"]["label"]): row["node"]["id"] for row in in_order(query)}


def _arrays(pks: set[int]) -> dict[int, dict[str, Any]]:
    query = orm.QueryBuilder().append(ConfigurationData, filters={"id": {"in": sorted(pks)}}, tag="node")
    return {node.pk: node.arrays() for (node,) in query.iterall()}
