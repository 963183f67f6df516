"""What the work chains have in common that run one of the worker's calculations with as many jobs as it takes."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import (
    BaseRestartWorkChain,
    ExitCode,
    ProcessHandlerReport,
    ToContext,
    append_,
    process_handler,
    while_,
)

from aiida_slhmc.calculations.port_checks import check_options
from aiida_slhmc.calculations.worker_calculation import MaceCalculation
from aiida_slhmc.workflows.children import failure_reason, find_child
from aiida_slhmc.workflows.validators import validate_positive

__all__ = ("WorkerWorkChain", "exit_code_of")

CODES = MaceCalculation.exit_codes


class WorkerWorkChain(BaseRestartWorkChain):
    """Base of FineTuneWorkChain and MdWorkChain: a crash repeats nothing, and every failure has a reason.

    Subclasses name the calculation, and give the outputs, the exit codes ``ERROR_WALLTIME_TOO_SHORT`` and
    ``ERROR_CALCULATION_FAILED`` with a ``{reason}``, and handlers of what they can do something about.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs and outline."""
        super().define(spec)
        process: Any = cls._process_class
        spec.expose_inputs(process, exclude=("metadata",))
        spec.input(
            "options",
            valid_type=orm.Dict,
            required=False,
            validator=lambda node, _: check_options(process, node.get_dict()),
            help="metadata.options.",
        )
        spec.inputs["max_iterations"].validator = validate_positive
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )

    def setup(self) -> None:
        """Inputs of the first calculation."""
        super().setup()
        self.ctx.repeated = False
        process: Any = self._process_class
        inputs = AttributeDict(self.exposed_inputs(process))
        inputs.metadata = {"options": self.inputs.options.get_dict()} if "options" in self.inputs else {}
        self.ctx.inputs = inputs

    def run_process(self) -> ToContext:
        """As the base class; but a job that was launched before a crash, and is not in the context, is not repeated."""
        node = find_child(self.node, f"iteration_{self.ctx.iteration + 1:02d}")
        if node is None:
            return super().run_process()
        self.ctx.iteration += 1
        return ToContext(children=append_(node))

    def inspect_process(self) -> ExitCode | None:
        """As the base class; but one that excepted is an accident, and the reason is said where there is no other."""
        node = self.ctx.children[self.ctx.iteration - 1]
        if not (node.is_excepted or node.is_killed):
            return super().inspect_process()
        if node.is_excepted and self._repeat(node):
            return None
        return self._end(self.exit_codes.ERROR_CALCULATION_FAILED.format(reason=failure_reason(node))).exit_code

    @process_handler(priority=70, exit_codes=[CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME])
    def handle_killed_by_scheduler(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Nothing was saved, and the same would happen again."""
        return self._end(self.exit_codes.ERROR_WALLTIME_TOO_SHORT.format(reason=failure_reason(node)))

    @process_handler(priority=60, exit_codes=[CODES.ERROR_OUTPUT_INCOMPLETE, CODES.ERROR_SCHEDULER_NODE_FAILURE])
    def handle_accident(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Repeat once what is no fault of the job's: a node that broke down, a file that did not arrive."""
        return ProcessHandlerReport(True) if self._repeat(node) else None

    @process_handler(priority=0)
    def handle_other_failures(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End with the reason, whatever no other handler knows."""
        if node.is_finished_ok:
            return None
        return self._end(self.exit_codes.ERROR_CALCULATION_FAILED.format(reason=failure_reason(node)))

    def _repeat(self, node: orm.CalcJobNode) -> bool:
        """Whether *node* is repeated, which happens once."""
        if self.ctx.repeated or self._is_last():
            return False
        self.ctx.repeated = True
        self.report(f"{failure_reason(node)}; repeating it once")
        return True

    def _is_last(self) -> bool:
        return bool(self.ctx.iteration >= self.inputs.max_iterations.value)

    def _end(self, code: ExitCode) -> ProcessHandlerReport:
        """End with this code; the base class would give its own for the last iteration if it were not finished."""
        self.ctx.is_finished = True
        return ProcessHandlerReport(True, code)

    def on_terminated(self) -> None:
        """As the base class, but without its report that folders stay, which the caller removes."""
        if self.inputs.clean_workdir.value:
            super().on_terminated()
        else:
            super(BaseRestartWorkChain, self).on_terminated()


def exit_code_of(node: orm.CalcJobNode) -> ExitCode:
    """The one that a job has ended with."""
    return ExitCode(int(node.exit_status or 0), node.exit_message)
