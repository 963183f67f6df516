"""The ASE target: any calculator of ASE, run by this package's own calculation job."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, WorkChain, calcfunction, process_handler

from aiida_slhmc.calculations.ase_label import AseLabelCalculation, check_calculator
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.targets.base import Target
from aiida_slhmc.targets.label_work_chain import OTHER_STRUCTURE, LabelWorkChain
from aiida_slhmc.targets.options import check_options, read_settings

__all__ = ("AseLabelWorkChain", "AseTarget", "read_ase_label")

CODES = AseLabelCalculation.exit_codes


class AseLabelWorkChain(LabelWorkChain):
    """Label one structure with an ASE calculator.

    There is no recovery: how a calculator converges is its own affair, and ``arguments`` say how hard it tries.
    """

    _process_class = AseLabelCalculation
    NOT_CONVERGED = frozenset({CODES.ERROR_NOT_CONVERGED.status})

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs and exit codes beside those of all label work chains."""
        super().define(spec)
        spec.expose_inputs(AseLabelCalculation, include=("structure", "code", "calculator", "files"))
        spec.input(
            "functional", valid_type=orm.Str, help="Name of what the calculator computes; labels of one run share it."
        )
        spec.exit_code(424, "ERROR_CALCULATOR", message="The calculator gives no labels: {reason}")

    @process_handler(
        priority=75,
        exit_codes=[CODES.ERROR_CALCULATOR_UNAVAILABLE, CODES.ERROR_WRONG_ARGUMENTS, CODES.ERROR_PROPERTY_MISSING],
    )
    def handle_no_calculator(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End at once: another try would end in the same way."""
        return ProcessHandlerReport(True, self.exit_codes.ERROR_CALCULATOR.format(reason=node.exit_message))

    @process_handler(priority=75, exit_codes=[CODES.ERROR_NOT_FINITE])
    def handle_not_finite(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End at once: the calculator's answer to this configuration is no label."""
        return ProcessHandlerReport(True, self.exit_codes.ERROR_NOT_A_LABEL.format(reason=node.exit_message))

    def make_label(self, node: orm.CalcJobNode, recovery: orm.Dict) -> tuple[Any, orm.CalcFunctionNode]:
        """The label, with the name of the functional on it."""
        return read_ase_label.run_get_node(
            structure=node.inputs.structure,
            output=node.outputs.label,
            calculator=node.inputs.calculator,
            functional=self.inputs.functional,
            recovery=recovery,
        )


@calcfunction
def read_ase_label(
    structure: orm.StructureData, output: orm.ArrayData, calculator: orm.Dict, functional: orm.Str, recovery: orm.Dict
) -> ConfigurationData | ExitCode:
    """The label of *structure*, exactly the numbers of *output* (``AseLabelCalculation``'s ``label``).

    The label's ``engine`` is the path of the calculator.
    """
    atoms = structure.get_ase()
    expected = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
    other = [name for name, values in expected.items() if not np.array_equal(output.get_array(name), values)]
    if other:
        return ExitCode(OTHER_STRUCTURE, f"its {', '.join(other)} differ")
    label = {key: output.get_array(key) for key in ("energy", "forces", "stress")}
    source = {"functional": functional.value, "engine": calculator["calculator"], "stand_in": False}
    return ConfigurationData.from_structure(structure, label=label | source | {"recovery": recovery.get_dict()})


class AseTarget(Target):
    """Any ASE calculator: tight binding, another MACE model, a classical potential, a code that ASE drives."""

    name: ClassVar[str] = "ase"

    @classmethod
    def get_work_chain(cls) -> type[WorkChain]:
        """The work chain that labels one structure."""
        return AseLabelWorkChain

    @classmethod
    def get_inputs(cls, *, structure: orm.StructureData, functional: str, **options: Any) -> dict[str, Any]:
        """Inputs of one of the calculators in ``ase.yaml``, or of any other.

        :param functional: ``gfn1``, ``gfn2``, or, with the option ``calculator``, any name: labels carry it.
        :param options: ``code`` (required): a Python with ASE and the calculator's package; ``calculator``: importable
            path of the calculator's class, required unless the functional is one of the named; ``arguments``: its
            keyword arguments; ``files``: nodes of files that it reads, SinglefileData or MaceModelData by any name;
            ``options``: metadata.options.
        :raises ValueError: for an option that is unknown, missing or wrong.
        """
        mappings = ("arguments", "files", "options")
        check_options(options, ("code", "calculator", *mappings), required=("code",), mappings=mappings)
        settings = read_settings("ase")
        chosen = _calculator(functional, settings["functionals"], options)
        problem = check_calculator(chosen)
        if problem:
            raise ValueError(problem)
        inputs = {
            "code": options["code"],
            "functional": orm.Str(functional),
            "calculator": orm.Dict(chosen),
            "options": orm.Dict(settings["options"] | (options.get("options") or {})),
        }
        return inputs | ({"files": dict(options["files"])} if options.get("files") else {})


def _calculator(functional: str, presets: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The calculator and its arguments, as AseLabelCalculation takes them."""
    path, arguments = options.get("calculator"), options.get("arguments") or {}
    preset = presets.get(functional)
    if preset is None:
        if path is None:
            known = ", ".join(presets)
            raise ValueError(f"the functional must be one of {known}, or `calculator` be given, not '{functional}'")
        return {"calculator": path, "arguments": arguments}
    changed = sorted(
        name for name in preset["method"] if arguments.get(name, preset["method"][name]) != preset["method"][name]
    )
    if changed or path not in (None, preset["calculator"]):
        raise ValueError(f"{', '.join(changed) or 'calculator'}: '{functional}' is the name of another method's labels")
    return {"calculator": preset["calculator"], "arguments": preset["settings"] | arguments | preset["method"]}
