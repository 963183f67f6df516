"""What a label by pw.x saves when it starts from the files of the walker's last label instead of from atoms.

A chain of configurations as a walker runs through it: each is the end point of 20 steps of 1 fs from the one before,
with new momenta at 300 K, by the foundation model of `examples/qe_slhmc.py`. Every configuration is labelled four
times: from the density and orbitals of atoms, from the density of the configuration before, from its orbitals, and from
both. A second chain makes short moves, so that one sees what the size of the move does.

    python benchmarks/density_reuse.py [--moves 8]

Iterations are those of the self-consistency, `band steps` the mean numbers of diagonalisation steps for a k-point and
iteration, added up: they are what the time goes into. Seconds are CPU time as pw.x prints it, on one core.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import mace.calculators  # before e3nn
import numpy as np
import yaml
from ase import Atoms, units
from ase.io import write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.spacegroup import crystal

from aiida_slhmc.worker.checkpoint import load_checkpoint

MODEL = Path(__file__).parents[1] / "examples" / "foundation" / "foundation_lda.safetensors"
PSEUDO_FOLDER = os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo")
PSEUDOS = {"Ti": "Ti.pz-sp-van_ak.UPF", "O": "O.pz-van_ak.UPF"}
# what pw.x is told to start from
STARTS = {
    "atoms": {"startingpot": "atomic", "startingwfc": "atomic+random"},
    "density": {"startingpot": "file", "startingwfc": "atomic+random"},
    "orbitals": {"startingpot": "atomic", "startingwfc": "file"},
    "both": {"startingpot": "file", "startingwfc": "file"},
}


@dataclass(frozen=True)
class Cost:
    """What one label took, and its energy in Ry."""

    iterations: int
    band_steps: float
    seconds: float
    energy: float


def rutile() -> Atoms:
    """Six atoms of rutile in the experimental cell at 300 K."""
    perfect = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    return Atoms(perfect.symbols, positions=perfect.positions, cell=perfect.cell, pbc=True)


def chain(n_moves: int, n_steps: int, random: np.random.Generator) -> list[Atoms]:
    """A start from 300 K and *n_moves* end points of *n_steps* fs each."""
    atoms = rutile()
    atoms.calc = mace.calculators.MACECalculator(models=[load_checkpoint(MODEL)], device="cpu", default_dtype="float64")
    visited = []
    # ten long moves to forget the perfect lattice
    for index in range(10 + n_moves + 1):
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=random)
        VelocityVerlet(atoms, 1.0 * units.fs).run(20 if index <= 10 else n_steps)
        visited.append(Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell.array, pbc=True))
    return visited[10:]


def label(atoms: Atoms, folder: Path, before: Path | None, start: dict[str, str]) -> Cost:
    """Run pw.x in *folder*, from a copy of what it has left in *before*."""
    settings = yaml.safe_load((files("aiida_slhmc.targets") / "quantum_espresso.yaml").read_text())
    namelists = {name.lower(): dict(keys) for name, keys in settings["common"].items()}
    namelists["control"] |= {"outdir": "./out", "pseudo_dir": PSEUDO_FOLDER}
    namelists["system"] |= settings["functionals"]["pbe"]["SYSTEM"]
    namelists["electrons"] |= start if before else STARTS["atoms"]
    folder.mkdir()
    if before:
        shutil.copytree(before / "out", folder / "out")
    write(
        folder / "pw.in",
        atoms,
        format="espresso-in",
        input_data=namelists,
        pseudopotentials=PSEUDOS,
        kpts=tuple(settings["kpoints_mesh"]),
        koffset=tuple(int(2 * offset) for offset in settings["kpoints_offset"]),
    )
    command = [str(shutil.which("pw.x")), "-in", "pw.in"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return Cost(
        int(re.findall(r"convergence has been achieved in\s+(\d+)", done)[0]),
        sum(float(steps) for steps in re.findall(r"avg # of iterations =\s*(\S+)", done)),
        float(re.findall(r"PWSCF\s+:\s+(\S+)s CPU", done)[0]),
        float(re.findall(r"^!\s+total energy\s+=\s+(\S+) Ry", done, re.MULTILINE)[0]),
    )


def measure(configurations: list[Atoms], start: dict[str, str], folder: Path) -> list[Cost]:
    """Costs of all labels of a chain but the first, which has nothing to start from."""
    folder.mkdir()
    costs = []
    for index, atoms in enumerate(configurations):
        before = folder / str(index - 1) if index else None
        costs.append(label(atoms, folder / str(index), before, start))
    return costs[1:]


def report(title: str, configurations: list[Atoms]) -> None:
    """Measure a chain in all ways and print the table."""
    moves = [b.positions - a.positions for a, b in pairwise(configurations)]
    print(f"{title}: {len(moves)} moves, root mean square {np.sqrt(np.mean(np.square(moves))):.3f} Å per component")
    print(f"{'start':10} {'iterations':>10} {'band steps':>10} {'seconds':>8} {'time ratio':>10} {'energy (meV)':>12}")
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(configurations, start, Path(folder) / name) for name, start in STARTS.items()}
    for name, costs in found.items():
        means = np.mean([[cost.iterations, cost.band_steps, cost.seconds] for cost in costs], axis=0)
        ratio = means[2] / np.mean([cost.seconds for cost in found["atoms"]])
        differences = [abs(a.energy - b.energy) for a, b in zip(costs, found["atoms"], strict=True)]
        worst = max(differences) * units.Ry * 1000
        print(f"{name:10} {means[0]:10.1f} {means[1]:10.1f} {means[2]:8.2f} {ratio:10.2f} {worst:12.5f}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=8, help="moves of each chain")
    arguments = parser.parse_args()
    if shutil.which("pw.x") is None:
        parser.error("pw.x is missing: apt-get install quantum-espresso quantum-espresso-data")
    random = np.random.default_rng(2026)
    for n_steps in (20, 2):
        report(f"{n_steps} fs", chain(arguments.moves, n_steps, random))


if __name__ == "__main__":
    main()
