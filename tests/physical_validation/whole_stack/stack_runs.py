"""An epoch through AiiDA, aiida-vasp and the stand-in, and the chain read back from its graph."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.standin.analytic import POTENTIAL
from aiida_slhmc.targets.vasp import VaspTarget
from aiida_slhmc.workflows.epoch import EpochWorkChain

SOURCE = {"functional": "pbe", "engine": "vasp-standin", "stand_in": True}


@dataclass(frozen=True)
class Stack:
    """Codes and POTCARs of this test's AiiDA profile, and a folder for the potentials."""

    python_code: orm.InstalledCode
    vasp_code: orm.InstalledCode
    family: str
    folder: Any

    def run(self, target, numbers, starts, model, *, n_cycles, kernel, trajectory, reference=None):
        """Run one epoch from *starts*, pairs of positions and cell drawn from the target's ensemble.

        :param model: a stored MaceModelData; *kernel*, *trajectory*: the parameters' dictionaries.
        :param reference: the reference cell of NPT.
        """
        structures = [Atoms(numbers, positions=x, cell=h, pbc=True) for x, h in starts]
        builder = EpochWorkChain.get_builder()
        builder.model = model
        builder.parameters = orm.Dict({"device": "cpu", **kernel})
        builder.trajectory = orm.Dict(trajectory)
        builder.n_cycles = orm.Int(n_cycles)
        builder.walkers = {
            f"walker_{k}": ConfigurationData(
                numbers=numbers, positions=x, cell=h, label={**target.label(x, h), **SOURCE}
            ).store()
            for k, (x, h) in enumerate(starts)
        }
        builder.proposal = {"code": self.python_code}
        if reference is not None:
            fractional = structures[0].get_scaled_positions()
            builder.reference_structure = orm.StructureData(
                ase=Atoms(numbers, scaled_positions=fractional, cell=reference, pbc=True)
            )
        builder.target = {"engine": orm.Str("vasp"), **self._target_inputs(target, structures[0])}
        node = run_get_node(builder)[1]
        assert node.is_finished_ok, node.exit_message
        return StackChain.read(node)

    def _target_inputs(self, target, atoms):
        content = target.content()
        path = self.folder / f"{content['kind']}.json"
        path.write_text(json.dumps(content))
        return VaspTarget.get_inputs(
            structure=orm.StructureData(ase=atoms),
            functional="pbe",
            code=self.vasp_code,
            potential_family=self.family,
            options={"withmpi": False, "prepend_text": f"export {POTENTIAL}={path}"},
        )


@dataclass(frozen=True)
class StackChain:
    """What an epoch's graph holds: the chain with repeats, every label, every proposal. First axis: cycles."""

    starts: list[dict]  # arrays of each walker's first state
    labels: list[list[dict]]  # arrays of the end points' labels, by cycle and walker
    proposals: list[dict]  # arrays of the proposing jobs
    accepted: np.ndarray  # (n_cycles, n_walkers)
    delta_h: np.ndarray  # (n_cycles, n_walkers) in eV
    seconds: float

    @classmethod
    def read(cls, node):
        calls = [child for child in node.called if child.process_label == "metropolis"]
        calls.sort(key=lambda child: child.pk)
        walkers = range(len(node.inputs.walkers))
        proposals = [call.inputs.proposals for call in calls]
        return cls(
            starts=[node.inputs.walkers[f"walker_{k}"].arrays() for k in walkers],
            labels=[[call.inputs[f"label_{k}"].arrays() for k in walkers] for call in calls],
            proposals=[{name: one.get_array(name) for name in one.get_arraynames()} for one in proposals],
            accepted=np.array([call.outputs.result["accepted"] for call in calls]),
            delta_h=np.array([call.outputs.result["delta_h"] for call in calls]),
            seconds=(node.mtime - node.ctime).total_seconds(),
        )

    def states(self, key):
        """The chain's ``positions``, ``cell`` or ``energy``: (n_cycles, n_walkers, …), without the start."""
        now, rows = [start[key] for start in self.starts], []
        for labels, accepted in zip(self.labels, self.accepted, strict=True):
            now = [label[key] if moved else old for label, moved, old in zip(labels, accepted, now, strict=True)]
            rows.append(now)
        return np.array(rows)

    @property
    def volumes(self):
        return np.linalg.det(self.states("cell"))

    def ends(self):
        """(proposals' arrays of this walker, label's arrays) of every end point."""
        for proposal, labels in zip(self.proposals, self.labels, strict=True):
            for k, label in enumerate(labels):
                yield {name: values[k] for name, values in proposal.items() if len(values) == len(labels)}, label
