"""What AiiDA costs per cycle: the same cycles with EpochWorkChain and with a plain Python loop, as a ratio.

    make bench

Both run the same worker processes and the same stand-in for VASP on the same cell, one after the other, at K = 1 and
K = 4 walkers. The loop keeps nothing but arrays in memory: no provenance, no restart, no remote computer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from aiida import load_profile, orm
from aiida.engine import run_get_node
from aiida.orm import QueryBuilder
from ase import Atoms
from ase.data import atomic_masses
from ase.io import read, write

from aiida_slhmc.calculations.worker_calculation import ENVIRONMENT, worker_files
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.metropolis import decide, energy_change
from aiida_slhmc.kernel.parameters import KernelParameters, Trajectory
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.standin.potcar import write_potcar_family
from aiida_slhmc.targets.vasp import VaspTarget
from aiida_slhmc.worker.propose import States
from aiida_slhmc.workflows.epoch import EpochWorkChain

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "examples" / "foundation" / "foundation.safetensors"
KERNEL = KernelParameters(temperature=300.0, seed=1)
TRAJECTORY = Trajectory(n_steps=5, timestep=1.0)


def rutile() -> Atoms:
    """The demo's 48-atom cell."""
    atoms = read(ROOT / "examples" / "rutile.vasp")
    assert isinstance(atoms, Atoms)
    return atoms


