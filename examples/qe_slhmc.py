"""Self-learning hybrid Monte Carlo of rutile TiO₂ with real DFT, by Quantum ESPRESSO: copy this file and change it.

    verdi run examples/qe_slhmc.py                  run here and wait
    verdi run examples/qe_slhmc.py --ensemble npt   with the cell moving, at one atmosphere
    verdi run examples/qe_slhmc.py --submit         hand it to the daemon
    verdi run examples/qe_slhmc.py --restart PK     go on from an earlier run, finished or not

A foundation model fitted to LDA learns PBE; with NPT the cell grows by some 5 % on the way, from LDA's volume to PBE's.
The cell has six atoms and the run costs 48 labels of a few seconds each. It needs pw.x (on Debian or Ubuntu: apt-get
install quantum-espresso quantum-espresso-data) and sets up the rest by itself, see `setup_quantum_espresso.py`.

This is real DFT, but with small cutoffs and the ultrasoft LDA potentials that come with the package: not of publication
quality. For that, change the lines marked below.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aiida import orm
from aiida.engine import ProcessBuilder
from ase import Atoms
from ase.spacegroup import crystal

# under `verdi run`, the folder of the script is not searched for modules
sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))

from setup_quantum_espresso import foundation, set_up

from aiida_slhmc.workflows.launch import launch
from aiida_slhmc.workflows.restart import get_restart_builder
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

# lengths of LDA (Å), where the foundation model has its minimum: V = 29.6 Å³ per TiO₂
LDA_CELL = (4.51, 4.51, 2.91)


def rutile() -> Atoms:
    """Six atoms in the cell of LDA."""
    return crystal(
        ["Ti", "O"],
        [(0, 0, 0), (0.304, 0.304, 0)],
        spacegroup=136,
        cellpar=[*LDA_CELL, 90, 90, 90],
        onduplicates="error",
    )


def get_builder(ensemble: str) -> ProcessBuilder:
    """All inputs of the run."""
    return SlhmcWorkChain.get_builder_from_protocol(
        structure=orm.StructureData(ase=rutile()),
        model=foundation(),
        python_code=orm.load_code("python@localhost"),  # an interpreter with mace-torch
        functional="pbe",  # or lda, pbesol
        ensemble=ensemble,
        target="quantum_espresso",
        target_options={
            "code": orm.load_code("pw@localhost"),  # <- your pw.x
            "pseudo_family": "espresso-lda",  # <- your family of pseudopotentials, and its cutoffs in Ry:
            # "parameters": {"SYSTEM": {"ecutwfc": 60, "ecutrho": 480, "ecfixed": 55, "qcutz": 160}},
            # "kpoints_mesh": [3, 3, 5],
            "options": {"withmpi": False},  # <- your resources, queue and wall time
        },
        protocol="fast",
        # a small learning rate: the foundation is not far from PBE, and larger steps would make it worse at first
        overrides={"kernel": {"seed": 2026}, "fine_tune": {"learning_rate": 0.001, "max_epochs": 30}},
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ensemble", choices=["nvt", "npt"], default="nvt")
    parser.add_argument("--submit", action="store_true", help="hand the run to the daemon instead of waiting for it")
    parser.add_argument("--restart", metavar="PK", help="go on from this run")
    arguments = parser.parse_args()
    set_up()
    earlier = orm.load_node(arguments.restart) if arguments.restart else None
    builder = get_restart_builder(earlier) if earlier else get_builder(arguments.ensemble)
    # a restart takes over what an interrupted epoch has stored, instead of computing it again
    node = launch(builder, to_daemon=arguments.submit, take_over=bool(earlier))
    if arguments.submit:
        print(f"submitted run {node.pk}; follow it with: verdi process status {node.pk}")
    else:
        print(f"run {node.pk} ended with exit status {node.exit_status}")


if __name__ == "__main__":
    main()
