"""The VASP target: inputs of its label work chain from ``vasp.yaml``, which has the paper's settings."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, ClassVar

import yaml
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import WorkChain
from aiida_vasp.data.potcar import PotcarData

from aiida_slhmc.targets.base import Target
from aiida_slhmc.targets.vasp_settings import SETTINGS
from aiida_slhmc.targets.vasp_work_chain import VaspLabelWorkChain

__all__ = ("VaspLabelWorkChain", "VaspTarget")


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

        :param options: ``code`` (required), ``potential_family`` (required), ``potential_mapping`` (symbol to POTCAR
            name), ``incar`` (tags to add or replace), ``kpoints_mesh`` (default 1 1 1), ``options`` (metadata.options).
        :raises ValueError: for an unknown functional or option, a missing one, or POTCARs that are not there.
        """
        settings = yaml.safe_load((files("aiida_slhmc.targets") / "vasp.yaml").read_text())
        known = {"code", "potential_family", "potential_mapping", "incar", "kpoints_mesh", "options"}
        unknown, missing = sorted(set(options) - known), sorted({"code", "potential_family"} - set(options))
        if unknown or missing:
            raise ValueError(f"target options: unknown {unknown or 'none'}, missing {missing or 'none'}")
        if functional not in settings["functionals"]:
            raise ValueError(f"functional must be one of {', '.join(settings['functionals'])}, not '{functional}'")
        incar = settings["common"] | settings["functionals"][functional] | (options.get("incar") or {})
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh(options.get("kpoints_mesh") or [1, 1, 1])
        mapping = settings["potential_mapping"] | (options.get("potential_mapping") or {})
        return {
            "code": options["code"],
            "parameters": orm.Dict({key.lower(): value for key, value in incar.items()}),
            "kpoints": kpoints,
            "potential": _potentials(structure, options["potential_family"], mapping),
            "settings": orm.Dict(SETTINGS),
            "options": orm.Dict(settings["options"] | (options.get("options") or {})),
        }

    @classmethod
    def check_elements(cls, elements: set[str], inputs: Any) -> str | None:
        """Every element has its POTCAR."""
        missing = sorted(elements - set(inputs.get("potential") or {}))
        return f"target.potential has no POTCAR for {', '.join(missing)}" if missing else None


def _potentials(structure: orm.StructureData, family: str, mapping: dict[str, str]) -> dict[str, PotcarData]:
    full_mapping = {symbol: mapping.get(symbol, symbol) for symbol in structure.get_symbols_set()}
    try:
        return dict(PotcarData.get_potcars_from_structure(structure, family, mapping=full_mapping))
    except (NotExistent, ValueError, KeyError) as error:
        raise ValueError(
            f"no POTCARs {full_mapping} in the family '{family}' ({error}). Upload yours once with"
            " `aiida-vasp potcar uploadfamily --path=… --name=… --description=…`"
        ) from error
