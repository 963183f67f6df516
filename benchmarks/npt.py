"""What NPT has to show: the volume against molecular dynamics, and what stress in the training is worth.

    make npt

48-atom rutile at 300 K and one atmosphere; the target is the stand-in's "PBE", the proposing model starts as the
foundation.

1. Two self-learning runs with the same seed and the same number of labels, one trained with stress, one without, as
   the paper did; then one epoch with each final model, from the same states, with the same trajectories and random
   numbers: the ratio of their acceptances.
2. One long epoch with the model that was trained with stress, against NPT molecular dynamics of LAMMPS with the
   target's own potential: the difference of the mean volumes in standard errors.

Everything runs through AiiDA with caching switched on: stopped, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import load_profile, orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.io import read

from aiida_slhmc.analysis.convergence import autocorrelation_time, mean_and_error
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.standin.potential import VARIANTS, data_file, lammps_program, setup_commands
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

ROOT = Path(__file__).parents[1]
FUNCTIONAL = "pbe"
TEMPERATURE, PRESSURE = 300.0, 1.01325e-4  # K, GPa
N_FORMULA_UNITS = 16
N_BLOCKS = 20
# the trajectory stays as it is, so that both runs are measured with the same proposals
FIXED = {"rule": "acceptance", "rate": 0.0, "timestep": False}
TRAININGS = {"with stress": {}, "without stress": {"loss": "energy_forces"}}


def self_learning_run(training: dict[str, Any], label_budget: int) -> orm.WorkChainNode:
    """A self-learning NPT run of the protocol `fast` with this training."""
    builder = SlhmcWorkChain.get_builder_from_protocol(
        structure=orm.StructureData(ase=rutile()),
        model=orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation"}).first(flat=True),
        python_code=orm.load_code("python@localhost"),
        functional=FUNCTIONAL,
        ensemble="npt",
        target_options={
            "code": orm.load_code("vasp-standin@localhost"),
            "potential_family": "standin-pbe",
            "options": {"withmpi": False},
        },
        protocol="fast",
        overrides={
            "kernel": {"seed": 2026, "temperature": TEMPERATURE, "pressure": PRESSURE},
            "adaptation": FIXED,
            "fine_tune": training,
            "label_budget": label_budget,
        },
    )
    return finished(builder)


def epoch(run: orm.WorkChainNode, walkers: dict[str, Any], *, n_cycles: int, number: int) -> orm.WorkChainNode:
    """An epoch with the last model of *run*, frozen."""
    builder = EpochWorkChain.get_builder()
    builder.model = run.outputs.model
    builder.parameters = run.inputs.parameters
    builder.trajectory = run.inputs.trajectory
    builder.reference_structure = run.inputs.structure
    builder.n_cycles = orm.Int(n_cycles)
    builder.epoch = orm.Int(number)
    builder.walkers = walkers
    builder.proposal = dict(run.inputs.proposal.items())
    builder.target = dict(run.inputs.target.items()) | {"potential": dict(run.inputs.target.potential.items())}
    return finished(builder)


def finished(builder: Any) -> orm.WorkChainNode:
    """Run, or take from the cache what an earlier, interrupted command has done."""
    with enable_caching():
        _, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise SystemExit(f"{node.process_label}<{node.pk}> failed: {node.exit_message}")
    return node


def rutile() -> Atoms:
    """The demo's 48-atom cell."""
    atoms = read(ROOT / "examples" / "rutile.vasp")
    assert isinstance(atoms, Atoms)
    return atoms


class MolecularDynamics:
    """LAMMPS in the NPT ensemble (Martyna, Tobias and Klein), three independent cell lengths, beside all else.

    Its `fix npt` samples Ω^(N−1−1/N) instead of Ω^N, which moves the volume by 0.001 Å³ per formula unit here.
    """

    def __init__(self, folder: Path, picoseconds: float) -> None:
        """Start it."""
        self.folder, self.every = folder, 10
        atoms = rutile()
        (folder / "data").write_text(data_file(atoms, Prism(atoms.cell.array)))
        bar = 1e4 * PRESSURE
        commands = [
            setup_commands("data", VARIANTS[FUNCTIONAL]),
            f"velocity all create {TEMPERATURE} 20261 mom yes dist gaussian",
            "timestep 0.001",
            f"fix npt all npt temp {TEMPERATURE} {TEMPERATURE} 0.1 aniso {bar} {bar} 0.5",
            "run 5000",
            f"fix volumes all print {self.every} '$(vol)' file volumes title '#' screen no",
            f"run {round(1000 * picoseconds)}",
        ]
        (folder / "in.lammps").write_text("\n".join(commands))
        command = [lammps_program(), "-in", "in.lammps", "-log", "log.lammps", "-screen", "none"]
        self.process = subprocess.Popen(command, cwd=folder)

    def volumes(self) -> np.ndarray:
        """Volumes per formula unit in Å³, (n, 1), a value every ten femtoseconds."""
        if self.process.wait() != 0:
            raise SystemExit(f"LAMMPS failed: {(self.folder / 'log.lammps').read_text()[-1000:]}")
        return np.loadtxt(self.folder / "volumes", ndmin=2) / N_FORMULA_UNITS


