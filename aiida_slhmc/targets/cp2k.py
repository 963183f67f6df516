"""The CP2K target: aiida-cp2k's Cp2kCalculation inside the label work chain."""

from __future__ import annotations

from typing import Any, ClassVar

from aiida import orm
from aiida.engine import WorkChain
from aiida_cp2k.calculations import Cp2kCalculation

from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.targets.base import Target
from aiida_slhmc.targets.cp2k_label import change_electronic_settings, output_text, read_cp2k_label
from aiida_slhmc.targets.cp2k_output import says_not_converged
from aiida_slhmc.targets.cp2k_policy import SCF, check_parameters, kinds_of, merge_parameters, value_at
from aiida_slhmc.targets.label_work_chain import LabelWorkChain
from aiida_slhmc.targets.options import check_options, make_mesh, read_settings, settings_of

__all__ = ("Cp2kLabelWorkChain", "Cp2kTarget")

OPTIONS = ("code", "kinds", "parameters", "kpoints_mesh", "files", "options")
# where the plugin puts the earlier calculation's folder, and CP2K's orbitals in it: without and with k-points
RESTART_FILES = {False: "./parent_calc/aiida-RESTART.wfn", True: "./parent_calc/aiida-RESTART.kp"}


class Cp2kLabelWorkChain(LabelWorkChain):
    """Label one structure with CP2K: run, recover where the policy allows it, read the label.

    With ``restart_folder`` CP2K starts from the orbitals of the earlier calculation, if ``parameters`` say so
    (``SCF_GUESS RESTART`` and ``RESTART_FILE_NAME``). Where the folder is gone, it starts from the atoms.
    Recovery may change mixing, the number of iterations and the starting orbitals, nothing that moves the energy.
    """

    _process_class = Cp2kCalculation

    RESTART_PORT: ClassVar[str | None] = "parent_calc_folder"
    NOT_CONVERGED: ClassVar[frozenset[int]] = frozenset({Cp2kCalculation.exit_codes.ERROR_SCF_NOT_CONVERGED.status})
    CONVERGENCE_RECOVERIES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"MIXING/ALPHA": 0.2, "MAX_SCF": 200},
        {"MIXING/ALPHA": 0.1, "MIXING/NBROYDEN": 16, "MAX_SCF": 400},
    )

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs beside those of every label work chain."""
        super().define(spec)
        spec.expose_inputs(Cp2kCalculation, include=("code", "parameters", "kpoints", "file"))
        spec.inputs["parameters"].validator = _validate_parameters
        spec.inputs["kpoints"].validator = _validate_kpoints

    def is_not_converged(self, node: orm.CalcJobNode) -> bool:
        """Also where CP2K only warns of it, and the calculation is said to have ended well."""
        says_so = "retrieved" in node.outputs and says_not_converged(output_text(node.outputs.retrieved))
        return super().is_not_converged(node) or says_so

    def keeps_density(self) -> bool:
        """Whether a next calculation with these parameters starts from the orbitals that this one leaves."""
        parameters = merge_parameters(self.inputs.parameters.get_dict())
        guess, file = value_at(parameters, f"{SCF}/SCF_GUESS"), value_at(parameters, "FORCE_EVAL/DFT/RESTART_FILE_NAME")
        return str(guess).upper() == "RESTART" and file == RESTART_FILES["kpoints" in self.inputs]

    def make_label(self, node: orm.CalcJobNode, recovery: orm.Dict) -> tuple[Any, orm.CalcFunctionNode]:
        """Read and judge the label of the calculation *node*."""
        return read_cp2k_label.run_get_node(
            structure=self.inputs.structure,
            calculated=node.inputs.structure,
            parameters=node.inputs.parameters,
            retrieved=node.outputs.retrieved,
            recovery=recovery,
        )

    def change_settings(self, changes: dict[str, Any]) -> orm.Dict:
        """CP2K's input with *changes*."""
        changed: Any = change_electronic_settings(self.inputs.parameters, orm.Dict(changes))
        return changed


class Cp2kTarget(Target):
    """CP2K's Quickstep through aiida-cp2k."""

    name: ClassVar[str] = "cp2k"

    @classmethod
    def get_work_chain(cls) -> type[WorkChain]:
        """The work chain that labels one structure."""
        return Cp2kLabelWorkChain

    @classmethod
    def get_inputs(cls, *, structure: orm.StructureData, functional: str, **options: Any) -> dict[str, Any]:
        """Inputs from the settings of ``cp2k.yaml``.

        :param options: ``code`` (required), ``kinds`` (by element: ``BASIS_SET``, ``POTENTIAL`` and other keys of its
            KIND section), ``parameters`` (sections and keywords to add or replace; None removes one),
            ``kpoints_mesh`` (default: the Gamma point only), ``files`` (SinglefileData by any name, such as a basis
            file that ``parameters`` name), ``options`` (metadata.options).
        :raises ValueError: for an unknown functional or option, a missing one, or parameters that cannot give
            consistent labels.
        """
        check_options(options, OPTIONS, required=("code",), mappings=("kinds", "parameters", "files", "options"))
        settings = read_settings("cp2k")
        inputs = {
            "code": options["code"],
            "parameters": orm.Dict(_parameters(settings, structure, functional, options)),
            "options": orm.Dict(settings["options"] | (options.get("options") or {})),
        }
        if options.get("kpoints_mesh"):
            inputs["kpoints"] = make_mesh(options["kpoints_mesh"])
        return inputs | ({"file": dict(options["files"])} if options.get("files") else {})

    @classmethod
    def check_elements(cls, elements: set[str], inputs: Any) -> str | None:
        """Every element has its basis and potential."""
        missing = sorted(elements - set(kinds_of(inputs["parameters"].get_dict())))
        return f"target.parameters has no FORCE_EVAL/SUBSYS/KIND for {', '.join(missing)}" if missing else None


def _parameters(
    settings: dict[str, Any], structure: orm.StructureData, functional: str, options: dict[str, Any]
) -> dict[str, Any]:
    """CP2K's input but for the structure and the k-points.

    :raises ValueError: if it cannot give consistent labels.
    """
    elements = sorted(structure.get_symbols_set())
    kinds = options.get("kinds") or {}
    check_names(kinds, set(elements), "element in target option kinds:")
    own = {
        "FORCE_EVAL": {
            "DFT": {"RESTART_FILE_NAME": RESTART_FILES[bool(options.get("kpoints_mesh"))]},
            "SUBSYS": {
                "KIND": [{"_": name} | merge_parameters(settings["kind"], kinds.get(name, {})) for name in elements]
            },
        }
    }
    layers = (settings["common"], settings_of(settings, functional), own, options.get("parameters") or {})
    parameters = merge_parameters(*layers)
    message = check_parameters(parameters)
    if message:
        raise ValueError(f"target options: parameters: {message}")
    return parameters


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    try:
        return check_parameters(node.get_dict())
    except (TypeError, ValueError, AttributeError) as error:
        return f"a section or keyword has a value of the wrong kind: {error}"


def _validate_kpoints(node: orm.KpointsData | None, _: Any) -> str | None:
    """A Monkhorst-Pack mesh, for a list of points has no meaning once the cell has changed."""
    if node is None:
        return None
    if "mesh" not in node.base.attributes.all:
        return "kpoints must be a mesh"
    if any(node.get_kpoints_mesh()[1]):
        return "aiida-cp2k leaves out the offset of a mesh; give one without"
    return None
