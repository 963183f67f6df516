"""MdWorkChain: molecular dynamics that goes on after the end of its wall time until all steps are done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler

from aiida_slhmc.calculations.mace_md import MaceMdCalculation
from aiida_slhmc.calculations.trajectory import join_runs, remaining_steps
from aiida_slhmc.workflows.children import failure_reason, run_once
from aiida_slhmc.workflows.worker_work_chain import WorkerWorkChain, exit_code_of

__all__ = ("MdWorkChain",)

CODES = MaceMdCalculation.exit_codes
# ends of a job that leave a piece of the trajectory
WITH_OUTPUTS = (0, CODES.ERROR_WALLTIME.status, CODES.ERROR_DIVERGED.status)
# a job goes on only where the one before it has used up its wall time, so this is no loop without an end
MAX_ITERATIONS = 50


class MdWorkChain(WorkerWorkChain):
    """One run, with as many jobs as it takes, and one trajectory: see the handlers.

    It ends with the calculation's own exit status where the run diverged (340), or where `max_iterations` wall times
    are used up (311). However it ends, the outputs are what there is; the output ``state``, which a run that diverged
    does not have, is the input of a next one.
    """

    _process_class = MaceMdCalculation

    @classmethod
    def define(cls, spec: Any) -> None:
        """Outputs and exit codes."""
        super().define(spec)
        spec.inputs["max_iterations"].default = lambda: orm.Int(MAX_ITERATIONS)
        spec.expose_outputs(MaceMdCalculation, include=("trajectory", "state", "results"))
        # a run that failed has none
        spec.outputs["results"].required = False
        for name in ("ERROR_WALLTIME", "ERROR_DIVERGED"):
            spec.exit_code(CODES[name].status, name, message=CODES[name].message)
        spec.exit_code(
            410,
            "ERROR_OUT_OF_MEMORY",
            message="Out of memory: {reason} In `options` ask for more memory, or another device.",
        )
        spec.exit_code(
            411,
            "ERROR_WALLTIME_TOO_SHORT",
            message="The wall time has no room for a single step: {reason} Raise max_wallclock_seconds in `options`.",
        )
        spec.exit_code(412, "ERROR_CALCULATION_FAILED", message="The molecular dynamics did not run: {reason}")

    def get_outputs(self, node: orm.CalcJobNode) -> Mapping[str, orm.Node]:
        """State of the last job, and trajectory and results of all jobs: joined where there are several."""
        outputs = self.exposed_outputs(node, MaceMdCalculation)
        pieces = self._pieces()
        if len(pieces) < 2:
            return outputs
        inputs: dict[str, Any] = {"parameters": self.inputs.parameters}
        for k, piece in enumerate(pieces):
            named = ((name, piece.outputs[name]) for name in ("trajectory", "results") if name in piece.outputs)
            inputs |= {f"{name}_{k}": output for name, output in named}
        joined = run_once(self, join_runs, "join", inputs)
        if not joined.is_finished_ok:
            self.ctx.problem = f"its pieces could not be joined: {failure_reason(joined)}"
            return {name: node for name, node in outputs.items() if name == "state"}
        return outputs | {name: joined.outputs[name] for name in joined.outputs}

    def results(self) -> ExitCode | None:
        """As the base class; pieces that do not make one run are a failure."""
        code = super().results()
        if code is None and "problem" in self.ctx:
            return self.exit_codes.ERROR_CALCULATION_FAILED.format(reason=self.ctx.problem)
        return code

    @process_handler(priority=100, exit_codes=[CODES.ERROR_WALLTIME])
    def handle_walltime(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Go on exactly where the run was when its time was up; after the last time, hand out what there is."""
        if _n_done(node) == 0:
            return self._end(self.exit_codes.ERROR_WALLTIME_TOO_SHORT.format(reason=failure_reason(node)))
        if self._is_last():
            return self._end(exit_code_of(node))
        parameters = remaining_steps(self.ctx.inputs.parameters, node.outputs.results)
        for name in ("structure", "reference_structure"):
            self.ctx.inputs.pop(name, None)
        self.ctx.inputs.update(state=node.outputs.state, parameters=parameters)
        left = parameters["n_steps"] + parameters["n_equilibration_steps"]
        self.report(f"{node.process_label}<{node.pk}> ran out of wall time; {left} steps are left, going on from there")
        return ProcessHandlerReport(True)

    @process_handler(priority=90, exit_codes=[CODES.ERROR_DIVERGED])
    def handle_divergence(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End with what came before: the same run would diverge again."""
        return self._end(exit_code_of(node))

    @process_handler(priority=80, exit_codes=[CODES.ERROR_OUT_OF_MEMORY, CODES.ERROR_SCHEDULER_OUT_OF_MEMORY])
    def handle_out_of_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End with advice: nothing in the inputs makes a run need less."""
        return self._end(self.exit_codes.ERROR_OUT_OF_MEMORY.format(reason=node.exit_message))

    def _pieces(self) -> list[orm.CalcJobNode]:
        """Jobs that have left a piece of the run."""
        return [node for node in self.ctx.children if node.exit_status in WITH_OUTPUTS and _n_done(node)]

    def _end(self, code: ExitCode) -> ProcessHandlerReport:
        """As the base class, and with what there is."""
        pieces = self._pieces()
        if pieces:
            self._attach_outputs(pieces[-1])
        return super()._end(code)


def _n_done(node: orm.CalcJobNode) -> int:
    """Steps of a job, 0 of one without results."""
    if "results" not in node.outputs:
        return 0
    done = node.outputs.results.get_dict()
    return int(done["n_steps"] + done["n_equilibration_steps"])