def compare_volumes(chain: orm.ArrayData, dynamics: np.ndarray, burn_in: int) -> dict[str, float]:
    """Mean volumes (Å³ per formula unit) with standard errors, and their difference in units of its own."""
    volumes = chain.get_array("volume")[burn_in:] / N_FORMULA_UNITS
    mean, error = mean_and_error(volumes)
    # blocks of several periods of the barostat: the volume swings, and swings back
    blocks = [block.mean() for block in np.array_split(dynamics, N_BLOCKS)]
    reference, reference_error = np.mean(blocks), np.std(blocks, ddof=1) / np.sqrt(N_BLOCKS)
    return {
        "volume_slhmc": mean,
        "volume_slhmc_error": error,
        "autocorrelation_time_cycles": autocorrelation_time(volumes),
        "standard_deviation_slhmc": float(volumes.std()),
        "volume_lammps": float(reference),
        "volume_lammps_error": float(reference_error),
        "standard_deviation_lammps": float(dynamics.std()),
        "difference_in_standard_errors": (mean - reference) / float(np.hypot(error, reference_error)),
    }


def acceptances(runs: dict[str, orm.WorkChainNode], walkers: dict[str, Any], n_cycles: int) -> dict[str, Any]:
    """Acceptance of one epoch with each model, from the same states, and their ratio."""
    result: dict[str, Any] = {}
    for name, run in runs.items():
        summary = epoch(run, walkers, n_cycles=n_cycles, number=901).outputs.summary.get_dict()
        errors = ("sigma_mismatch", "stress_rmse_gpa", "force_rmse_mev_per_angstrom")
        result[name] = {key: summary[key] for key in ("labels", "acceptance", "acceptance_interval", *errors)}
    with_stress, without = (result[name]["acceptance"] for name in TRAININGS)
    result["ratio"] = with_stress / without if without else None
    # what is left of the ratio if the one is at the lower and the other at the upper end of its interval
    low, high = (result[name]["acceptance_interval"] for name in TRAININGS)
    result["ratio_at_least"] = low[0] / high[1]
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=48, help="of each self-learning run")
    parser.add_argument("--cycles", type=int, default=60, help="of the long epoch, four labels each")
    parser.add_argument("--burn-in", type=int, default=10, help="cycles of the long epoch that are not counted")
    parser.add_argument("--compared-cycles", type=int, default=10, help="of the epochs whose acceptance is compared")
    parser.add_argument("--picoseconds", type=float, default=200.0, help="of molecular dynamics")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "npt")
    arguments = parser.parse_args()
    load_profile("demo")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        dynamics = MolecularDynamics(Path(folder), arguments.picoseconds)
        runs = {name: self_learning_run(training, arguments.labels) for name, training in TRAININGS.items()}
        start = dict(runs["with stress"].outputs.walkers.items())
        long = epoch(runs["with stress"], start, n_cycles=arguments.cycles, number=900)
        summary = {
            "command": " ".join(sys.argv),
            "target": f"stand-in for VASP, {FUNCTIONAL}; not DFT",
            "acceptance": acceptances(runs, dict(long.outputs.walkers.items()), arguments.compared_cycles),
            "volume": compare_volumes(long.outputs.chain, dynamics.volumes(), arguments.burn_in),
            "uuids": {name: run.uuid for name, run in runs.items()} | {"long epoch": long.uuid},
            "long_epoch": long.outputs.summary.get_dict(),
        }
    (arguments.folder / "summary.json").write_text(json.dumps(summary, indent=1))
    print(json.dumps({key: summary[key] for key in ("acceptance", "volume")}, indent=1))


if __name__ == "__main__":
    main()
