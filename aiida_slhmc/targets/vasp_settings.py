"""Settings of VaspCalculation that labels need, and the validators of the work chain's ports."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.targets.vasp_rules import check_parameters

__all__ = ("SETTINGS", "validate_parameters", "validate_settings")

# full precision in POSCAR; the energy that the forces derive from; no label without forces and stress
SETTINGS = {
    "poscar_precision": 16,
    "parser_settings": {
        "energy_type": ["energy_free", "energy_extrapolated", "energy_no_entropy"],
        "required_quantity": ["run_status", "run_stats", "total_energies", "forces", "stress"],
    },
}


def validate_parameters(node: orm.Dict, _: Any) -> str | None:
    """The INCAR gives consistent labels."""
    return check_parameters(node.get_dict())


def validate_settings(node: orm.Dict, _: Any) -> str | None:
    """The parser settings that a label cannot do without."""
    parser = node.get_dict().get("parser_settings", {})
    missing = {"forces", "stress", "total_energies", "run_status"} - set(parser.get("required_quantity", []))
    if missing or "energy_free" not in parser.get("energy_type", []):
        return f"settings.parser_settings must require {sorted(missing)} and have 'energy_free' in energy_type"
    return None
