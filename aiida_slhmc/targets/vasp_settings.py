"""Settings of VaspCalculation that labels need, and the validators of the label work chain's ports."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from aiida import orm
from aiida_vasp.parsers.content_parsers import OutcarParser, PoscarParser, StreamParser, VasprunParser
from aiida_vasp.parsers.vasp import ParserSettingsConfig

from aiida_slhmc.kernel.checks import hint_at
from aiida_slhmc.targets.vasp_rules import check_known_tags, check_parameters

__all__ = ("SETTINGS", "validate_inputs", "validate_kpoints", "validate_parameters", "validate_settings")

# full precision in POSCAR; the energy that the forces derive from; no label without forces and stress
SETTINGS: dict[str, Any] = {
    "poscar_precision": 16,
    "parser_settings": {
        "energy_type": ["energy_free", "energy_extrapolated", "energy_no_entropy"],
        "required_quantity": ["run_status", "run_stats", "total_energies", "forces", "stress"],
    },
}

# what VaspCalculation reads
_KNOWN_SETTINGS = {
    *("parser_settings", "poscar_precision", "unsupported_parameters", "skip_parameters_validation", "ALWAYS_STORE"),
    *("ADDITIONAL_RETRIEVE_LIST", "ADDITIONAL_RETRIEVE_TEMPORARY_LIST", "ADDITIONAL_REMOTE_COPY_LIST"),
    "PROVENANCE_EXCLUDE_LIST",
}
_STAY_ON_THE_CLUSTER = ("WAVECAR", "CHGCAR", "CHG", "POTCAR")
_PARSERS = (VasprunParser, OutcarParser, StreamParser, PoscarParser)


def validate_parameters(node: orm.Dict, _: Any) -> str | None:
    """The INCAR gives consistent labels."""
    return check_parameters(node.get_dict())


def validate_kpoints(node: orm.KpointsData, _: Any) -> str | None:
    """A mesh or a list of k-points, in fractions of the reciprocal cell, not a path through it."""
    attributes = node.base.attributes.all
    if attributes.get("labels"):
        return "kpoints is a path for a band structure; a label needs a mesh or a list of k-points with weights"
    if "mesh" not in attributes and "array|kpoints" not in attributes:
        return "kpoints is empty; call its set_kpoints_mesh, for example with [1, 1, 1]"
    return None


def validate_inputs(inputs: Any, _: Any) -> str | None:
    """The INCAR has known tags only."""
    if "parameters" not in inputs or "settings" not in inputs:
        return None
    return check_known_tags(inputs["parameters"].get_dict(), inputs["settings"].get_dict())


def validate_settings(node: orm.Dict, _: Any) -> str | None:
    """What a label cannot do without is parsed, the large files stay where they are, and nothing is misspelt."""
    settings = node.get_dict()
    problems = [*_misspelt("settings", settings, _KNOWN_SETTINGS)]
    if not settings.get("ALWAYS_STORE", True):
        problems.append("remove ALWAYS_STORE = False, with which aiida-vasp's parser does not find its files")
    if settings.get("skip_parameters_validation"):
        problems.append("remove skip_parameters_validation; name newer INCAR tags in unsupported_parameters instead")
    precision = settings.get("poscar_precision", 10)
    if not isinstance(precision, int) or precision < 12:
        problems.append(f"set poscar_precision = 16, not {precision!r}: VASP must get the positions that are labelled")
    for name in ("ADDITIONAL_RETRIEVE_LIST", "ADDITIONAL_RETRIEVE_TEMPORARY_LIST"):
        problems += _check_retrieved(name, settings.get(name) or [])
    problems += _check_parser(settings.get("parser_settings"))
    return "; ".join(problems) or None


def _check_retrieved(name: str, entries: Any) -> list[str]:
    """What is wrong with a list of further files to retrieve: names, or triples that begin with a name."""
    if not isinstance(entries, list):
        return [f"{name} must be a list, not {entries!r}"]
    patterns = [str(entry[0] if isinstance(entry, list) and entry else entry) for entry in entries]
    large = [file for file in _STAY_ON_THE_CLUSTER if any(fnmatch(file, pattern) for pattern in patterns)]
    return [f"{name} would retrieve {', '.join(large)}, which must stay on the cluster"] if large else []


def _check_parser(parser: Any) -> list[str]:
    """What is wrong with ``parser_settings``, where aiida-vasp ignores names that it does not know."""
    if not isinstance(parser, dict):
        return ["settings.parser_settings is missing; see aiida_slhmc.targets.vasp_settings.SETTINGS"]
    wrong = ParserSettingsConfig.aiida_validate(parser)
    if wrong:
        return [f"settings.parser_settings: {wrong}"]
    problems = _misspelt("settings.parser_settings", parser, set(ParserSettingsConfig.model_fields))
    quantities = {name for reader in _PARSERS for name in reader.PARSABLE_QUANTITIES}
    required = parser.get("required_quantity", [])
    problems += _misspelt("settings.parser_settings.required_quantity", required, quantities)
    missing = sorted({"forces", "stress", "total_energies", "run_status"} - set(required))
    if missing or "energy_free" not in parser.get("energy_type", []):
        problems.append(f"settings.parser_settings must require {missing} and have 'energy_free' in energy_type")
    if parser.get("check_errors") is False:
        problems.append("remove check_errors = False from settings.parser_settings: nothing would be recovered")
    return problems


def _misspelt(where: str, names: Any, known: set[str]) -> list[str]:
    return [f"{where} has no '{name}'; {hint_at(name, known)}" for name in sorted(set(names) - known)]
