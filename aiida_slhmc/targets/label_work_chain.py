"""What the label work chains of all engines have in common: run, recover where the policy allows it, read, judge."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessHandlerReport, process_handler, while_

from aiida_slhmc.calculations.port_checks import check_options
from aiida_slhmc.data.configuration import ConfigurationData

__all__ = ("NOT_A_LABEL", "OTHER_STRUCTURE", "LabelWorkChain")

# exit statuses that a calculation function which reads a label may end with, the same as the work chain's
NOT_A_LABEL = 420
OTHER_STRUCTURE = 423


class LabelWorkChain(BaseRestartWorkChain):
    """Label one structure with one engine. An adapter's work chain derives from it and says only what differs.

    A subclass sets ``_process_class``, exposes the inputs of that calculation in ``define`` and implements
    :meth:`make_label`. Where the engine can start from an earlier density, it sets ``RESTART_PORT`` and
    :meth:`keeps_density`; where the self-consistency may fail to converge, ``NOT_CONVERGED``,
    ``CONVERGENCE_RECOVERIES`` and :meth:`change_settings` (or what decides from them: :meth:`is_not_converged`,
    :meth:`convergence_recoveries`).

    What a recovery changed is on the label, as its attribute ``recovery``.
    """

    # the calculation's input that takes the remote folder whose density or orbitals start the self-consistency
    RESTART_PORT: ClassVar[str | None] = None
    # exit statuses of the calculation that say that the self-consistency did not converge
    NOT_CONVERGED: ClassVar[frozenset[int]] = frozenset()
    # other ways to the same ground state, tried in this order, each from the density of the atoms
    CONVERGENCE_RECOVERIES: ClassVar[tuple[dict[str, Any], ...]] = ()

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="What to label.")
        spec.input(
            "options",
            valid_type=orm.Dict,
            validator=lambda node, _: cls.check_options(node.get_dict()),
            help="metadata.options of the calculation: resources, wall time, …",
        )
        if cls.RESTART_PORT is not None:
            spec.input(
                "restart_folder",
                valid_type=orm.RemoteData,
                required=False,
                help="Folder of an earlier calculation, of a similar configuration, whose density or orbitals start "
                "this one's self-consistency.",
            )
            spec.output("remote_folder", valid_type=orm.RemoteData, required=False, help="The density's place.")
        spec.outline(
            cls.setup,
            cls.prepare_structure,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.read_label,
        )
        spec.output("label", valid_type=ConfigurationData, help="The labelled configuration.")
        spec.exit_code(
            NOT_A_LABEL, "ERROR_NOT_A_LABEL", message="The calculation finished, but it gave no label: {reason}."
        )
        spec.exit_code(
            421,
            "ERROR_NOT_CONVERGED",
            message="The electronic self-consistency did not converge with any recovery that keeps the energy surface. "
            "Look at the output of the last calculation; more iterations or other mixing may help.",
        )
        spec.exit_code(
            422,
            "ERROR_CALCULATION_FAILED",
            message="The calculation failed twice: {reason}. Look at its retrieved files.",
        )
        spec.exit_code(
            OTHER_STRUCTURE,
            "ERROR_OTHER_STRUCTURE",
            message="The output belongs to another structure than the one to label: {reason}. There is no label.",
        )

    @classmethod
    def check_options(cls, options: dict[str, Any]) -> str | None:
        """Why the calculation would refuse these ``metadata.options``, or None."""
        return check_options(cls._process_class, options)

    @abstractmethod
    def make_label(self, node: orm.CalcJobNode, recovery: orm.Dict) -> tuple[Any, orm.CalcFunctionNode]:
        """Read and judge the label of the calculation *node*: what the calculation function's ``run_get_node`` returns.

        The function pairs the output with the calculation's own input structure, puts *recovery* on the label, and
        returns an ExitCode with status ``NOT_A_LABEL`` or ``OTHER_STRUCTURE`` where the policy refuses the output.
        """

    def change_settings(self, changes: dict[str, Any]) -> orm.Dict:
        """The calculation's ``parameters`` with *changes* (one of ``CONVERGENCE_RECOVERIES``)."""
        raise NotImplementedError

    def is_not_converged(self, node: orm.CalcJobNode) -> bool:
        """Whether *node* failed in a way that another way to the ground state may cure."""
        return node.exit_status in self.NOT_CONVERGED

    def convergence_recoveries(self) -> tuple[dict[str, Any], ...]:
        """The ways to the ground state that are left to try, in their order."""
        return self.CONVERGENCE_RECOVERIES

    def keeps_density(self) -> bool:
        """Whether the calculation leaves a density or orbitals that a next one may start from."""
        return self.RESTART_PORT is not None

    def start_from_atoms(self) -> None:
        """Start the next calculation from the density of the atoms, and have it on record if that is a change."""
        if self.RESTART_PORT is not None and self.ctx.inputs.pop(self.RESTART_PORT, None) is not None:
            self.ctx.recovery = self.ctx.recovery | {"starting_density": "atomic"}

    def setup(self) -> None:
        """Prepare the inputs of the first calculation."""
        super().setup()
        self.ctx.recoveries = 0
        self.ctx.repeated = False
        self.ctx.recovery = {}
        inputs = AttributeDict(self.exposed_inputs(self._process_class))
        inputs.structure = self.inputs.structure
        inputs.metadata = {"options": self.inputs.options.get_dict()}
        if self.RESTART_PORT is not None and "restart_folder" in self.inputs:
            inputs[self.RESTART_PORT] = self.inputs.restart_folder
        self.ctx.inputs = inputs

    def prepare_structure(self) -> ExitCode | None:
        """Put the structure into a form that the engine takes; by default as it is."""
        return None

    def inspect_process(self) -> ExitCode | None:
        """As the base class; but a calculation that excepted is a failure like any other.

        Parsers except on numbers that are not numbers, and uploads where the restart folder is gone.
        """
        node = self.ctx.children[self.ctx.iteration - 1]
        if not node.is_excepted:
            return super().inspect_process()
        report = self.handle_failure(node)
        if report and report.exit_code.status:
            return report.exit_code
        if self.ctx.iteration >= self.inputs.max_iterations.value:
            return self.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED
        return None

    @process_handler(priority=100)
    def handle_not_converged(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Take the next way to the ground state."""
        if not self.is_not_converged(node):
            return None
        ways = self.convergence_recoveries()
        if self.ctx.recoveries >= len(ways):
            return ProcessHandlerReport(True, self.exit_codes.ERROR_NOT_CONVERGED)
        changes = ways[self.ctx.recoveries]
        self.ctx.recoveries += 1
        self.report(f"{node.process_label}<{node.pk}> did not converge; trying {changes}")
        self.ctx.inputs.parameters = self.change_settings(changes)
        self.start_from_atoms()
        self.ctx.recovery = self.ctx.recovery | changes
        return ProcessHandlerReport(True)

    @process_handler(priority=50)
    def handle_failure(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Repeat once, from the density of the atoms, whatever else went wrong: a node, a file that did not arrive."""
        if node.is_finished_ok:
            return None
        # or caching would answer the repetition, and a later restart, with this failure
        node.base.caching.is_valid_cache = False
        what = f"exit code {node.exit_status}, {node.exit_message}" if node.is_finished else f"{node.exception}"
        if self.ctx.repeated:
            return ProcessHandlerReport(True, self.exit_codes.ERROR_CALCULATION_FAILED.format(reason=what.strip()))
        self.ctx.repeated = True
        self.start_from_atoms()
        self.report(f"{node.process_label}<{node.pk}> failed: {what.strip()}; repeating it once")
        return ProcessHandlerReport(True)

    def read_label(self) -> ExitCode | None:
        """Read and judge the label of the calculation that succeeded."""
        node = self.ctx.children[-1]
        label, outcome = self.make_label(node, orm.Dict(self.ctx.recovery))
        if outcome.exit_status == OTHER_STRUCTURE:
            return self.exit_codes.ERROR_OTHER_STRUCTURE.format(reason=outcome.exit_message)
        if not outcome.is_finished_ok:
            return self.exit_codes.ERROR_NOT_A_LABEL.format(reason=outcome.exit_message)
        self.out("label", label)
        if self.keeps_density():
            self.out("remote_folder", node.outputs.remote_folder)
        return None

    def on_terminated(self) -> None:
        """As the base class, but without its report that folders stay, which the epoch removes when it is time."""
        if self.inputs.clean_workdir.value:
            super().on_terminated()
        else:
            super(BaseRestartWorkChain, self).on_terminated()
