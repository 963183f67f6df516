"""FineTuneWorkChain: a fine-tuning that goes on after the end of its wall time and finds a batch that fits."""

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

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.update import smaller_batch
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.workflows.children import failure_reason, find_child

__all__ = ("FineTuneWorkChain",)

CODES = MaceFineTuneCalculation.exit_codes
# a training that ended, and whose outputs tell how; the caller decides what becomes of them
JUDGED = ("ERROR_DIVERGED", "ERROR_NO_IMPROVEMENT", "ERROR_WORSE_THAN_PARENT")


class FineTuneWorkChain(BaseRestartWorkChain):
    """Fine-tune once, with as many jobs as it takes: see the handlers.

    It ends with the calculation's own exit status and outputs where the training diverged (340), was no improvement
    (341) or made the model worse (342): whether that model is used is the caller's decision. A training that has used
    up `max_iterations` wall times ends with 311 and the best model so far; its output ``training_state`` is the input
    of a next one.
    """

    _process_class = MaceFineTuneCalculation

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(MaceFineTuneCalculation, exclude=("metadata",))
        spec.input(
            "options", valid_type=orm.Dict, required=False, validator=_validate_options, help="metadata.options."
        )
        spec.inputs["max_iterations"].validator = _validate_iterations
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        spec.expose_outputs(MaceFineTuneCalculation, include=("model", "curve", "metrics", "training_state"))
        for name in ("ERROR_WALLTIME", *JUDGED):
            spec.exit_code(CODES[name].status, name, message=CODES[name].message)
        spec.exit_code(
            410,
            "ERROR_OUT_OF_MEMORY",
            message="Out of memory, last with a batch of {batch_size}: {reason} In `options` ask for more memory or "
            "another device; float32 (`dtype`) and fewer columns of force constants need less, too.",
        )
        spec.exit_code(
            411,
            "ERROR_WALLTIME_TOO_SHORT",
            message="The wall time has no room for a single training epoch and the evaluations: {reason} Raise "
            "max_wallclock_seconds in `options`, or take fewer labels (`selection`).",
        )
        spec.exit_code(
            412,
            "ERROR_CALCULATION_FAILED",
            message="The training did not run: {reason}",
        )

    def setup(self) -> None:
        """Inputs of the first calculation."""
        super().setup()
        self.ctx.repeated = False
        self.ctx.n_epochs = 0
        inputs = AttributeDict(self.exposed_inputs(MaceFineTuneCalculation))
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
        """As the base class; but the reason is said where a calculation excepted or was killed."""
        node = self.ctx.children[self.ctx.iteration - 1]
        if node.is_excepted or node.is_killed:
            return self.exit_codes.ERROR_CALCULATION_FAILED.format(reason=failure_reason(node))
        return super().inspect_process()

    @process_handler(priority=100, exit_codes=[CODES.ERROR_OUT_OF_MEMORY, CODES.ERROR_SCHEDULER_OUT_OF_MEMORY])
    def handle_out_of_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Train anew with half the batch.

        From the beginning, because what a part of the training has left belongs to its batches.
        """
        parameters = self.ctx.inputs.parameters
        batch_size = FineTuneParameters.from_dict(parameters.get_dict()).batch_size
        if batch_size == 1 or self._is_last():
            return self._end(
                self.exit_codes.ERROR_OUT_OF_MEMORY.format(batch_size=batch_size, reason=node.exit_message)
            )
        self.ctx.inputs.parameters = smaller_batch(parameters)
        self.ctx.inputs.pop("training_state", None)
        self.report(f"{node.process_label}<{node.pk}> ran out of memory; trying a batch of {batch_size // 2}")
        return ProcessHandlerReport(True)

    @process_handler(priority=90, exit_codes=[CODES.ERROR_WALLTIME])
    def handle_walltime(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Go on exactly where the training was when its time was up; after the last time, keep the best model."""
        n_epochs = node.outputs.metrics.get_dict().get("n_epochs", 0) if "metrics" in node.outputs else 0
        if n_epochs == 0:
            return self._end(self.exit_codes.ERROR_WALLTIME_TOO_SHORT.format(reason=failure_reason(node)))
        is_stuck = n_epochs == self.ctx.n_epochs
        self.ctx.n_epochs = n_epochs
        if "training_state" not in node.outputs or is_stuck or self._is_last():
            return self._end_with_outputs_of(node)
        self.ctx.inputs.training_state = node.outputs.training_state
        self.report(f"{node.process_label}<{node.pk}> ran out of wall time; going on from there")
        return ProcessHandlerReport(True)

    @process_handler(priority=80, exit_codes=[CODES[name] for name in JUDGED])
    def handle_judgement(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End with the same status and the outputs: another attempt with the same inputs would end alike."""
        return self._end_with_outputs_of(node)

    @process_handler(priority=70, exit_codes=[CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME])
    def handle_killed_by_scheduler(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Nothing was saved, and the same would happen again."""
        return self._end(self.exit_codes.ERROR_WALLTIME_TOO_SHORT.format(reason=failure_reason(node)))

    @process_handler(priority=60, exit_codes=[CODES.ERROR_OUTPUT_INCOMPLETE, CODES.ERROR_SCHEDULER_NODE_FAILURE])
    def handle_accident(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Repeat once what is no fault of the training: a node that broke down, a file that did not arrive."""
        if self.ctx.repeated or self._is_last():
            return None
        self.ctx.repeated = True
        self.report(f"{failure_reason(node)}; repeating it once")
        return ProcessHandlerReport(True)

    @process_handler(priority=0)
    def handle_other_failures(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End with the reason, whatever no other handler knows."""
        if node.is_finished_ok:
            return None
        return self._end(self.exit_codes.ERROR_CALCULATION_FAILED.format(reason=failure_reason(node)))

    def _is_last(self) -> bool:
        return bool(self.ctx.iteration >= self.inputs.max_iterations.value)

    def _end_with_outputs_of(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End with the exit code of *node*, and hand out its model, curve and metrics."""
        self._attach_outputs(node)
        return self._end(ExitCode(node.exit_status, node.exit_message))

    def _end(self, code: ExitCode) -> ProcessHandlerReport:
        """End with this code; the base class would give its own for the last iteration if it were not finished."""
        self.ctx.is_finished = True
        return ProcessHandlerReport(True, code)

    def on_terminated(self) -> None:
        """As the base class, but without its report that folders stay, which the run removes."""
        if self.inputs.clean_workdir.value:
            super().on_terminated()
        else:
            super(BaseRestartWorkChain, self).on_terminated()


def _validate_options(node: orm.Dict, _: Any) -> str | None:
    """The calculation's own check of its ``metadata.options``."""
    port: Any = MaceFineTuneCalculation.spec().inputs["metadata"]
    port = port["options"]
    error = port.validate(port.pre_process(node.get_dict()))
    return None if error is None else f"options: {error.message}"


def _validate_iterations(node: orm.Int, _: Any) -> str | None:
    return None if node.value >= 1 else f"must be at least 1, not {node.value}"