class PlainLoop:
    """The cycles of an epoch without AiiDA, in a folder."""

    def __init__(self, folder: Path, incar: dict[str, Any]) -> None:
        self.folder = folder
        tags = {key: str(value).replace("False", ".FALSE.") for key, value in incar.items()}
        self.incar = "".join(f"{key.upper()} = {value}\n" for key, value in tags.items())
        write_potcar_family(folder / "potcars")
        self.potcar = "".join((folder / "potcars" / name / "POTCAR").read_text() for name in ("Ti_pv", "O"))

    def start_label(self, name: str, positions: np.ndarray) -> tuple[subprocess.Popen[bytes], Path]:
        """Start one label."""
        job = self.folder / name
        job.mkdir(parents=True)
        atoms = rutile()
        atoms.positions = positions
        write(job / "POSCAR", atoms, format="vasp", direct=True)
        (job / "INCAR").write_text(self.incar)
        (job / "KPOINTS").write_text("mesh\n0\nGamma\n1 1 1\n0 0 0\n")
        (job / "POTCAR").write_text(self.potcar)
        command = [str(Path(sys.executable).parent / "vasp-standin")]
        return subprocess.Popen(command, cwd=job, stdout=subprocess.DEVNULL), job

    def labels(self, name: str, positions: np.ndarray) -> list[float]:
        """Energies of all walkers' configurations, labelled at the same time; forces are parsed too."""
        started = [self.start_label(f"{name}_{k}", positions[k]) for k in range(len(positions))]
        energies = []
        for process, job in started:
            assert process.wait() == 0
            calculation = ElementTree.parse(job / "vasprun.xml").find("calculation")
            assert calculation is not None
            rows = [[float(x) for x in v.text.split()] for v in calculation.findall("varray[@name='forces']/v")]
            assert np.shape(rows) == positions.shape[1:]
            energies.append(float(calculation.findtext("energy/i[@name='e_fr_energy']")))
        return energies

    def propose(self, cycle: int, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Run the worker in a process of its own."""
        job = self.folder / f"propose_{cycle}"
        for path, content in worker_files().items():
            (job / path).parent.mkdir(parents=True, exist_ok=True)
            (job / path).write_bytes(content)
        plan = {"kernel": KERNEL.as_dict(), "trajectory": asdict(TRAJECTORY), "epoch": 0, "cycle": cycle}
        (job / "parameters.json").write_text(json.dumps(plan | {"walltime_seconds": None}))
        (job / "model.safetensors").write_bytes(CHECKPOINT.read_bytes())
        atoms = rutile()
        cells = np.repeat(atoms.cell.array[None], len(positions), axis=0)
        states = States(atoms.numbers, atomic_masses[atoms.numbers], positions, cells, cells[0])
        np.savez(job / "states.npz", **states._asdict())
        command = [sys.executable, "-m", "aiida_slhmc.worker.propose"]
        subprocess.run(command, cwd=job, env=ENVIRONMENT | {"PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
        with np.load(job / "proposals.npz") as archive:
            return {key: archive[key] for key in archive.files}

    def run(self, n_walkers: int, n_cycles: int) -> tuple[float, list[list[bool]]]:
        """Seconds per cycle and the decisions."""
        positions = np.repeat(rutile().positions[None], n_walkers, axis=0)
        energies = self.labels("start", positions[:1]) * n_walkers
        begin, decisions = time.perf_counter(), []
        for cycle in range(n_cycles):
            ends = self.propose(cycle, positions)
            new = self.labels(f"label_{cycle}", ends["positions"])
            accepted = []
            for k in range(n_walkers):
                change = energy_change((energies[k], new[k]), ends["energies"][k], ends["kinetic_energies"][k])
                stream = random_stream(KERNEL.seed, 0, cycle, Purpose.METROPOLIS, k)
                accepted.append(decide(stream, change, KERNEL.temperature).accepted)
                if accepted[-1]:
                    positions[k], energies[k] = ends["positions"][k], new[k]
            decisions.append(accepted)
        return (time.perf_counter() - begin) / n_cycles, decisions


def with_aiida(target: dict[str, Any], n_walkers: int, n_cycles: int) -> tuple[float, list[list[bool]]]:
    """Seconds per cycle of EpochWorkChain, run in this process, and its decisions."""
    start, _ = run_get_node(VaspTarget.get_work_chain(), structure=orm.StructureData(ase=rutile()), **target)
    inputs = {
        "model": QueryBuilder().append(MaceModelData, filters={"label": "foundation"}).first(flat=True),
        "parameters": orm.Dict(KERNEL.as_dict()),
        "trajectory": orm.Dict(asdict(TRAJECTORY)),
        "n_cycles": orm.Int(n_cycles),
        "walkers": {f"walker_{k}": start["label"] for k in range(n_walkers)},
        "proposal": {"code": orm.load_code("python@localhost")},
        "target": {"engine": orm.Str("vasp"), **target},
    }
    begin = time.perf_counter()
    _, node = run_get_node(EpochWorkChain, **inputs)
    seconds = time.perf_counter() - begin
    assert node.is_finished_ok, node.exit_message
    walker = node.outputs.walkers.walker_0
    assert isinstance(walker, ConfigurationData)
    query = QueryBuilder().append(orm.WorkChainNode, filters={"id": node.pk}, tag="epoch")
    query.append(orm.CalcFunctionNode, with_incoming="epoch", filters={"label": "metropolis"}, tag="decide")
    query.append(orm.Dict, with_incoming="decide", project=["attributes.cycle", "attributes.accepted"])
    return seconds / n_cycles, [accepted for _, accepted in sorted(query.all())]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    load_profile("demo")
    target = VaspTarget.get_inputs(
        structure=orm.StructureData(ase=rutile()),
        functional="pbe",
        code=orm.load_code("vasp-standin@localhost"),
        potential_family="standin-pbe",
        options={"withmpi": False},
    )
    print("K   AiiDA (s/cycle)   plain loop (s/cycle)   ratio   AiiDA's own cost (s/cycle)")
    for n_walkers in (1, 4):
        pairs = []
        for _ in range(arguments.repeats):
            aiida, decided = with_aiida(target, n_walkers, arguments.cycles)
            with tempfile.TemporaryDirectory() as folder:
                loop = PlainLoop(Path(folder), target["parameters"].get_dict())
                plain, decided_plain = loop.run(n_walkers, arguments.cycles)
            assert decided == decided_plain, "the two did not do the same work"
            pairs.append((aiida, plain))
        aiida, plain = np.median(np.array(pairs), axis=0)
        ratio = np.median([a / p for a, p in pairs])
        print(f"{n_walkers}   {aiida:15.2f}   {plain:20.2f}   {ratio:5.2f}   {aiida - plain:26.2f}", flush=True)


if __name__ == "__main__":
    main()
