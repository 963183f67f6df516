"""FineTuneWorkChain: a fine-tuning that goes on after the end of its wall time and finds a batch that fits."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ProcessHandlerReport, process_handler

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.update import smaller_batch
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.workflows.children import failure_reason
from aiida_slhmc.workflows.worker_work_chain import WorkerWorkChain, exit_code_of

__all__ = ("RUN_INPUTS", "FineTuneWorkChain")

# what a run gives to each of its trainings; the model and the labels change
RUN_INPUTS = ("code", "parameters", "options", "max_iterations", "replay", "probes", "force_constants")

CODES = MaceFineTuneCalculation.exit_codes
# a training that ended, and whose outputs tell how; the caller decides what becomes of them
JUDGED = ("ERROR_DIVERGED", "ERROR_NO_IMPROVEMENT", "ERROR_WORSE_THAN_PARENT")


class FineTuneWorkChain(WorkerWorkChain):
    """Fine-tune once, with as many jobs as it takes: see the handlers.

    It ends with the calculation's own exit status and outputs where the training diverged (340), was no improvement
    (341) or made the model worse (342): whether that model is used is the caller's decision. A training that has used
    up `max_iterations` wall times ends with 311 and the best model so far; its output ``training_state`` is the input
    of a next one.
    """

    _process_class = MaceFineTuneCalculation

    @classmethod
    def define(cls, spec: Any) -> None:
        """Outputs and exit codes."""
        super().define(spec)
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
        self.ctx.n_epochs = 0

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

    def _end_with_outputs_of(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End with the exit code of *node*, and hand out its model, curve and metrics."""
        self._attach_outputs(node)
        return self._end(exit_code_of(node))
