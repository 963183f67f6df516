"""The work chain that labels one structure with aiida-vasp's VaspCalculation and keeps the label policy."""

from __future__ import annotations

from typing import Any, ClassVar

from aiida import orm
from aiida.engine import ExitCode
from aiida_vasp.calcs.vasp import VaspCalculation
from aiida_vasp.parsers.content_parsers.stream import StreamParser

from aiida_slhmc.targets.label_work_chain import LabelWorkChain
from aiida_slhmc.targets.site_order import group_sites, is_grouped
from aiida_slhmc.targets.vasp_incar import Tags, flag, integer, read_tags
from aiida_slhmc.targets.vasp_label import change_electronic_settings, order_site_tags, read_vasp_label
from aiida_slhmc.targets.vasp_policy import changed_tags
from aiida_slhmc.targets.vasp_settings import validate_inputs, validate_kpoints, validate_parameters, validate_settings
from aiida_slhmc.targets.vasp_sites import check_lengths, tags_per_site

__all__ = ("VaspLabelWorkChain", "restart_file")

# for hybrids VASP's manual warns of the density mixing that ALGO = Normal needs, and advises a smaller TIME
HYBRID_RECOVERIES: tuple[dict[str, Any], ...] = (
    {"algo": "Damped", "time": 0.5, "nelm": 300},
    {"algo": "Damped", "time": 0.2, "nelm": 500},
)
# VASP's messages, by parsevasp's names, of an electronic minimisation gone wrong: another algorithm goes another way
CURABLE_MESSAGES = frozenset({"brmix", "cnormn", "edwav", "edddav_zhegv", "eddrmm_zhegv", "not_hermitian", "fexcp"})


class VaspLabelWorkChain(LabelWorkChain):
    """Label one structure with VASP, its sites in any order: run, recover where the policy allows it, read the label.

    Where sites of one kind are scattered, VASP gets them grouped (``group_sites``): INCAR tags with one value for each
    species (LDAUU, …) follow the order in which the species first appear. Tags with a value for each site (MAGMOM) are
    in the structure's own order, and so is the label.
    Recovery may change ALGO, mixing, NELM and the starting density, nothing that moves the energy.

    The next calculation may start from this one's WAVECAR (LWAVE) or, where there is none, its CHGCAR (LCHARG).
    """

    _process_class = VaspCalculation
    RESTART_PORT: ClassVar[str | None] = "restart_folder"
    NOT_CONVERGED: ClassVar[frozenset[int]] = frozenset(
        {VaspCalculation.exit_codes.ERROR_ELECTRONIC_NOT_CONVERGED.status}
    )
    CONVERGENCE_RECOVERIES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"algo": "Normal", "nelm": 200},
        {"algo": "All", "nelm": 300},
    )

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs of the calculation, and an exit code."""
        super().define(spec)
        spec.expose_inputs(VaspCalculation, include=("code", "kpoints", "parameters", "potential", "settings"))
        spec.inputs["parameters"].validator = validate_parameters
        spec.inputs["kpoints"].validator = validate_kpoints
        spec.inputs["settings"].required = True
        spec.inputs["settings"].validator = validate_settings
        spec.inputs.validator = validate_inputs
        spec.exit_code(
            424,
            "ERROR_TAG_PER_SITE",
            message="{reason}. Correct the INCAR: its values belong to the structure's sites, in their order.",
        )

    def prepare_structure(self) -> ExitCode | None:
        """Group the sites where they are not grouped, with the tags that belong to them, and choose the start."""
        structure, parameters = self.inputs.structure, self.inputs.parameters
        problem = check_lengths(parameters.get_dict(), structure)
        if problem:
            return self.exit_codes.ERROR_TAG_PER_SITE.format(reason=problem)
        if not is_grouped(structure):
            self.ctx.inputs.structure = group_sites(structure)
            if tags_per_site(parameters.get_dict()):
                parameters = order_site_tags(parameters, structure)
        self.ctx.parameters = self.ctx.inputs.parameters = parameters
        if self.RESTART_PORT in self.ctx.inputs and restart_file(parameters.get_dict()) == "CHGCAR":
            # without being told, VASP looks for a WAVECAR only
            self.ctx.inputs.parameters = self.change_settings({"icharg": 1})
        return None

    def is_not_converged(self, node: orm.CalcJobNode) -> bool:
        """NELM reached, or a message of VASP's that its minimisation went wrong, whatever became of its files."""
        if super().is_not_converged(node):
            return True
        return not node.is_finished_ok and bool(CURABLE_MESSAGES & _messages(node))

    def convergence_recoveries(self) -> tuple[dict[str, Any], ...]:
        """Those for the functional, with the user's NELM where it is larger; none that would change nothing."""
        tags = read_tags(self.inputs.parameters.get_dict())
        ways = HYBRID_RECOVERIES if flag(tags, "lhfcalc") else self.CONVERGENCE_RECOVERIES
        bounded = [way | {"nelm": max(way["nelm"], integer(tags, "nelm", 60))} for way in ways]
        return tuple(way for way in bounded if changed_tags(tags, tags | way))

    def change_settings(self, changes: dict[str, Any]) -> orm.Dict:
        """The INCAR that the user gave, in VASP's order of sites, with *changes*."""
        changed: Any = change_electronic_settings(self.ctx.parameters, orm.Dict(changes))
        return changed

    def keeps_density(self) -> bool:
        """Whether the calculation leaves a WAVECAR or a CHGCAR that the next one would start from."""
        return restart_file(self.inputs.parameters.get_dict()) is not None

    def start_from_atoms(self) -> None:
        """As the base class; and ICHARG no longer asks for a CHGCAR."""
        if self.ctx.inputs.parameters.get_dict().get("icharg") == 1:
            self.ctx.inputs.parameters = self.ctx.parameters
        super().start_from_atoms()

    def make_label(self, node: orm.CalcJobNode, recovery: orm.Dict) -> tuple[Any, orm.CalcFunctionNode]:
        """Pair the output with the calculation's own inputs."""
        return read_vasp_label.run_get_node(
            structure=self.inputs.structure,
            calculated=node.inputs.structure,
            asked=self.inputs.parameters,
            used=node.inputs.parameters,
            recovery=recovery,
            misc=node.outputs.misc,
        )


def restart_file(parameters: dict[str, Any]) -> str | None:
    """Which file of its own a calculation with these INCAR tags leaves for the next one to start from.

    VASP takes a WAVECAR that it finds unless ISTART = 0, a CHGCAR only if ICHARG = 1, which is left to us.
    """
    tags: Tags = read_tags(parameters)
    if flag(tags, "lwave", True) and integer(tags, "istart", 1) != 0:
        return "WAVECAR"
    return "CHGCAR" if flag(tags, "lcharg", True) and "icharg" not in tags else None


def _messages(node: orm.CalcJobNode) -> set[str]:
    """Names of the messages that VASP printed, read off its output because a failed parser leaves none."""
    name = VaspCalculation._VASP_OUTPUT
    if "retrieved" not in node.outputs or name not in node.outputs.retrieved.list_object_names():
        return set()
    with node.outputs.retrieved.open(name, "r") as handle:
        return {message["name"] for message in StreamParser(handler=handle).notifications}
