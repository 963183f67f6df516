"""RelabelWorkChain: the off-target control. A model is trained on labels of frames that the foundation model chose."""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, WorkChain, if_, while_

from aiida_slhmc.calculations.epoch import collect_block, record_unlabelled
from aiida_slhmc.calculations.fine_tune_inputs import check_functionals
from aiida_slhmc.calculations.selection import list_failures, select_frames
from aiida_slhmc.workflows.children import (
    failure_reason,
    find_children,
    label_process,
    launch_once,
    lost_labels,
    run_once,
)
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.outcomes import refusal_of, result_of, usable_model
from aiida_slhmc.workflows.relabel_inputs import get_relabel_builder
from aiida_slhmc.workflows.relabel_ports import define_inputs, define_outputs
from aiida_slhmc.workflows.remote_folders import clean, superseded

__all__ = ("RelabelWorkChain",)


class RelabelWorkChain(WorkChain):
    """Foundation dynamics → choice of frames → their labels → one fine-tuning → dynamics with the new model.

    The labels have the target's energies, but their configurations are those of the foundation model's ensemble: what
    is gained over it by sampling the target's, as SlhmcWorkChain does, is the difference between the two.

    A frame whose label fails is listed, and no reason to stop while `min_labels` can be had.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            if_(cls.has_to_make_pool)(cls.make_pool, cls.inspect_pool),
            cls.select,
            while_(cls.has_frames_left)(cls.label, cls.label_lost, cls.inspect_labels),
            cls.collect,
            cls.fine_tune,
            cls.inspect_fine_tune,
            if_(cls.has_production)(cls.produce, cls.inspect_production),
        )
        define_outputs(spec)

    @classmethod
    def get_builder_from_protocol(cls, **options: Any) -> ProcessBuilder:
        """A builder from a protocol; see :func:`aiida_slhmc.workflows.relabel_inputs.get_relabel_builder`."""
        return get_relabel_builder(cls, **options)

    def setup(self) -> None:
        """The context holds numbers and uuids, and no more labels than are computed at a time."""
        self.ctx.begun = 0
        self.ctx.failed = 0
        self.ctx.pool = self.inputs.pool.uuid if "pool" in self.inputs else None

    def has_to_make_pool(self) -> bool:
        """Whether there are no frames to choose from yet."""
        return self.ctx.pool is None

    def make_pool(self) -> None:
        """Sample the ensemble of the foundation model."""
        own = {"model": self.inputs.model, "structure": self.inputs.structure, "role": orm.Str("foundation_md")}
        self.to_context(pool_md=launch_once(self, MdWorkChain, "pool_md", dict(self.inputs.pool_md) | own))

    def inspect_pool(self) -> ExitCode | None:
        """Take the trajectory for the pool."""
        if not self.ctx.pool_md.is_finished_ok:
            return self.exit_codes.ERROR_POOL_FAILED.format(reason=failure_reason(self.ctx.pool_md))
        self.ctx.pool = self.ctx.pool_md.outputs.trajectory.uuid
        self._clean([self.ctx.pool_md])
        return None

    def select(self) -> ExitCode | None:
        """Choose the frames."""
        pool = orm.load_node(self.ctx.pool)
        self.out("pool", pool)
        node = run_once(self, select_frames, "select", {"pool": pool, "selection": self.inputs.selection})
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_SELECTION_FAILED.format(reason=node.exit_message or failure_reason(node))
        self.ctx.selection = node.uuid
        self.out("selected", node.outputs.indices)
        return None

    def has_frames_left(self) -> bool:
        """Whether there are frames that nobody has tried to label, and enough labels can still be had."""
        return self.ctx.begun < self._n_frames() and self._n_possible() >= self.inputs.min_labels.value

    def label(self) -> None:
        """Label the next frames in parallel."""
        self._launch_labels({})

    def label_lost(self) -> None:
        """Label once more what AiiDA lost, as when its broker died: that is no failure of the engine's."""
        lost = lost_labels(self, self.inputs.max_parallel_labels.value)
        if lost:
            self._launch_labels(lost)

    def inspect_labels(self) -> ExitCode | None:
        """Record which of them have no label, and why; what is to be trained on beside them has to fit the others."""
        batch = self._batch()
        children = {name: self.ctx[f"label_{k}"] for k, name in enumerate(batch)}
        for name, child in children.items():
            if not child.is_finished_ok:
                self.report(f"{name}: no label: {failure_reason(child)}")
                inputs = {"structure": batch[name], "reason": orm.Str(failure_reason(child))}
                result_of(run_once(self, record_unlabelled, f"unlabelled_{name}", inputs))
                self.ctx.failed += 1
        self.ctx.begun += len(batch)
        self._clean(list(children.values()))
        labels = [child.outputs.label for child in children.values() if child.is_finished_ok]
        for functional in {label.base.attributes.get("functional") for label in labels}:
            problem = check_functionals(functional, self.inputs.fine_tune)
            if problem:
                return self.collect() or self.exit_codes.ERROR_TRAINING_DATA.format(reason=problem)
        return None

    def collect(self) -> ExitCode | None:
        """Put the labels into one block, and list the frames without one."""
        records = {name: call.outputs.result for name, call in self._frames("unlabelled_").items()}
        inputs = {"selected": orm.load_node(self.ctx.selection).outputs.indices, **records}
        failed = result_of(run_once(self, list_failures, "list_failures", inputs))
        self.out("failed", failed)
        children = self._frames("label_")
        labels = {name: child.outputs.label for name, child in children.items() if child.is_finished_ok}
        if labels:
            # its file has the labels' uuids, so a fine-tuning is only found in the cache if the block is, too
            self.ctx.dataset = result_of(run_once(self, collect_block, "collect_block", labels, use_cache=True)).uuid
            self.out("dataset", orm.load_node(self.ctx.dataset))
        needed = self.inputs.min_labels.value
        if self._n_possible() >= needed:
            return None
        return self.exit_codes.ERROR_TOO_FEW_LABELS.format(
            count=self._n_possible(), n_frames=self._n_frames(), needed=needed, reason=failed["failures"][0]["reason"]
        )

    def fine_tune(self) -> None:
        """Train the foundation model on all labels, once."""
        inputs: dict[str, Any] = dict(self.exposed_inputs(FineTuneWorkChain, namespace="fine_tune")) | {
            "model": self.inputs.model,
            "datasets": {"block_0000": orm.load_node(self.ctx.dataset)},
        }
        self.to_context(training=launch_once(self, FineTuneWorkChain, "fine_tune", inputs))

    def inspect_fine_tune(self) -> ExitCode | None:
        """Use the new model; here nobody goes on with its parent where training was no gain."""
        training = self.ctx.training
        self._clean([training])
        if "metrics" in training.outputs:
            self.out("metrics", training.outputs.metrics)
        model = usable_model(training)
        if model is not None:
            self.ctx.model = model.uuid
            self.out("model", model)
            return None
        refusal = refusal_of(training)
        if refusal is not None:
            return self.exit_codes.ERROR_FINE_TUNE_REFUSED.format(reason=refusal)
        return self.exit_codes.ERROR_FINE_TUNE_FAILED.format(reason=failure_reason(training))

    def has_production(self) -> bool:
        """Whether anything is to be sampled with the new model."""
        return bool(self.inputs.get("production"))

    def produce(self) -> None:
        """Sample the ensembles of the new model, all at a time."""
        common = {"model": orm.load_node(self.ctx.model), "role": orm.Str("control_md")}
        if "structure" in self.inputs:
            common["structure"] = self.inputs.structure
        for name, given in self.inputs.production.items():
            child = launch_once(self, MdWorkChain, f"production_{name}", common | dict(given))
            self.to_context(**{f"production_{name}": child})

    def inspect_production(self) -> ExitCode | None:
        """Put out the trajectories that are complete."""
        children = {name: self.ctx[f"production_{name}"] for name in self.inputs.production}
        self._clean(list(children.values()))
        for name, child in children.items():
            if child.is_finished_ok:
                self.out(f"trajectories.{name}", child.outputs.trajectory)
        failed = {name: failure_reason(child) for name, child in children.items() if not child.is_finished_ok}
        if not failed:
            return None
        names, reason = ", ".join(failed), next(iter(failed.values()))
        return self.exit_codes.ERROR_PRODUCTION_FAILED.format(names=names, reason=reason)

    def _launch_labels(self, lost: dict[int, orm.ProcessNode]) -> None:
        """Launch the labels of the batch, or, where some were *lost*, of these."""
        process, inputs = label_process(self.inputs.target)
        for k, (name, structure) in enumerate(self._batch().items()):
            if lost and k not in lost:
                continue
            child = launch_once(self, process, f"label_{name}", inputs | {"structure": structure}, lost=lost.get(k))
            self.to_context(**{f"label_{k}": child})

    def _batch(self) -> dict[str, orm.StructureData]:
        """The frames that are labelled now, by name."""
        structures = sorted(orm.load_node(self.ctx.selection).outputs.structures.items())
        end = self.ctx.begun + self.inputs.max_parallel_labels.value
        return dict(islice(structures, self.ctx.begun, end))

    def _frames(self, prefix: str) -> dict[str, orm.ProcessNode]:
        """Children with this prefix, by the name of the frame."""
        return {label.removeprefix(prefix): node for label, node in find_children(self.node, prefix).items()}

    def _n_frames(self) -> int:
        return int(self.inputs.selection["n_frames"])

    def _n_possible(self) -> int:
        """Labels that are there or may still be."""
        return self._n_frames() - int(self.ctx.failed)

    def _clean(self, processes: list[orm.ProcessNode]) -> None:
        problem = clean(superseded(processes, kept=[])) if self.inputs.clean_workdir.value else None
        if problem:
            self.report(problem)
