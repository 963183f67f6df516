"""The Quantum ESPRESSO target: aiida-quantumespresso's PwCalculation inside the label work chain."""

from __future__ import annotations

from typing import Any, ClassVar

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import ExitCode, WorkChain
from aiida.plugins import GroupFactory
from aiida_quantumespresso.calculations.pw import PwCalculation

from aiida_slhmc.targets.base import Target
from aiida_slhmc.targets.label_work_chain import LabelWorkChain
from aiida_slhmc.targets.options import check_options, make_mesh, read_settings, settings_of
from aiida_slhmc.targets.quantum_espresso_label import change_electronic_settings, read_quantum_espresso_label
from aiida_slhmc.targets.quantum_espresso_policy import (
    check_parameters,
    check_settings,
    merge_parameters,
    starts_from_files,
)

__all__ = ("QuantumEspressoLabelWorkChain", "QuantumEspressoTarget")


OPTIONS = ("code", "pseudo_family", "parameters", "kpoints_mesh", "kpoints_offset", "options")


class QuantumEspressoLabelWorkChain(LabelWorkChain):
    """Label one structure with pw.x: run, recover where the policy allows it, read the label.

    With ``restart_folder``, and ``startingpot`` or ``startingwfc`` 'file' in ``parameters``, pw.x gets a copy of what
    the earlier calculation has left, and starts from it. Where the folder is gone, pw.x starts from atoms.
    Recovery may change mixing, diagonalisation, the number of iterations and the starting density, nothing that moves
    the energy.
    """

    _process_class = PwCalculation

    RESTART_PORT: ClassVar[str | None] = "parent_folder"
    NOT_CONVERGED: ClassVar[frozenset[int]] = frozenset(
        PwCalculation.exit_codes[name].status
        for name in (
            "ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED",
            "ERROR_COMPUTING_CHOLESKY",
            "ERROR_DIAGONALIZATION_TOO_MANY_BANDS_NOT_CONVERGED",
            "ERROR_S_MATRIX_NOT_POSITIVE_DEFINITE",
            "ERROR_EIGENVECTOR_CONVERGENCE",
            "ERROR_BROYDEN_FACTORIZATION",
        )
    )
    CONVERGENCE_RECOVERIES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"mixing_beta": 0.2, "electron_maxstep": 200},
        {"mixing_beta": 0.1, "mixing_mode": "local-TF", "diagonalization": "cg", "electron_maxstep": 300},
    )

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs beside those of every label work chain."""
        super().define(spec)
        inputs = ("code", "parameters", "kpoints", "pseudos", "settings", "parallelization")
        spec.expose_inputs(PwCalculation, include=inputs)
        # not PwCalculation's own, which wants pseudopotentials by kind; the outline sees to that
        spec.inputs.validator = _validate_inputs
        spec.inputs["parameters"].validator = _validate_parameters
        spec.inputs["kpoints"].validator = _validate_kpoints
        spec.inputs["settings"].validator = _validate_settings
        spec.inputs["pseudos"].help = "Pseudopotentials by element (or, where they differ, by name of the kind)."

    def keeps_density(self) -> bool:
        """Whether the next calculation would start from what this one leaves."""
        return starts_from_files(self.inputs.parameters.get_dict())

    def setup(self) -> None:
        """As the base class; but nothing is copied that is not read."""
        super().setup()
        if not self.keeps_density():
            self.ctx.inputs.pop(self.RESTART_PORT, None)

    def prepare_structure(self) -> ExitCode | None:
        """Give each kind of the structure the pseudopotential of its element."""
        pseudos = self.inputs.pseudos
        self.ctx.inputs.pseudos = {
            kind.name: pseudos.get(kind.name) or pseudos[kind.symbol] for kind in self.inputs.structure.kinds
        }
        return None

    def convergence_recoveries(self) -> tuple[dict[str, Any], ...]:
        """As listed, but never with fewer iterations or stronger mixing than was asked for."""
        electrons = self.inputs.parameters.get_dict()["ELECTRONS"]
        limits = (("electron_maxstep", max), ("mixing_beta", min))
        return tuple(
            changes
            | {key: limit(changes[key], electrons.get(key, changes[key])) for key, limit in limits if key in changes}
            for changes in self.CONVERGENCE_RECOVERIES
        )

    def make_label(self, node: orm.CalcJobNode, recovery: orm.Dict) -> tuple[Any, orm.CalcFunctionNode]:
        """Read and judge the label of the calculation *node*."""
        return read_quantum_espresso_label.run_get_node(
            structure=self.inputs.structure,
            calculated=node.inputs.structure,
            parameters=node.inputs.parameters,
            output_parameters=node.outputs.output_parameters,
            output_trajectory=node.outputs.output_trajectory,
            recovery=recovery,
        )

    def change_settings(self, changes: dict[str, Any]) -> orm.Dict:
        """The namelists with *changes*."""
        changed: Any = change_electronic_settings(self.inputs.parameters, orm.Dict(changes))
        return changed


class QuantumEspressoTarget(Target):
    """Quantum ESPRESSO's pw.x through aiida-quantumespresso."""

    name: ClassVar[str] = "quantum_espresso"

    @classmethod
    def get_work_chain(cls) -> type[WorkChain]:
        """The work chain that labels one structure."""
        return QuantumEspressoLabelWorkChain

    @classmethod
    def get_inputs(cls, *, structure: orm.StructureData, functional: str, **options: Any) -> dict[str, Any]:
        """Inputs from the settings of ``quantum_espresso.yaml``, whose cutoffs are for the potentials named there.

        Each label starts from atoms, unless *parameters* have ``{"ELECTRONS": {"startingpot": "file"}}`` or the same
        of ``startingwfc``, see the comments there.

        :param options: ``code`` (required), ``pseudo_family`` (required; label of an aiida-pseudo family),
            ``parameters`` (namelists whose keys to add or replace; None removes one), ``kpoints_mesh`` (default 1 1 2)
            and ``kpoints_offset`` (0 or 0.5 for each direction; 0 0 0 where only a mesh is given, else 0 0 0.5),
            ``options`` (metadata.options).
        :raises ValueError: for an unknown functional or option, a missing one, pseudopotentials that are not there, or
            parameters that cannot give consistent labels.
        """
        settings = read_settings("quantum_espresso")
        check_options(options, OPTIONS, required=("code", "pseudo_family"), mappings=("parameters", "options"))
        parameters = _parameters(settings, functional, options.get("parameters") or {})
        kpoints = _kpoints(settings, options)
        inputs = {
            "code": options["code"],
            "parameters": orm.Dict(parameters),
            "kpoints": kpoints,
            "pseudos": _pseudos(structure, options["pseudo_family"]),
            "options": orm.Dict(settings["options"] | (options.get("options") or {})),
        }
        if kpoints.get_kpoints_mesh() == ([1, 1, 1], [0.0, 0.0, 0.0]):
            # real wave functions: half the work, the same numbers
            inputs["settings"] = orm.Dict({"GAMMA_ONLY": True})
        return inputs

    @classmethod
    def check_elements(cls, elements: set[str], inputs: Any) -> str | None:
        """Every element has its pseudopotential."""
        pseudos = inputs.get("pseudos") or {}
        missing = sorted(elements - set(pseudos) - {pseudo.element for pseudo in pseudos.values()})
        return f"target.pseudos has no pseudopotential for {', '.join(missing)}" if missing else None


