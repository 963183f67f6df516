"""StudyWorkChain: transfers to several functionals, and their tables and figures."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, WorkChain

from aiida_slhmc.analysis.study.experiment import check_experiment
from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.calculations.structure_analysis import validate_analysis
from aiida_slhmc.calculations.study_report import PARTS, REPORTED, report_study
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.children import failure_reason, launch_once, run_once
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.study_checks import plain, validate_study
from aiida_slhmc.workflows.study_inputs import get_study_builder
from aiida_slhmc.workflows.transfer import TransferWorkChain
from aiida_slhmc.workflows.transfer_ports import ENSEMBLES, OPTIONAL

__all__ = ("StudyWorkChain",)

FOUNDATION = (*ENSEMBLES, "pool")


class StudyWorkChain(WorkChain):
    """Molecular dynamics of the foundation model, once; then a transfer to each functional, side by side; then tables.

    A functional whose transfer fails is left out, and named in the exit code.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace("foundation", required=False, help="Dynamics of the foundation model.")
        for name in FOUNDATION:
            spec.expose_inputs(
                MdWorkChain, namespace=f"foundation.{name}", exclude=("role", "state"), namespace_options=dict(OPTIONAL)
            )
        spec.input_namespace(
            "functionals",
            dynamic=True,
            help="By functional, the inputs of its TransferWorkChain, without `analysis`. Where `foundation.pool` is "
            "given, all controls choose from that, and `relabel` needs no pool of its own.",
        )
        spec.input("analysis", valid_type=orm.Dict, validator=validate_analysis, help="See TransferWorkChain.")
        spec.input(
            "experiment",
            valid_type=orm.Dict,
            required=False,
            validator=checked_by(check_experiment),
            help="Values for tables and figures (Å, Å³ per formula unit), see analysis/study/experiment.py.",
        )
        spec.inputs.validator = validate_study
        spec.outline(
            cls.sample_foundation, cls.inspect_foundation, cls.transfer, cls.inspect_transfers, cls.write_report
        )
        spec.output("tables", valid_type=orm.Dict, help="All tables, see calculations/study_report.py.")
        spec.output("files", valid_type=orm.FolderData, help="Tables as CSV and Markdown, figures, summary.json.")
        spec.output_namespace("models", valid_type=MaceModelData, dynamic=True, help="By functional and ensemble.")
        spec.exit_code(401, "ERROR_FOUNDATION_FAILED", message="Dynamics of the foundation model failed: {reason}")
        spec.exit_code(402, "ERROR_NO_TRANSFER", message="No functional has anything to report: {reason}")
        spec.exit_code(
            403,
            "ERROR_REPORT_FAILED",
            message="The tables could not be written: {reason}. All that they are made of is output of the transfers.",
        )
        spec.exit_code(
            411,
            "ERROR_INCOMPLETE",
            message="The tables lack some rows: {reason} Launched again with caching switched on, only these are "
            "computed.",
        )

    @classmethod
    def get_builder_from_protocol(cls, **options: Any) -> Any:
        """A builder from a protocol; see :func:`aiida_slhmc.workflows.study_inputs.get_study_builder`."""
        return get_study_builder(cls, **options)

    def sample_foundation(self) -> None:
        """Sample with the foundation model in each ensemble, and make the pool of the controls."""
        for name in self._foundation():
            inputs = dict(self.exposed_inputs(MdWorkChain, namespace=f"foundation.{name}"))
            inputs["role"] = orm.Str("foundation_md")
            self.to_context(**{f"foundation_{name}": launch_once(self, MdWorkChain, f"foundation_{name}", inputs)})

    def inspect_foundation(self) -> ExitCode | None:
        """Everything else is compared with it."""
        failed = [child for child in map(self._foundation_md, self._foundation()) if not child.is_finished_ok]
        if failed:
            return self.exit_codes.ERROR_FOUNDATION_FAILED.format(reason="; ".join(map(failure_reason, failed)))
        return None

    def transfer(self) -> None:
        """Run the transfers, side by side."""
        self.ctx.missing = []
        trajectories = {name: self._foundation_md(name).outputs.trajectory for name in self._foundation()}
        pool = trajectories.pop("pool", None)
        for functional, given in self.inputs.functionals.items():
            inputs = plain(given) | {"analysis": self.inputs.analysis, "foundation": trajectories}
            if pool is not None and "relabel" in inputs:
                inputs["relabel"].pop("pool_md", None)
                inputs["relabel"]["pool"] = pool
            name = f"transfer_{functional}"
            try:
                self.to_context(**{name: launch_once(self, TransferWorkChain, name, inputs)})
            except ValueError as error:  # of trajectories, which were not there at submission
                self._miss(functional, f"TransferWorkChain was not launched: {error}")

    def inspect_transfers(self) -> ExitCode | None:
        """One functional is enough to go on."""
        for functional, transfer in self._transfers().items():
            if not transfer.is_finished_ok:
                self._miss(functional, failure_reason(transfer))
            models = transfer.outputs.models.items() if "models" in transfer.outputs else []
            for name, model in models:
                self.out(f"models.{functional}_{name}", model)
        if not any("metrics" in transfer.outputs for transfer in self._transfers().values()):
            return self.exit_codes.ERROR_NO_TRANSFER.format(reason="; ".join(self.ctx.missing))
        return None

    def write_report(self) -> ExitCode | None:
        """Make the tables and figures."""
        inputs: dict[str, Any] = {}
        for functional, given in self.inputs.functionals.items():
            inputs |= {f"requested_{functional}_{part}": given["functional"] for part in PARTS if part in given}
        for functional, transfer in self._transfers().items():
            inputs |= _report_inputs(functional, transfer, inputs)
        if "experiment" in self.inputs:
            inputs["experiment"] = self.inputs.experiment
        node = run_once(self, report_study, "report", inputs)
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_REPORT_FAILED.format(reason=failure_reason(node))
        self.out("tables", node.outputs.tables)
        self.out("files", node.outputs.files)
        if self.ctx.missing:
            return self.exit_codes.ERROR_INCOMPLETE.format(reason="; ".join(self.ctx.missing))
        return None

    def _foundation(self) -> list[str]:
        return [name for name in FOUNDATION if name in self.inputs.get("foundation", {})]

    def _foundation_md(self, name: str) -> Any:
        return self.ctx[f"foundation_{name}"]

    def _transfers(self) -> dict[str, Any]:
        """Those that were launched."""
        names = {functional: f"transfer_{functional}" for functional in self.inputs.functionals}
        return {functional: self.ctx[name] for functional, name in names.items() if name in self.ctx}

    def _miss(self, functional: str, reason: str) -> None:
        self.ctx.missing = [*self.ctx.missing, f"{functional}: {reason}"]


def _report_inputs(functional: str, transfer: orm.ProcessNode, known: dict[str, Any]) -> dict[str, orm.Data]:
    """What the report takes of one transfer, by flat names.

    The foundation is analysed in each, and reported once: not where it is among the *known* inputs.
    """
    inputs: dict[str, orm.Data] = {}
    for namespace, prefix in REPORTED.items():
        for name, node in transfer.outputs[namespace].items() if namespace in transfer.outputs else []:
            is_shared = name.endswith("_foundation") and namespace in ("metrics", "curves")
            if not (is_shared and any(key.startswith(f"{prefix}_") and key.endswith(f"_{name}") for key in known)):
                inputs[f"{prefix}_{functional}_{name}"] = node
    return inputs
