"""The VASP target: aiida-vasp's VaspCalculation inside a restart work chain that keeps the label policy."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, ClassVar

import yaml
from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import NotExistent
from aiida.engine import (
    BaseRestartWorkChain,
    ExitCode,
    ProcessHandlerReport,
    WorkChain,
    process_handler,
    while_,
)
from aiida_vasp.calcs.vasp import VaspCalculation
from aiida_vasp.data.potcar import PotcarData

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.targets.base import Target
from aiida_slhmc.targets.label_policy import check_parameters, tags_per_site
from aiida_slhmc.targets.site_order import group_sites, is_grouped
from aiida_slhmc.targets.vasp_label import (
    NOT_A_LABEL,
    OTHER_STRUCTURE,
    change_electronic_settings,
    read_vasp_label,
)

__all__ = ("VaspLabelWorkChain", "VaspTarget")

# full precision in POSCAR; the energy that the forces derive from; no label without forces and stress
SETTINGS = {
    "poscar_precision": 16,
    "parser_settings": {
        "energy_type": ["energy_free", "energy_extrapolated", "energy_no_entropy"],
        "required_quantity": ["run_status", "run_stats", "total_energies", "forces", "stress"],
    },
}
# ways to the same ground state, tried in this order where VASP's first one does not converge
CONVERGENCE_RECOVERIES: tuple[dict[str, Any], ...] = (
    {"algo": "Normal", "nelm": 200},
    {"algo": "All", "nelm": 300},
)


class VaspLabelWorkChain(BaseRestartWorkChain):
    """Label one structure with VASP, its sites in any order: run, recover where the policy allows it, read the label.

    Where sites of one kind are scattered, VASP gets them grouped (``group_sites``): INCAR tags with one value for each
    species (LDAUU, …) follow the order in which the species first appear. The label is in the structure's own order.
    Recovery may change ALGO, mixing, NELM and the starting density, nothing that moves the energy.
    """

    _process_class = VaspCalculation

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, output and exit codes."""
        super().define(spec)
        inputs = ("structure", "code", "kpoints", "potential", "settings")
        spec.expose_inputs(VaspCalculation, include=inputs)
        spec.inputs["structure"].valid_type = orm.StructureData
        spec.inputs["settings"].required = True
        spec.inputs["settings"].validator = _validate_settings
        spec.input("parameters", valid_type=orm.Dict, validator=_validate_parameters, help="INCAR tags.")
        spec.input("options", valid_type=orm.Dict, help="metadata.options of the calculation: resources, wall time, …")
        spec.inputs["max_iterations"].default = lambda: orm.Int(4)
        spec.outline(
            cls.setup,
            cls.prepare_structure,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.read_label,
        )
        spec.output("label", valid_type=ConfigurationData, help="The labelled configuration.")
        spec.exit_code(
            NOT_A_LABEL, "ERROR_NOT_A_LABEL", message="VASP finished, but its output is not a label: {reason}."
        )
        spec.exit_code(
            421,
            "ERROR_NOT_CONVERGED",
            message="The electronic self-consistency did not converge with any recovery that keeps the energy surface. "
            "Look at the OUTCAR of the last calculation; a larger NELM or other mixing in the INCAR may help.",
        )
        spec.exit_code(
            422,
            "ERROR_VASP_FAILED",
            message="VASP failed twice: {reason}. Look at the calculation's retrieved files.",
        )
        spec.exit_code(
            OTHER_STRUCTURE,
            "ERROR_OTHER_STRUCTURE",
            message="The output belongs to another structure than the one to label: {reason}. There is no label.",
        )
        spec.exit_code(
            424,
            "ERROR_TAG_PER_SITE",
            message="{tags} has a value for each site, and the structure's sites have to be put in another order for "
            "VASP. Group the sites of the starting structure by element, and the values with them.",
        )

    def setup(self) -> None:
        """Prepare the inputs of the first calculation."""
        super().setup()
        self.ctx.recoveries = 0
        self.ctx.repeated = False
        self.ctx.inputs = AttributeDict(self.exposed_inputs(VaspCalculation))
        self.ctx.inputs.parameters = self.inputs.parameters
        self.ctx.inputs.metadata = {"options": self.inputs.options.get_dict()}

    def prepare_structure(self) -> ExitCode | None:
        """Group the sites for the calculation where they are not grouped."""
        if is_grouped(self.inputs.structure):
            return None
        tags = tags_per_site(self.inputs.parameters.get_dict())
        if tags:
            return self.exit_codes.ERROR_TAG_PER_SITE.format(tags=", ".join(tags))
        self.ctx.inputs.structure = group_sites(self.inputs.structure)
        return None

    @process_handler(priority=100, exit_codes=[VaspCalculation.exit_codes.ERROR_ELECTRONIC_NOT_CONVERGED])
    def handle_not_converged(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Take the next way to the ground state."""
        if self.ctx.recoveries >= len(CONVERGENCE_RECOVERIES):
            return ProcessHandlerReport(True, self.exit_codes.ERROR_NOT_CONVERGED)
        changes = CONVERGENCE_RECOVERIES[self.ctx.recoveries]
        self.ctx.recoveries += 1
        self.report(f"{node.process_label}<{node.pk}> did not converge; trying {changes}")
        parameters = change_electronic_settings(self.inputs.parameters, orm.Dict(changes))
        self.ctx.inputs.parameters = parameters
        return ProcessHandlerReport(True)

    @process_handler(priority=50)
    def handle_failure(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Repeat once, unchanged, whatever else went wrong: a node that failed, a file that did not arrive.

        A calculation that excepts (aiida-vasp's parser does on NaN) never comes here: the work chain ends with 301.
        """
        if node.is_finished_ok or node.exit_status == VaspCalculation.exit_codes.ERROR_ELECTRONIC_NOT_CONVERGED.status:
            return None
        # or caching would answer the repetition, and a later restart, with this failure
        node.base.caching.is_valid_cache = False
        if self.ctx.repeated:
            reason = f"exit code {node.exit_status}, {node.exit_message}"
            return ProcessHandlerReport(True, self.exit_codes.ERROR_VASP_FAILED.format(reason=reason))
        self.ctx.repeated = True
        self.report(f"{node.process_label}<{node.pk}> failed with exit code {node.exit_status}; repeating it once")
        return ProcessHandlerReport(True)

    def read_label(self) -> ExitCode | None:
        """Read and judge the label of the calculation that succeeded."""
        node = self.ctx.children[-1]
        label, outcome = read_vasp_label.run_get_node(
            structure=self.inputs.structure,
            calculated=node.inputs.structure,
            parameters=node.inputs.parameters,
            misc=node.outputs.misc,
        )
        if outcome.exit_status == OTHER_STRUCTURE:
            return self.exit_codes.ERROR_OTHER_STRUCTURE.format(reason=outcome.exit_message)
        if not outcome.is_finished_ok:
            return self.exit_codes.ERROR_NOT_A_LABEL.format(reason=outcome.exit_message)
        self.out("label", label)
        return None


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


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    try:
        return check_parameters(node.get_dict())
    except (TypeError, ValueError) as error:
        return f"an INCAR tag has a value of the wrong kind: {error}"


def _validate_settings(node: orm.Dict, _: Any) -> str | None:
    """The parser settings that a label cannot do without."""
    parser = node.get_dict().get("parser_settings", {})
    missing = {"forces", "stress", "total_energies", "run_status"} - set(parser.get("required_quantity", []))
    if missing or "energy_free" not in parser.get("energy_type", []):
        return f"settings.parser_settings must require {sorted(missing)} and have 'energy_free' in energy_type"
    return None
