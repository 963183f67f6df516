"""INCAR tags with a value for each site or each species: their lengths, their order, and DFT+U and spin by element."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida_vasp.utils.ldau import get_ldau_keys

from aiida_slhmc.targets.site_order import grouped
from aiida_slhmc.targets.vasp_incar import Tags, flag, numbers, read_tags

__all__ = ("check_lengths", "hubbard_tags", "in_vasp_order", "magnetic_tags", "tags_per_site")

_TAGS_PER_SITE = ("magmom", "m_constr")
_TAGS_PER_SPECIES = ("ldaul", "ldauu", "ldauj")


def tags_per_site(parameters: dict[str, Any]) -> list[str]:
    """The given INCAR tags that have a value, or three, for each site."""
    return [tag for tag in _TAGS_PER_SITE if tag in read_tags(parameters)]


def check_lengths(parameters: dict[str, Any], structure: orm.StructureData) -> str | None:
    """Why tags with a value for each site, or for each species, do not fit *structure*, or None if they do."""
    tags, n_sites = read_tags(parameters), len(structure.sites)
    vectors = flag(tags, "lnoncollinear") or flag(tags, "lsorbit")
    lengths = {tag: [len(_species(structure))] for tag in _TAGS_PER_SPECIES}
    lengths |= {"magmom": [3 * n_sites if vectors else n_sites], "m_constr": [n_sites, 3 * n_sites]}
    for tag, allowed in lengths.items():
        found = len(numbers(tags, tag)) if tag in tags else allowed[0]
        if found not in allowed:
            what = "species of POSCAR" if tag in _TAGS_PER_SPECIES else "site of the structure"
            needed = " or ".join(str(length) for length in allowed)
            return f"{tag.upper()} has {found} values instead of {needed}, for each {what}"
    return None


def in_vasp_order(parameters: dict[str, Any], order: list[int]) -> dict[str, Any]:
    """*parameters* with the values of sites put into *order* (of ``site_order``); as they are where it changes nothing.

    :raises ValueError: if a tag has not the same number of values for each site.
    """
    if order == sorted(order):
        return parameters
    tags = read_tags(parameters)
    for tag in tags_per_site(parameters):
        values = numbers(tags, tag)
        width, rest = divmod(len(values), len(order))
        if rest or not width:
            raise ValueError(f"{tag.upper()} has {len(values)} values for {len(order)} sites")
        tags[tag] = [value for site in order for value in values[site * width : (site + 1) * width]]
    return tags


def hubbard_tags(structure: orm.StructureData, hubbard_u: dict[str, Any]) -> Tags:
    """The tags of DFT+U in Dudarev's form, species in the order of the POSCAR that is written for *structure*.

    :param hubbard_u: by element (or kind), the orbital and U in eV, for example ``{"Ti": ["d", 3.0]}``.
    :raises ValueError: if an entry is of another form, or for what is not in the structure.
    """
    kinds = {kind.name: kind.symbol for kind in structure.kinds}
    _check_names("hubbard_u", hubbard_u, kinds)
    for name, entry in hubbard_u.items():
        if not isinstance(entry, list | tuple) or len(entry) != 2 or entry[0] not in ("p", "d", "f"):
            raise ValueError(
                f"hubbard_u: {name} needs an orbital (p, d or f) and U in eV such as ['d', 3.0], not {entry}"
            )
        numbers({"hubbard_u": [entry[1]]}, "hubbard_u")
    chosen = {kind: hubbard_u.get(kind, hubbard_u.get(symbol)) for kind, symbol in kinds.items()}
    mapping = {kind: [entry[0], float(entry[1])] for kind, entry in chosen.items() if entry is not None}
    return get_ldau_keys(grouped(structure), mapping, felec=any(entry[0] == "f" for entry in mapping.values()))


def magnetic_tags(structure: orm.StructureData, magnetic_moments: dict[str, float]) -> Tags:
    """ISPIN = 2 and MAGMOM in the order of *structure*'s own sites; zero for elements that are not named.

    :param magnetic_moments: by element (or kind), the moment to start from in µB, for example ``{"Ti": 1.0}``.
    :raises ValueError: if a moment is no number, or for what is not in the structure.
    """
    kinds = {kind.name: kind.symbol for kind in structure.kinds}
    _check_names("magnetic_moments", magnetic_moments, kinds)
    moments = {
        name: numbers({"magnetic_moments": [value]}, "magnetic_moments")[0] for name, value in magnetic_moments.items()
    }
    of_kind = {kind: moments.get(kind, moments.get(symbol, 0.0)) for kind, symbol in kinds.items()}
    return {"ispin": 2, "magmom": [of_kind[site.kind_name] for site in structure.sites]}


def _species(structure: orm.StructureData) -> list[str]:
    """Kinds of the POSCAR, in its order."""
    return list(dict.fromkeys(site.kind_name for site in structure.sites))


def _check_names(option: str, given: dict[str, Any], kinds: dict[str, str]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{option} must give a value for each element, not {given!r}")
    unknown = sorted(set(given) - set(kinds) - set(kinds.values()))
    if unknown:
        raise ValueError(f"{option}: {', '.join(unknown)} is not in the structure")
