"""The VASP target: inputs of its label work chain from ``vasp.yaml``, which has the paper's settings."""

from __future__ import annotations

from typing import Any, ClassVar

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import WorkChain
from aiida_vasp.data.potcar import PotcarData
from ase.data import chemical_symbols

from aiida_slhmc.targets.base import Target
from aiida_slhmc.targets.options import check_options, make_mesh, read_settings, settings_of
from aiida_slhmc.targets.vasp_incar import Tags, flag, integer, read_tags
from aiida_slhmc.targets.vasp_rules import check_known_tags, check_parameters
from aiida_slhmc.targets.vasp_settings import SETTINGS, validate_inputs
from aiida_slhmc.targets.vasp_sites import check_lengths, hubbard_tags, magnetic_tags
from aiida_slhmc.targets.vasp_work_chain import VaspLabelWorkChain

__all__ = ("VaspLabelWorkChain", "VaspTarget")

OPTIONS = {
    *("code", "potential_family", "potential_mapping", "options"),
    *("incar", "unsupported_tags", "kpoints_mesh", "kpoints_offset", "magnetic_moments", "hubbard_u"),
}


class VaspTarget(Target):
    """VASP through aiida-vasp."""

    name: ClassVar[str] = "vasp"

    @classmethod
    def get_work_chain(cls) -> type[WorkChain]:
        """The work chain that labels one structure."""
        return VaspLabelWorkChain

    @classmethod
    def get_inputs(cls, *, structure: orm.StructureData, functional: str, **options: Any) -> dict[str, Any]:
        """Inputs from the settings of ``vasp.yaml``, which are the paper's.

        With spin, DFT+U or spin-orbit coupling there may be several electronic solutions, and the one that is found
        may depend on where the search starts. A label must be a function of its configuration, not of the chain's
        history, so LWAVE is then false, and each label starts from the atoms' densities, unless *incar* has LWAVE.

        :param options: ``code`` (required), ``potential_family`` (required), ``potential_mapping`` (element to POTCAR
            name), ``incar`` (tags to add or replace; None removes one), ``unsupported_tags`` (INCAR tags that
            aiida-vasp does not know yet), ``kpoints_mesh`` (default 1 1 1), ``kpoints_offset`` (of 0 or 0.5),
            ``magnetic_moments`` (by element, in µB, for example ``{"Ti": 1.0}``: ISPIN = 2 and MAGMOM), ``hubbard_u``
            (by element, orbital and U in eV, for example ``{"Ti": ["d", 3.0]}``: DFT+U in Dudarev's form),
            ``options`` (metadata.options). MAGMOM given as a tag has the order of the structure's own sites.
        :raises ValueError: for an unknown functional or option, a missing one, POTCARs that are not there, or tags
            that cannot give consistent labels.
        """
        settings = read_settings("vasp")
        _check_options(options)
        tags = _tags(structure, settings["common"] | settings_of(settings, functional), options)
        calculation_settings = SETTINGS | _unsupported(options)
        calculation_options = settings["options"] | (options.get("options") or {})
        problem = check_known_tags(tags, calculation_settings) or check_parameters(tags)
        problem = problem or check_lengths(tags, structure) or VaspLabelWorkChain.check_options(calculation_options)
        if problem:
            raise ValueError(problem)
        mapping = settings["potential_mapping"] | (options.get("potential_mapping") or {})
        return {
            "code": options["code"],
            "parameters": orm.Dict(tags),
            "kpoints": make_mesh(options.get("kpoints_mesh") or [1, 1, 1], options.get("kpoints_offset")),
            "potential": _potentials(structure, options["potential_family"], mapping),
            "settings": orm.Dict(calculation_settings),
            "options": orm.Dict(calculation_options),
        }

    @classmethod
    def check_elements(cls, elements: set[str], inputs: Any) -> str | None:
        """Every element has its POTCAR, and the INCAR has known tags only."""
        missing = sorted(elements - set(inputs.get("potential") or {}))
        if missing:
            return f"target.potential has no POTCAR for {', '.join(missing)}"
        return validate_inputs(inputs, None)


def _check_options(options: dict[str, Any]) -> None:
    mappings = ("incar", "options", "potential_mapping")
    check_options(options, OPTIONS, required=("code", "potential_family"), mappings=mappings)
    if not isinstance(options.get("unsupported_tags") or [], list | tuple):
        raise ValueError(f"target options: unsupported_tags must be a list, not {options['unsupported_tags']!r}")
    unknown = sorted(set(options.get("potential_mapping") or {}) - set(chemical_symbols))
    if unknown:
        raise ValueError(f"potential_mapping: {', '.join(map(str, unknown))} is no element")


def _tags(structure: orm.StructureData, protocol: dict[str, Any], options: dict[str, Any]) -> Tags:
    """The protocol's tags, DFT+U and spin by element, and the user's own tags, in this order of precedence."""
    own = {str(tag).lower(): value for tag, value in (options.get("incar") or {}).items()}
    tags = read_tags(protocol)
    if options.get("magnetic_moments"):
        tags |= magnetic_tags(structure, options["magnetic_moments"])
    if options.get("hubbard_u"):
        tags |= hubbard_tags(structure, options["hubbard_u"])
    tags = read_tags(tags | own)
    if "lwave" not in own and _has_several_solutions(tags):
        tags["lwave"] = False
    return tags


def _has_several_solutions(tags: Tags) -> bool:
    """Whether the self-consistency may find one of several states, depending on its start."""
    return integer(tags, "ispin", 1) == 2 or any(flag(tags, tag) for tag in ("ldau", "lsorbit", "lnoncollinear"))


def _unsupported(options: dict[str, Any]) -> dict[str, Any]:
    tags = options.get("unsupported_tags") or []
    return {"unsupported_parameters": {str(tag).lower(): {} for tag in tags}} if tags else {}


def _potentials(structure: orm.StructureData, family: str, mapping: dict[str, str]) -> dict[str, PotcarData]:
    full_mapping = {kind.name: mapping.get(kind.symbol, kind.symbol) for kind in structure.kinds}
    try:
        return dict(PotcarData.get_potcars_from_structure(structure, family, mapping=full_mapping))
    except (NotExistent, ValueError, KeyError) as error:
        raise ValueError(
            f"no POTCARs {full_mapping} in the family '{family}' ({error}). Upload yours once with"
            " `aiida-vasp potcar uploadfamily --path=… --name=… --description=…`"
        ) from error
