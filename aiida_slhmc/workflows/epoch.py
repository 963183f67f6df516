"""EpochWorkChain: cycles of hybrid Monte Carlo with a frozen kernel. Inside it the chain is exact."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, WorkChain, while_

from aiida_slhmc.calculations.epoch import (
    adapt_trajectory,
    collect_block,
    collect_chain,
    record_unlabelled,
    summarise_epoch,
)
from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation, sorted_walkers
from aiida_slhmc.calculations.metropolis import metropolis
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.workflows.children import (
    failure_reason,
    find_children,
    label_process,
    launch_once,
    lost_labels,
    run_once,
)
from aiida_slhmc.workflows.epoch_ports import define_inputs, define_outputs
from aiida_slhmc.workflows.outcomes import result_once
from aiida_slhmc.workflows.remote_folders import clean, left_behind, restart_folder_of, start_from, superseded

__all__ = ("EpochWorkChain",)

# cycles in a row in which every trajectory diverged: the kernel gets nowhere and has to be looked at
MAX_DIVERGED_CYCLES = 3


class EpochWorkChain(WorkChain):
    """One epoch: every cycle proposes for all walkers with one job, labels the K end points in parallel and decides.

    The model, the trajectory and the jitter law stay as they are, so the chain with repeats samples the target's NVT or
    NPT ensemble. On its own, with many cycles, this is the production reference sampler. A walker whose trajectory
    diverges stays where it is for that cycle and costs no label. An epoch that ends early, but after a decision, has
    the same outputs as one that is complete, for the cycles that were decided.

    Where the engine can, the self-consistency of an end point starts from the density of the state that its trajectory
    started from. Only those densities stay on the computer, one for each walker.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            while_(cls.has_cycles_left)(cls.propose, cls.propose_lost, cls.label, cls.label_lost, cls.decide),
            cls.finish,
        )
        define_outputs(spec)

    def setup(self) -> None:
        """Start from the given walkers. The context holds numbers and uuids, as many as there are walkers."""
        self.ctx.cycle = 0
        self.ctx.failed_in_a_row = 0
        self.ctx.diverged_in_a_row = 0
        self.ctx.states = [node.uuid for _, node in sorted_walkers(self.inputs.walkers)]
        folders = self.inputs.get("restart_folders", {})
        names = [f"walker_{k}" for k in range(len(self.ctx.states))]
        self.ctx.restart_folders = [folders[name].uuid if name in folders else None for name in names]

    def has_cycles_left(self) -> bool:
        """Whether the epoch goes on."""
        return bool(self.ctx.cycle < self.inputs.n_cycles.value)

    def propose(self) -> None:
        """Propose for all walkers in one job."""
        self._launch_proposal()

    def propose_lost(self) -> None:
        """Propose once more, alike, where AiiDA lost the job: an exception says nothing about the proposals."""
        if self.ctx.proposal.is_excepted:
            self._launch_proposal(self.ctx.proposal)

    def label(self) -> ExitCode | None:
        """Label all end points in parallel, those of diverged trajectories left out."""
        proposal = self.ctx.proposal
        if not proposal.is_finished_ok:
            self._finish_if_decided()
            return self.exit_codes.ERROR_PROPOSAL_FAILED.format(
                cycle=self.ctx.cycle, reason=failure_reason(proposal), pk=proposal.pk
            )
        for name, message in proposal.outputs.proposals.base.attributes.get("divergences").items():
            self.report(f"cycle {self.ctx.cycle}, {name}: diverged, counted as a rejection: {message}")
        self._launch_labels({})
        return None

    def label_lost(self) -> None:
        """Label once more what AiiDA lost, as when its broker died: that is no failure of the engine's."""
        lost = lost_labels(self, len(self.ctx.states))
        if lost:
            self._launch_labels(lost)

    def decide(self) -> ExitCode | None:
        """Accept or reject; an end point without a label is recorded as such and rejected."""
        outputs = self.ctx.proposal.outputs
        # by the structures and not by the context, which still holds a label of the last cycle where a walker diverged
        labels = {k: self._label_or_record(k) for k, _ in self._end_points()}
        inputs: dict[str, Any] = {"proposals": outputs.proposals}
        inputs |= {f"state_{k}": orm.load_node(uuid) for k, uuid in enumerate(self.ctx.states)}
        inputs |= {f"label_{k}": label for k, label in labels.items()}
        node = run_once(self, metropolis, self._name("decide"), inputs)
        if not node.is_finished_ok:
            self._finish_if_decided()
            return self.exit_codes.ERROR_DECISION_FAILED.format(cycle=self.ctx.cycle, reason=failure_reason(node))
        self._move([k for k in labels if node.outputs.result["accepted"][k]], labels)
        self.ctx.cycle += 1
        return self._stop_after_failures(list(labels.values())) or self._stop_after_divergences(not labels)

    def finish(self) -> None:
        """Collect labels and chain from the decisions, judge the epoch, and put out the walkers' states."""
        decisions = self._decisions()
        results = {name: call.outputs.result for name, call in decisions.items()}
        chain = result_once(self, collect_chain, "collect_chain", results)
        summary = result_once(self, summarise_epoch, "summarise", {"chain": chain})
        outputs = {"chain": chain, "summary": summary, **self._block(decisions)}
        if "adaptation" in self.inputs:
            inputs = {"trajectory": self.inputs.trajectory, "adaptation": self.inputs.adaptation, "summary": summary}
            outputs["next_trajectory"] = result_once(self, adapt_trajectory, "adapt", inputs)
        for warning in summary["warnings"]:
            self.report(f"epoch {self.inputs.epoch.value}: {warning}")
        outputs |= {f"walkers.walker_{k}": orm.load_node(uuid) for k, uuid in enumerate(self.ctx.states)}
        densities = enumerate(self.ctx.restart_folders)
        outputs |= {f"restart_folders.walker_{k}": orm.load_node(uuid) for k, uuid in densities if uuid is not None}
        # all or nothing: a restart takes an epoch that has a chain for one that has the rest, too
        for name, node in outputs.items():
            self.out(name, node)

    def _launch_proposal(self, lost: orm.ProcessNode | None = None) -> None:
        inputs: dict[str, Any] = {
            "code": self.inputs.proposal.code,
            "model": self.inputs.model,
            "parameters": self.inputs.parameters,
            "trajectory": self.inputs.trajectory,
            "epoch": self.inputs.epoch,
            "cycle": orm.Int(self.ctx.cycle),
            "states": {f"walker_{k}": orm.load_node(uuid) for k, uuid in enumerate(self.ctx.states)},
        }
        if self.inputs.get("committee"):
            inputs["committee"] = dict(self.inputs.committee)
        if "reference_structure" in self.inputs:
            inputs["reference_structure"] = self.inputs.reference_structure
        if "options" in self.inputs.proposal:
            inputs["metadata"] = {"options": self.inputs.proposal.options.get_dict()}
        name = self._name("propose")
        self.to_context(proposal=launch_once(self, MaceProposalCalculation, name, inputs, lost=lost))

    def _launch_labels(self, lost: dict[int, orm.ProcessNode]) -> None:
        """Launch the labels of all end points, or, where some were *lost*, of these."""
        process, inputs = label_process(self.inputs.target)
        for k, structure in self._end_points():
            if lost and k not in lost:
                continue
            own = start_from(process, self.ctx.restart_folders[k]) | {"structure": structure}
            child = launch_once(self, process, self._name("label", k), inputs | own, lost=lost.get(k))
            self.to_context(**{f"label_{k}": child})

    def _move(self, accepted: list[int], labels: dict[int, ConfigurationData]) -> None:
        """Let the *accepted* walkers stand at their end points, and remove the folders that nothing starts from."""
        states, folders = list(self.ctx.states), list(self.ctx.restart_folders)
        for k in accepted:
            states[k] = labels[k].uuid
            folders[k] = restart_folder_of(self.ctx[f"label_{k}"])
        if self.inputs.clean_workdir.value:
            jobs = [self.ctx.proposal, *(self.ctx[f"label_{k}"] for k in labels)]
            former = left_behind(self.ctx.restart_folders, folders, self.inputs.get("restart_folders", {}))
            problem = clean([*superseded(jobs, folders), *former])
            if problem:
                self.report(f"cycle {self.ctx.cycle}: {problem}")
        self.ctx.states, self.ctx.restart_folders = states, folders

    def _finish_if_decided(self) -> None:
        """Before an early end: what was decided is not lost."""
        if self._decisions():
            self.finish()

    def _decisions(self) -> dict[str, orm.ProcessNode]:
        """The decisions so far, by name; one that failed has decided nothing."""
        return {name: call for name, call in find_children(self.node, "decide_").items() if call.is_finished_ok}

    def _block(self, decisions: dict[str, orm.ProcessNode]) -> dict[str, orm.Data]:
        labels = {
            f"{name}_{key}": call.inputs[key]
            for name, call in decisions.items()
            for key in call.inputs
            if key.startswith("label_")
        }
        if not any(node.is_labelled for node in labels.values()):
            return {}
        # its file has the labels' uuids, so a fine-tuning is only found in the cache if the block is, too
        return {"dataset": result_once(self, collect_block, "collect_block", labels, use_cache=True)}

    def _end_points(self) -> list[tuple[int, orm.StructureData]]:
        """Walkers that did not diverge in this cycle, and what they propose."""
        outputs = self.ctx.proposal.outputs
        return sorted_walkers(outputs.structures) if "structures" in outputs else []

    def _name(self, what: str, walker: int | None = None) -> str:
        """Call-link label of a child of this cycle."""
        return f"{what}_{self.ctx.cycle:05d}" + ("" if walker is None else f"_{walker}")

    def _label_or_record(self, k: int) -> ConfigurationData:
        """The label of walker *k*, or the record that it could not be had."""
        child = self.ctx[f"label_{k}"]
        if child.is_finished_ok:
            return child.outputs.label
        self.report(f"cycle {self.ctx.cycle}, walker {k}: no label, counted as a rejection: {failure_reason(child)}")
        inputs = {"structure": child.inputs.structure, "reason": orm.Str(failure_reason(child))}
        return result_once(self, record_unlabelled, self._name("unlabelled", k), inputs)

    def _stop_after_failures(self, labels: list[ConfigurationData]) -> ExitCode | None:
        for label in labels:
            self.ctx.failed_in_a_row = 0 if label.is_labelled else self.ctx.failed_in_a_row + 1
            if self.ctx.failed_in_a_row >= self.inputs.max_failed_labels.value:
                self.finish()
                return self.exit_codes.ERROR_TOO_MANY_FAILED_LABELS.format(
                    count=self.ctx.failed_in_a_row, reason=label.base.attributes.get("unlabelled_reason")
                )
        return None

    def _stop_after_divergences(self, all_diverged: bool) -> ExitCode | None:
        """Also at the end of a short epoch in which nothing else happened, or a run would go on without labels."""
        self.ctx.diverged_in_a_row = self.ctx.diverged_in_a_row + 1 if all_diverged else 0
        if self.ctx.diverged_in_a_row < min(MAX_DIVERGED_CYCLES, self.inputs.n_cycles.value):
            return None
        self.finish()
        reasons = self.ctx.proposal.outputs.proposals.base.attributes.get("divergences")
        return self.exit_codes.ERROR_ALL_DIVERGED.format(
            count=self.ctx.diverged_in_a_row, reason="; ".join(f"{name}: {why}" for name, why in reasons.items())
        )