def _parameters(settings: dict[str, Any], functional: str, own: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The namelists of *functional* with the user's *own* keys on top, checked."""
    asked = merge_parameters(merge_parameters(settings["common"], settings_of(settings, functional)), own)
    message = check_parameters(asked)
    if message:
        raise ValueError(f"target options: parameters: {message}")
    return asked


def _kpoints(settings: dict[str, Any], options: dict[str, Any]) -> orm.KpointsData:
    """The mesh and its offset; where only a mesh is given, it has none."""
    mesh, offset = options.get("kpoints_mesh"), options.get("kpoints_offset")
    if mesh is None:
        return make_mesh(settings["kpoints_mesh"], settings["kpoints_offset"] if offset is None else offset)
    return make_mesh(mesh, offset)


def _pseudos(structure: orm.StructureData, family: str) -> dict[str, orm.Data]:
    elements = tuple(sorted(structure.get_symbols_set()))
    try:
        query = orm.QueryBuilder().append(GroupFactory("pseudo.family"), filters={"label": family}, subclassing=True)
        return dict(query.one()[0].get_pseudos(elements=elements))
    except (NotExistent, ValueError) as error:
        raise ValueError(
            f"no pseudopotentials of {', '.join(elements)} in the family '{family}' ({error}). Install one once, with"
            " `aiida-pseudo install sssp`, or your own with `aiida-pseudo install family FOLDER LABEL -P pseudo.upf`"
        ) from error


def _validate_inputs(inputs: Any, namespace: Any) -> str | None:
    """Each kind has its pseudopotential."""
    if "structure" not in inputs or "structure" not in namespace:
        return None
    pseudos = inputs.get("pseudos") or {}
    kinds = inputs["structure"].kinds
    missing = sorted(kind.name for kind in kinds if not {kind.name, kind.symbol} & set(pseudos))
    return f"pseudos has no pseudopotential for {', '.join(missing)}" if missing else None


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    try:
        return check_parameters(node.get_dict())
    except (TypeError, ValueError) as error:
        return f"a key of the namelists has a value of the wrong kind: {error}"


def _validate_kpoints(node: orm.KpointsData, _: Any) -> str | None:
    """A mesh, for a list of points has no meaning once the cell has changed."""
    if "mesh" not in node.base.attributes.all:
        return "kpoints must be a mesh"
    if set(node.get_kpoints_mesh()[1]) - {0.0, 0.5}:
        return "the offset of a mesh of pw.x is 0 or 0.5 in each direction"
    return None


def _validate_settings(node: orm.Dict | None, _: Any) -> str | None:
    return None if node is None else check_settings(node.get_dict())
