"""SlhmcWorkChain: epochs of hybrid Monte Carlo with a fine-tuning after each."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, WorkChain, if_, while_

from aiida_slhmc.calculations.fine_tune_inputs import check_functionals
from aiida_slhmc.calculations.history import summarise_run
from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.mace_proposal import sorted_walkers
from aiida_slhmc.calculations.update import member_parameters, update_parameters
from aiida_slhmc.workflows.children import failure_reason, find_children, label_process, launch_once
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain
from aiida_slhmc.workflows.inputs import get_slhmc_builder
from aiida_slhmc.workflows.outcomes import after_failed_epoch, describe_epoch, refusal_of, result_once, usable_model
from aiida_slhmc.workflows.remote_folders import clean, left_behind, restart_folder_of, superseded
from aiida_slhmc.workflows.slhmc_ports import define_inputs, define_outputs

__all__ = ("SlhmcWorkChain",)


class SlhmcWorkChain(WorkChain):
    """Label the start, then [epoch → fine-tune] until the label budget or convergence is reached.

    Everything adaptive, the trajectory's length and time step included, happens between epochs. A fine-tuning that
    diverges, does not improve on its parent or is worse than it is not used: the parent proposes on. The next
    fine-tuning has more labels, another seed and half the learning rate, and so have all that follow in the run.

    With a committee each update also trains its members, each from what it was before, the first time from the parent
    of the model. They decide nothing: the model alone proposes.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            if_(cls.has_to_label_start)(cls.label_start, cls.inspect_start),
            while_(cls.is_to_go_on)(
                if_(cls.has_new_labels)(cls.fine_tune, cls.inspect_fine_tune),
                cls.run_epoch,
                cls.inspect_epoch,
            ),
            if_(cls.has_new_labels)(cls.fine_tune, cls.inspect_fine_tune),
            cls.finish,
        )
        define_outputs(spec)

    @classmethod
    def get_builder_from_protocol(cls, **options: Any) -> Any:
        """A builder from a protocol; see :func:`aiida_slhmc.workflows.inputs.get_slhmc_builder`."""
        return get_slhmc_builder(cls, **options)

    def setup(self) -> None:
        """The context holds numbers and uuids: of models, trajectory, walkers and blocks (one per epoch)."""
        self.ctx.epoch = self.inputs.first_epoch.value
        self.ctx.labels = 0
        self.ctx.converged = False
        self.ctx.failed_updates = self.inputs.failed_updates.value
        self.ctx.tried_blocks = self.inputs.tried_blocks.value
        self.ctx.model = self.inputs.model.uuid
        self.ctx.committee = {name: node.uuid for name, node in self.inputs.get("committee", {}).items()}
        self.ctx.trajectory = self.inputs.trajectory.uuid
        self.ctx.walkers = [node.uuid for _, node in sorted_walkers(self.inputs.get("walkers", {}))]
        self.ctx.restart_folders = {name: node.uuid for name, node in self.inputs.get("restart_folders", {}).items()}
        self.ctx.blocks = [node.uuid for _, node in sorted(self.inputs.get("datasets", {}).items())]

    def has_to_label_start(self) -> bool:
        """Whether the walkers start from a structure that has no label yet."""
        return not self.ctx.walkers

    def label_start(self) -> None:
        """Label the starting structure, once for all walkers."""
        process, inputs = label_process(self.inputs.target)
        child = launch_once(self, process, "label_start", inputs | {"structure": self.inputs.structure})
        self.to_context(start=child)

    def inspect_start(self) -> ExitCode | None:
        """All walkers start from the labelled structure."""
        if not self.ctx.start.is_finished_ok:
            return self.exit_codes.ERROR_START_NOT_LABELLED.format(reason=failure_reason(self.ctx.start))
        label = self.ctx.start.outputs.label
        problem = check_functionals(label.base.attributes.get("functional"), self.inputs.fine_tune)
        if problem:
            return self.exit_codes.ERROR_TRAINING_DATA.format(reason=problem)
        self.ctx.walkers = [label.uuid] * self.inputs.n_walkers.value
        folder = restart_folder_of(self.ctx.start)
        if folder is not None:
            self.ctx.restart_folders = {f"walker_{k}": folder for k in range(len(self.ctx.walkers))}
        return None

    def is_to_go_on(self) -> bool:
        """Whether there is budget for another epoch and the run has not converged.

        The budget counts the labels that were asked for. Divergences cost none, and yet the loop ends: an epoch in
        which nothing but divergences happens ends the run.
        """
        cost = len(self.ctx.walkers) * self.inputs.n_cycles.value
        return self.ctx.labels + cost <= self.inputs.label_budget.value and not self.ctx.converged

    def has_new_labels(self) -> bool:
        """Whether there are blocks that the present model was not trained on, and that no failed training has tried.

        One block has to have two labels, one to train and one to validate; where others failed, they wait for more.
        """
        creator = orm.load_node(self.ctx.model).creator
        known = set()
        if creator is not None and creator.process_class is MaceFineTuneCalculation:
            known = {node.uuid for node in creator.inputs.datasets.values()}
        is_new = bool(set(self.ctx.blocks) - known) and len(self.ctx.blocks) > self.ctx.tried_blocks
        return is_new and any(orm.load_node(uuid).n_frames > 1 for uuid in self.ctx.blocks)

    def fine_tune(self) -> None:
        """Train the present model on all blocks, and beside it the members of the committee, if there is to be one."""
        parameters = self._update_parameters()
        inputs: dict[str, Any] = dict(self.exposed_inputs(FineTuneWorkChain, namespace="fine_tune")) | {
            "model": orm.load_node(self.ctx.model),
            "parameters": parameters,
            "datasets": {f"block_{i:04d}": orm.load_node(uuid) for i, uuid in enumerate(self.ctx.blocks)},
        }
        name = f"{self.ctx.epoch:04d}"
        self.to_context(training=launch_once(self, FineTuneWorkChain, f"fine_tune_{name}", inputs))
        for k in self._members():
            own = {"parameters": parameters, "member": orm.Int(k)}
            inputs["parameters"] = result_once(self, member_parameters, f"member_parameters_{name}_{k}", own)
            inputs["model"] = orm.load_node(self.ctx.committee.get(f"member_{k}", self.ctx.model))
            child = launch_once(self, FineTuneWorkChain, f"committee_{name}_{k}", inputs)
            self.to_context(**{f"training_{k}": child})

    def inspect_fine_tune(self) -> ExitCode | None:
        """Use the new model, or go on with its parent where training was no gain."""
        training = self.ctx.training
        members = {f"member_{k}": self.ctx[f"training_{k}"] for k in self._members()}
        self._clean(superseded([training, *members.values()], kept=[]))
        self._take_over(members)
        model = usable_model(training)
        if model is not None:
            self.ctx.model = model.uuid
            return None
        refusal = refusal_of(training)
        if refusal is None:
            return self.exit_codes.ERROR_FINE_TUNE_FAILED.format(epoch=self.ctx.epoch, reason=failure_reason(training))
        self.ctx.failed_updates += 1
        self.ctx.tried_blocks = len(self.ctx.blocks)
        self.report(
            f"{training.process_label}<{training.pk}> is not used: {refusal} Its parent proposes on; "
            "with more labels the next one has another seed and half the learning rate"
        )
        return None

    def run_epoch(self) -> None:
        """One epoch with the present model and trajectory."""
        inputs = self.exposed_inputs(EpochWorkChain)
        inputs |= {
            "model": orm.load_node(self.ctx.model),
            "trajectory": orm.load_node(self.ctx.trajectory),
            "epoch": orm.Int(self.ctx.epoch),
            "committee": {name: orm.load_node(uuid) for name, uuid in self.ctx.committee.items()},
            "walkers": {f"walker_{k}": orm.load_node(uuid) for k, uuid in enumerate(self.ctx.walkers)},
            "restart_folders": {name: orm.load_node(uuid) for name, uuid in self.ctx.restart_folders.items()},
        }
        if self.inputs.parameters.get("ensemble") == "npt" and "reference_structure" not in self.inputs:
            inputs["reference_structure"] = self.inputs.structure
        self.to_context(running=launch_once(self, EpochWorkChain, f"epoch_{self.ctx.epoch:04d}", dict(inputs)))

    def inspect_epoch(self) -> ExitCode | None:
        """Take over the walkers, the block and the adapted trajectory."""
        epoch = self.ctx.running
        if not epoch.is_finished_ok:
            reason, advice = failure_reason(epoch), after_failed_epoch(epoch)
            return self.exit_codes.ERROR_EPOCH_FAILED.format(epoch=self.ctx.epoch, reason=reason, advice=advice)
        summary = epoch.outputs.summary
        self.ctx.walkers = [node.uuid for _, node in sorted_walkers(epoch.outputs.walkers)]
        self._take_over_folders(epoch)
        if "dataset" in epoch.outputs:
            self.ctx.blocks = [*self.ctx.blocks, epoch.outputs.dataset.uuid]
        self.ctx.labels += summary["labels"] + summary["failed_labels"]
        self.ctx.trajectory = epoch.outputs.next_trajectory.uuid
        self.ctx.converged = self._has_converged(summary)
        self.report(f"{describe_epoch(summary)}; {epoch.outputs.next_trajectory['reason']}")
        self.ctx.epoch += 1
        return None

    def finish(self) -> None:
        """Put out what a next run needs, and the history."""
        self.out("model", orm.load_node(self.ctx.model))
        self.out("trajectory", orm.load_node(self.ctx.trajectory))
        for name, uuid in self.ctx.committee.items():
            self.out(f"committee.{name}", orm.load_node(uuid))
        for k, uuid in enumerate(self.ctx.walkers):
            self.out(f"walkers.walker_{k}", orm.load_node(uuid))
        for name, uuid in self.ctx.restart_folders.items():
            self.out(f"restart_folders.{name}", orm.load_node(uuid))
        for i, uuid in enumerate(self.ctx.blocks):
            self.out(f"datasets.block_{i:04d}", orm.load_node(uuid))
        chains = dict(self.inputs.get("chains", {}))
        chains |= {name: node.outputs.chain for name, node in find_children(self.node, "epoch_").items()}
        if chains:
            history = result_once(self, summarise_run, "summarise_run", chains)
            for warning in history["run"]["warnings"]:
                self.report(f"whole run: {warning}")
            self.out("history", history)

    def _members(self) -> range:
        """Numbers of the committee's members beside the model."""
        return range(1, self.inputs.committee_size.value)

    def _update_parameters(self) -> orm.Dict:
        """Options of the next update: those of the run, until one was refused."""
        parameters = self.inputs.fine_tune.parameters
        if not self.ctx.failed_updates:
            return parameters
        inputs = {"parameters": parameters, "n_failed": orm.Int(self.ctx.failed_updates)}
        return result_once(self, update_parameters, f"update_parameters_{self.ctx.epoch:04d}", inputs)

    def _take_over(self, members: dict[str, orm.ProcessNode]) -> None:
        """Let each member be what its training made of it; one whose training was no gain stays as it was."""
        models = {name: usable_model(training) for name, training in members.items()}
        for name, model in models.items():
            if model is None:
                self.report(f"{name} of the committee stays as it was: {failure_reason(members[name])}")
        self.ctx.committee = self.ctx.committee | {name: model.uuid for name, model in models.items() if model}

    def _take_over_folders(self, epoch: orm.WorkChainNode) -> None:
        """Keep the folders with the densities of the walkers, and remove this run's former ones."""
        before = self.ctx.restart_folders.values()
        kept = epoch.outputs.restart_folders.items() if "restart_folders" in epoch.outputs else []
        self.ctx.restart_folders = {name: node.uuid for name, node in kept}
        self._clean(left_behind(before, self.ctx.restart_folders.values(), self.inputs.get("restart_folders", {})))

    def _clean(self, folders: list[orm.RemoteData]) -> None:
        problem = clean(folders) if self.inputs.clean_workdir.value else None
        if problem:
            self.report(problem)

    def _has_converged(self, summary: orm.Dict) -> bool:
        if "convergence" not in self.inputs:
            return False
        bounds, error = self.inputs.convergence, summary["force_rmse_mev_per_angstrom"]
        is_accurate = error is not None and error < bounds["force_rmse_mev_per_angstrom"]
        return bool(is_accurate and summary["acceptance"] > bounds["acceptance"])
