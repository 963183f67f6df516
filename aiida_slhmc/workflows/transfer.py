"""TransferWorkChain: one target functional, from the foundation model to the figures of the study."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, WorkChain, while_

from aiida_slhmc.calculations.label_budget import equal_label_budget
from aiida_slhmc.calculations.structure_analysis import analyse_structure, compare_structure, forward_errors
from aiida_slhmc.calculations.trajectories import slhmc_trajectories
from aiida_slhmc.workflows.children import failure_reason, find_child, find_children, launch_once, run_once
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.reference import reference_inputs, start_of, trajectory_inputs
from aiida_slhmc.workflows.relabel import RelabelWorkChain
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain
from aiida_slhmc.workflows.transfer_ports import ENSEMBLES, define_inputs, define_outputs
from aiida_slhmc.workflows.transfer_samples import Sample, chains_of, samples, trained_models

__all__ = ("TransferWorkChain",)


class TransferWorkChain(WorkChain):
    """Adapt the foundation model to one functional, and show what that is worth.

    In each ensemble: a self-learning run; molecular dynamics with its last model and those on the way; a long epoch
    with the last model, frozen, which is the reference, because it samples the target's ensemble exactly. Beside them
    the control: as many labels of frames from the foundation's dynamics. Then all trajectories are analysed alike.

    What fails is left out, and named in the exit code; what there is, is analysed.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.adapt,
            cls.inspect_adaptation,
            cls.produce,
            cls.inspect_production,
            while_(cls.has_samples_left)(cls.analyse),
            cls.finish,
        )
        define_outputs(spec)

    def adapt(self) -> None:
        """Run the self-learning runs, side by side."""
        for ensemble in self._ensembles():
            inputs = dict(self.exposed_inputs(SlhmcWorkChain, namespace=f"{ensemble}.slhmc"))
            self.to_context(**{f"slhmc_{ensemble}": launch_once(self, SlhmcWorkChain, f"slhmc_{ensemble}", inputs)})

    def inspect_adaptation(self) -> ExitCode | None:
        """Take the models; one ensemble is enough to go on."""
        self.ctx.missing = []
        self.ctx.trajectories = {}
        for ensemble in self._ensembles():
            run = self.ctx[f"slhmc_{ensemble}"]
            if self._is_there(f"slhmc_{ensemble}", run):
                self.out(f"models.{ensemble}", run.outputs.model)
                if "history" in run.outputs:
                    self.out(f"histories.{ensemble}", run.outputs.history)
        if not self._adapted():
            return self.exit_codes.ERROR_SLHMC_FAILED.format(reason="; ".join(self.ctx.missing))
        return None

    def produce(self) -> None:
        """Sample with all models, sample the reference, and make the control: all side by side."""
        for ensemble in self._adapted():
            run = self.ctx[f"slhmc_{ensemble}"]
            given = start_of(run) | dict(self.exposed_inputs(MdWorkChain, f"{ensemble}.md"))
            for n_labels, model in self._models(ensemble).items():
                inputs = {**given, "model": model, "role": orm.Str("adapted_md")}
                self._launch(MdWorkChain, f"{ensemble}_adapted_{n_labels:05d}", inputs)
            inputs = reference_inputs(run, self.inputs[ensemble].reference)
            self._launch(EpochWorkChain, f"{ensemble}_reference", inputs)
        if "relabel" in self.inputs:
            self._launch_control()

    def inspect_production(self) -> None:
        """Put the trajectories out, and list what is to be analysed, the references first."""
        for ensemble in self._adapted():
            self._take_reference(ensemble)
            for name, child in find_children(self.node, f"{ensemble}_adapted_").items():
                if self._is_there(name, child):
                    self._put_out(name, child.outputs.trajectory)
        if "control" in self.ctx:
            control = self.ctx.control
            self._is_there("control", control)
            if "model" in control.outputs:
                self.out("models.control", control.outputs.model)
            found = control.outputs.trajectories.items() if "trajectories" in control.outputs else []
            for ensemble, trajectory in found:
                self._put_out(f"{ensemble}_control", trajectory)
        self.ctx.done = 0

    def has_samples_left(self) -> bool:
        """Whether a trajectory is not analysed yet."""
        return bool(self.ctx.done < len(self._samples()))

    def analyse(self) -> None:
        """Analyse one trajectory, and compare it with the reference of its ensemble if there is one.

        One in a step, so that other processes of the same worker get their turn in between.
        """
        sample = self._samples()[self.ctx.done]
        inputs = {"trajectory": sample.trajectory, "parameters": self.inputs.analysis, **sample.about}
        if sample.is_of_target:
            inputs["functional"] = self.inputs.functional
        analysis = run_once(self, analyse_structure, f"analyse_{sample.name}", inputs)
        if self._is_there(f"analysis of {sample.name}", analysis):
            self.out(f"metrics.{sample.name}", analysis.outputs.metrics)
            self.out(f"curves.{sample.name}", analysis.outputs.curves)
            self._compare(sample, analysis)
        self.ctx.done += 1

    def finish(self) -> ExitCode | None:
        """Put out the forward errors; name what is missing."""
        for ensemble in self._adapted():
            name, chains = f"forward errors of {ensemble}", chains_of(self.ctx[f"slhmc_{ensemble}"])
            if not chains:
                self._miss(name, "no epoch has left a chain")
                continue
            inputs = {"functional": self.inputs.functional, **chains}
            errors = run_once(self, forward_errors, f"forward_{ensemble}", inputs)
            if self._is_there(name, errors):
                self.out(f"forward.{ensemble}", errors.outputs.result)
        if self.ctx.missing:
            return self.exit_codes.ERROR_INCOMPLETE.format(reason="; ".join(self.ctx.missing))
        return None

    def _ensembles(self) -> list[str]:
        return [ensemble for ensemble in ENSEMBLES if ensemble in self.inputs]

    def _adapted(self) -> list[str]:
        """Ensembles whose self-learning run reached its end."""
        return [ensemble for ensemble in self._ensembles() if self.ctx[f"slhmc_{ensemble}"].is_finished_ok]

    def _models(self, ensemble: str) -> dict[int, Any]:
        """The models to sample with, by the number of labels that they were trained on; the last one is the last."""
        run = self.ctx[f"slhmc_{ensemble}"]
        return trained_models(run, self.inputs[ensemble].evolution_stride.value)

    def _launch(self, process: type[WorkChain], name: str, inputs: dict[str, Any]) -> None:
        """Launch a part; inputs that are only known now may be refused, and then this part alone is missing."""
        try:
            self.to_context(**{name: launch_once(self, process, name, inputs)})
        except ValueError as error:
            self._miss(name, f"{process.__name__} was not launched: {error}")

    def _launch_control(self) -> None:
        """The control has as many frames as the run beside it has labels: the one in its production's ensemble."""
        sampled = [ensemble for ensemble in self._ensembles() if ensemble in self.inputs.relabel.get("production", {})]
        beside = sampled[0] if len(sampled) == 1 else self._adapted()[-1]
        run = self.ctx[f"slhmc_{beside}"]
        if not run.is_finished_ok:
            self._miss("control", f"slhmc_{beside}, which says how many labels it gets, did not reach its end")
            return
        budget = {"selection": self.inputs.relabel.selection, **dict(run.outputs.datasets.items())}
        selection = run_once(self, equal_label_budget, "equal_label_budget", budget)
        if self._is_there("control", selection):
            given = dict(self.exposed_inputs(RelabelWorkChain, namespace="relabel"))
            self._launch(RelabelWorkChain, "control", given | {"selection": selection.outputs.result})

    def _take_reference(self, ensemble: str) -> None:
        """The chain of the reference epoch, and its accepted states, taken from the graph."""
        name = f"{ensemble}_reference"
        if name not in self.ctx:
            return
        epoch = self.ctx[name]
        self._is_there(name, epoch)
        inputs = trajectory_inputs(epoch, self.inputs[ensemble].reference.n_equilibration_cycles)
        node = run_once(self, slhmc_trajectories, f"{ensemble}_trajectories", inputs)
        if self._is_there(f"trajectories of {name}", node):
            for what in node.outputs:
                self._put_out(f"{ensemble}_{what}", node.outputs[what])

    def _put_out(self, name: str, trajectory: orm.TrajectoryData) -> None:
        self.ctx.trajectories = self.ctx.trajectories | {name: trajectory.uuid}
        self.out(f"trajectories.{name}", trajectory)

    def _samples(self) -> list[Sample]:
        """All trajectories that there are, in a fixed order."""
        trajectories = {name: orm.load_node(uuid) for name, uuid in self.ctx.trajectories.items()}
        final: set[str] = set()
        blocks = {}
        for ensemble in self._adapted():
            run = self.ctx[f"slhmc_{ensemble}"]
            children = find_children(self.node, f"{ensemble}_adapted_").items()
            final |= {name for name, child in children if child.inputs.model.uuid == run.outputs.model.uuid}
            blocks[ensemble] = next(node for _, node in sorted(run.outputs.datasets.items()))
        if "control" in self.ctx and "dataset" in self.ctx.control.outputs:
            blocks["control"] = self.ctx.control.outputs.dataset
        return samples(trajectories, dict(self.inputs.get("foundation", {})), final, blocks)

    def _compare(self, sample: Sample, analysis: orm.ProcessNode) -> None:
        reference = find_child(self.node, f"analyse_{sample.ensemble}_chain")
        if sample.role == "chain" or reference is None or not reference.is_finished_ok:
            return
        inputs = {
            "trajectory": sample.trajectory,
            "reference": reference.inputs.trajectory,
            "metrics": analysis.outputs.metrics,
            "reference_metrics": reference.outputs.metrics,
            "parameters": self.inputs.analysis,
        }
        comparison = run_once(self, compare_structure, f"compare_{sample.name}", inputs)
        if self._is_there(f"comparison of {sample.name}", comparison):
            self.out(f"comparisons.{sample.name}", comparison.outputs.result)

    def _is_there(self, name: str, child: orm.ProcessNode) -> bool:
        """Whether a part ended well; one that did not is missing."""
        if not child.is_finished_ok:
            self._miss(name, failure_reason(child))
        return bool(child.is_finished_ok)

    def _miss(self, name: str, reason: str) -> None:
        """Note what is missing, and why."""
        self.report(f"{name}: {reason}")
        self.ctx.missing = [*self.ctx.missing, f"{name}: {reason}"]
