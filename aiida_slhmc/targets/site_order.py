"""The order of sites that VASP gets: one POSCAR group, and one POTCAR, for each kind; and the way back.

A structure such as Ti O Ti O O O would need a POSCAR group and a POTCAR for each run of equal neighbours.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from numpy.typing import ArrayLike, NDArray

from aiida_slhmc.targets.label_policy import check_values

__all__ = ("check_order", "group_sites", "grouped", "is_grouped", "original_order", "site_order")

TOLERANCE = 1e-10  # Å; both structures hold the same digits, so any real difference is a mistake


def is_grouped(structure: orm.StructureData) -> bool:
    """Whether the sites of each kind follow each other."""
    runs = [kind for kind, _ in groupby(site.kind_name for site in structure.sites)]
    return len(runs) == len(set(runs))


def site_order(structure: orm.StructureData) -> list[int]:
    """Indices of the sites of *structure* in the order that VASP gets: as they are, where they are grouped already.

    Otherwise a stable sort by element and, within an element, by kind, each in the order of first appearance: entry k
    is the original index of VASP's k-th site.
    """
    sites = structure.sites
    if is_grouped(structure):
        return list(range(len(sites)))
    elements = {kind.name: kind.get_symbols_string() for kind in structure.kinds}
    keys = [(elements[site.kind_name], site.kind_name) for site in sites]
    first_element: dict[str, int] = {}
    first_kind: dict[str, int] = {}
    for index, (element, kind) in enumerate(keys):
        first_element.setdefault(element, index)
        first_kind.setdefault(kind, index)
    return sorted(range(len(sites)), key=lambda i: (first_element[keys[i][0]], first_kind[keys[i][1]]))


def grouped(structure: orm.StructureData) -> orm.StructureData:
    """*structure*, unstored, with its sites in ``site_order``; every number, kind, pbc and tag as it was."""
    attributes = structure.base.attributes.all
    sites = attributes["sites"]
    made = orm.StructureData()
    # not site by site, which would read and write their numbers again; not a clone, which would take the extras along
    made.base.attributes.reset(attributes | {"sites": [sites[index] for index in site_order(structure)]})
    return made


@calcfunction
def group_sites(structure: orm.StructureData) -> orm.StructureData:
    """``grouped``, on record."""
    return grouped(structure)


def check_order(structure: orm.StructureData, calculated: orm.StructureData) -> str | None:
    """Why *calculated* is not *structure* in ``site_order``, or None if it is: kinds, positions and cell (1e-10 Å)."""
    order = site_order(structure)
    if len(calculated.sites) != len(order):
        return f"it has {len(calculated.sites)} sites instead of {len(order)}"
    if _species(calculated, list(range(len(order)))) != _species(structure, order):
        return "its species are others, or in another order"
    return check_values("positions", _positions(calculated), _positions(structure)[order], TOLERANCE) or check_values(
        "cell", calculated.cell, structure.cell, TOLERANCE
    )


def original_order(values: ArrayLike, order: list[int]) -> NDArray[np.float64]:
    """Rows (n_sites, …) in VASP's order, put back where *order* (of ``site_order``) took their sites from."""
    rows = np.asarray(values, dtype=np.float64)
    restored = np.empty_like(rows)
    restored[order] = rows
    return restored


def _species(structure: orm.StructureData, order: list[int]) -> list[tuple[str, str]]:
    elements = {kind.name: kind.get_symbols_string() for kind in structure.kinds}
    sites = structure.sites
    return [(sites[index].kind_name, elements[sites[index].kind_name]) for index in order]


def _positions(structure: orm.StructureData) -> NDArray[np.float64]:
    return np.array([site.position for site in structure.sites], dtype=np.float64)
