"""A made-up run in the graph, with all links that a real one has; nothing is computed but the chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from fixtures import FOUNDATION_FILE, configuration, label_of, rutile_atoms

from aiida_slhmc.calculations.epoch import collect_chain
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData

HOSTILE = "<script>window.harmed = 1</script> & \"quoted\" </script><img src=x onerror='window.harmed = 2'>"
REASON = f"VaspCalculation ended with {HOSTILE}"
SCALES = {"force_rmse": (0.4, 0.05, 0.02), "energy_error": (3.0, 0.2, 0.05), "delta_h": (0.08, 0.03, 0.01)}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the run is to have."""

    n_epochs: int = 2
    n_cycles: int = 3
    n_walkers: int = 2
    ensemble: str = "nvt"
    committee: bool = False
    # the first walker of the first cycle has no label, the second diverges, the last label needed a recovery
    problems: bool = False
    # of the run: exit status, or None while it runs, when the last epoch has no chain yet
    status: int | None = 0
    first_epoch: int = 0


class MadeUpRun:
    """Writes the run's nodes; ``node`` is the run, ``epochs`` are its epochs."""

    def __init__(self, recipe: Recipe, computer: orm.Computer, earlier: MadeUpRun | None = None) -> None:
        """Make everything; *earlier* is a run whose chains this one has among its inputs."""
        self.recipe, self.computer = recipe, computer
        self.random = np.random.default_rng(1)
        self.model = _model() if earlier is None else earlier.model
        self.parameters = orm.Dict({"temperature": 300.0, "seed": 3, "ensemble": recipe.ensemble}).store()
        self.trajectory = orm.Dict({"n_steps": 20, "timestep": 2.0}).store()
        start = self._label(None, {"role": "start"})
        self.states = [start] * recipe.n_walkers
        self.chains: dict[str, orm.ArrayData] = dict(earlier.chains) if earlier else {}
        self.blocks: list[DatasetData] = []
        self.node = self._run()
        self.epochs = [self._epoch(recipe.first_epoch + k) for k in range(recipe.n_epochs)]
        self._end(self.node, recipe.status)

    def _run(self) -> orm.WorkChainNode:
        options = {"resources": {"num_machines": 1}, "account": "SECRET-ACCOUNT", "prepend_text": "cd /secret/place"}
        inputs = {
            "model": self.model,
            "parameters": self.parameters,
            "trajectory": self.trajectory,
            "structure": orm.StructureData(ase=rutile_atoms()).store(),
            "label_budget": orm.Int(40),
            "n_cycles": orm.Int(self.recipe.n_cycles),
            "n_walkers": orm.Int(self.recipe.n_walkers),
            "committee_size": orm.Int(2 if self.recipe.committee else 1),
            "target__engine": orm.Str("vasp"),
            "target__options": orm.Dict(options),
        }
        inputs |= {f"chains__{name}": chain for name, chain in self.chains.items()}
        return self._process(orm.WorkChainNode, "SlhmcWorkChain", inputs, label=HOSTILE)

    def _epoch(self, number: int) -> orm.WorkChainNode:
        name = f"{number:04d}"
        if number > self.recipe.first_epoch:
            self._train(name)
        inputs = {"model": self.model, "epoch": orm.Int(number), "parameters": self.parameters}
        inputs |= {f"walkers__walker_{k}": state for k, state in enumerate(self.states)}
        epoch = self._process(orm.WorkChainNode, "EpochWorkChain", inputs, caller=(self.node, f"epoch_{name}"))
        decisions, labels = {}, {}
        for cycle in range(self.recipe.n_cycles):
            decision, found = self._cycle(epoch, number, cycle)
            decisions[f"decide_{cycle:05d}"] = decision
            labels |= {f"decide_{cycle:05d}_label_{k}": label for k, label in found.items()}
        is_open = self.recipe.status is None and number == self.recipe.first_epoch + self.recipe.n_epochs - 1
        if not is_open:
            self._close(epoch, name, decisions, labels)
        self._end(epoch, None if is_open else 0)
        return epoch

    def _close(self, epoch: Any, name: str, decisions: dict[str, Any], labels: dict[str, Any]) -> None:
        chain = collect_chain(**decisions)
        chain.base.links.add_incoming(epoch, link_type=LinkType.RETURN, link_label="chain")
        self.chains[f"epoch_{name}"] = chain
        if not any(label.is_labelled for label in labels.values()):
            return
        collect = self._process(orm.CalcFunctionNode, "collect_block", labels, caller=(epoch, "collect_block"))
        block = DatasetData(configurations=list(labels.values()))
        self.blocks.append(_created(block, collect, "result"))
        self._end(collect, 0)

    def _cycle(self, epoch: Any, number: int, cycle: int) -> tuple[orm.Dict, dict[int, ConfigurationData]]:
        n_walkers = self.recipe.n_walkers
        is_bad = self.recipe.problems and number == self.recipe.first_epoch and cycle == 0
        states = {f"states__walker_{k}": state for k, state in enumerate(self.states)}
        kernel = {"model": self.model, "parameters": self.parameters, "trajectory": self.trajectory}
        caller = (epoch, f"propose_{cycle:05d}")
        proposal = self._process(orm.CalcJobNode, "MaceProposalCalculation", kernel | states, caller=caller)
        proposals = orm.ArrayData({"energies": np.zeros((n_walkers, 2))})
        divergences = {"walker_1": f"the integration error {HOSTILE}"} if is_bad else {}
        proposals.base.attributes.set_many({"cycle": cycle, "epoch": number, "divergences": divergences})
        _created(proposals, proposal, "proposals")
        labels = {}
        for k in range(n_walkers):
            if is_bad and k == 1:
                continue
            tags = {"epoch": number, "cycle": cycle, "walker": k, "role": "proposal"}
            structure = orm.StructureData(ase=self._atoms())
            _created(structure, proposal, f"structures__walker_{k}")
            labels[k] = self._labelled(epoch, f"label_{cycle:05d}_{k}", structure, tags, fails=is_bad and k == 0)
        self._end(proposal, 0)
        return self._decide(epoch, number, cycle, proposals, labels), labels

    def _labelled(self, epoch: Any, name: str, structure: Any, tags: dict[str, Any], *, fails: bool) -> Any:
        chain = self._process(orm.WorkChainNode, "VaspLabelWorkChain", {"structure": structure}, caller=(epoch, name))
        calculation = self._process(orm.CalcJobNode, "VaspCalculation", {"structure": structure}, caller=(chain, "run"))
        misc = _created(orm.Dict({"version": "6.999.0"}), calculation, "misc")
        self._end(calculation, 700 if fails else 0, HOSTILE if fails else None)
        self._end(chain, 422 if fails else 0, REASON if fails else None)
        if fails:
            record = self._process(orm.CalcFunctionNode, "record_unlabelled", {"structure": structure})
            return _created(configuration(self._atoms(), tags=tags, unlabelled_reason=REASON), record, "result")
        read = self._process(
            orm.CalcFunctionNode, "read_vasp_label", {"structure": structure, "misc": misc}, caller=(chain, "read")
        )
        self._end(read, 0)
        return self._label(read, tags)

    def _decide(self, epoch: Any, number: int, cycle: int, proposals: Any, labels: dict[int, Any]) -> orm.Dict:
        inputs = {"proposals": proposals} | {f"state_{k}": state for k, state in enumerate(self.states)}
        inputs |= {f"label_{k}": label for k, label in labels.items()}
        name = f"decide_{cycle:05d}"
        call = self._process(orm.CalcFunctionNode, "metropolis", inputs, caller=(epoch, name))
        good = [k in labels and labels[k].is_labelled for k in range(self.recipe.n_walkers)]
        accepted = [is_good and bool(self.random.random() < 0.7) for is_good in good]
        for k, moves in enumerate(accepted):
            self.states[k] = labels[k] if moves else self.states[k]
        self._end(call, 0)
        content = self._numbers(number, good, accepted) | {"cycle": cycle}
        content["diverged"] = [k not in labels for k in range(self.recipe.n_walkers)]
        return _created(orm.Dict(content), call, "result")

    def _numbers(self, number: int, good: list[bool], accepted: list[bool]) -> dict[str, Any]:
        def draw(name: str, scale: float | None = None) -> list[float | None]:
            size = SCALES.get(name, (1,) * 3)[min(number, 2)] if scale is None else scale
            return [float(size * abs(1 + 0.2 * self.random.normal())) if is_good else None for is_good in good]

        npt = self.recipe.ensemble == "npt"
        energies = [state.energy for state in self.states]
        volumes = [state.base.attributes.get("volume") for state in self.states]
        committee = {"committee_energy_spread": draw("", 0.01), "committee_force_spread": draw("", 0.05)}
        return {
            "accepted": accepted,
            "probability": [0.7 if is_good else 0.0 for is_good in good],
            "delta_h": draw("delta_h"),
            "mismatch": draw("delta_h"),
            "integration": draw("", 0.002),
            "energy": energies,
            "volume": volumes,
            "energy_error": draw("energy_error"),
            "force_rmse": draw("force_rmse"),
            "stress_rmse": draw("", 0.1) if npt else [None] * len(good),
            "expected_squared_jump": [0.01] * len(good),
            **(committee if self.recipe.committee else {}),
            "epoch": number,
            "n_steps": 20 + number,
            "timestep": 2.0,
            "n_walkers": len(good),
            "n_atoms": 6,
            "temperature": 300.0,
            "ensemble": self.recipe.ensemble,
            "pressure": 1e-4 if npt else None,
            "cell_degrees_of_freedom": "orthorhombic" if npt else None,
        }

    def _train(self, name: str) -> None:
        roles = [(f"fine_tune_{name}", True)] + ([(f"committee_{name}_1", False)] if self.recipe.committee else [])
        parent = self.model
        for label, is_main in roles:
            inputs = {"model": parent} | {f"datasets__block_{k:04d}": block for k, block in enumerate(self.blocks)}
            chain = self._process(orm.WorkChainNode, "FineTuneWorkChain", inputs, caller=(self.node, label))
            job = self._process(orm.CalcJobNode, "MaceFineTuneCalculation", inputs, caller=(chain, "iteration_01"))
            model = _created(_model(stored=False), job, "model")
            metrics = _created(orm.Dict({"seconds": 12.5, "versions": {"torch": "2.99.1"}}), job, "metrics")
            for link, node in (("model", model), ("metrics", metrics)):
                node.base.links.add_incoming(chain, link_type=LinkType.RETURN, link_label=link)
            self._end(job, 0)
            self._end(chain, 0)
            self.model = model if is_main else self.model

    def _atoms(self) -> Any:
        atoms = rutile_atoms(seed=int(self.random.integers(1 << 30)))
        if self.recipe.ensemble == "npt":
            atoms.set_cell(atoms.cell.array * (1 + 0.01 * self.random.normal(size=(3, 1))), scale_atoms=True)
        return atoms

    def _label(self, creator: Any, tags: dict[str, Any]) -> ConfigurationData:
        atoms = self._atoms()
        is_last = tags.get("cycle") == self.recipe.n_cycles - 1 and tags.get("walker") == self.recipe.n_walkers - 1
        recovery = {"algo": f"Normal{HOSTILE}"} if self.recipe.problems and is_last else {}
        node = configuration(atoms, label_of(atoms) | {"recovery": recovery}, tags=tags)
        return node.store() if creator is None else _created(node, creator, "result")

    def _process(self, cls: Any, name: str, inputs: dict[str, Any], caller: Any = None, label: str = "") -> Any:
        is_work = issubclass(cls, orm.WorkChainNode)
        group = "workflows" if is_work else "calculations"
        node = cls(process_type=f"aiida.{group}:slhmc.{name}", label=label)
        if cls is orm.CalcJobNode:
            node.computer = self.computer
            node.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
        node.base.attributes.set("process_label", name)
        node.base.attributes.set("version", {"core": "2.99.0", "plugin": "9.9.9"})
        for key, data in inputs.items():
            link = LinkType.INPUT_WORK if is_work else LinkType.INPUT_CALC
            node.base.links.add_incoming(data.store(), link_type=link, link_label=key)
        if caller is not None:
            link = LinkType.CALL_WORK if is_work else LinkType.CALL_CALC
            node.base.links.add_incoming(caller[0], link_type=link, link_label=caller[1])
        node.store()
        node.set_process_state(ProcessState.RUNNING)
        return node

    @staticmethod
    def _end(node: Any, status: int | None, message: str | None = None) -> None:
        if status is not None:
            node.set_process_state(ProcessState.FINISHED)
            node.set_exit_status(status)
            if message or status:
                node.set_exit_message(message or REASON)


def _model(*, stored: bool = True) -> MaceModelData:
    node = MaceModelData(checkpoint=FOUNDATION_FILE)
    return node.store() if stored else node


def _created(node: Any, creator: Any, label: str) -> Any:
    node.base.links.add_incoming(creator, link_type=LinkType.CREATE, link_label=label)
    return node.store()
