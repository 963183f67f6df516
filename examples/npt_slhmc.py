"""Self-learning hybrid Monte Carlo of rutile TiO₂ in the NPT ensemble: copy this file and change it.

    verdi run examples/npt_slhmc.py            run here and wait
    verdi run examples/npt_slhmc.py --submit   hand it to the daemon
    verdi run examples/npt_slhmc.py --restart PK   go on from an earlier run, finished or not

The cell starts where the foundation model has it and moves to the volume of the target. Strains are measured from the
cell of the starting structure.

`examples/setup_demo.py` has to have been run once. The target is a stand-in for VASP that computes no DFT; with a real
VASP change the three lines marked below.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aiida import orm
from aiida.engine import ProcessBuilder
from ase.io import read

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.launch import launch
from aiida_slhmc.workflows.restart import get_restart_builder
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

# under `verdi run`, __file__ is only the file's name
HERE = Path(sys.argv[0]).resolve().parent


def get_builder() -> ProcessBuilder:
    """All inputs of the run."""
    structure = orm.StructureData(ase=read(HERE / "rutile.vasp"))
    model = orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation"}).first(flat=True)
    return SlhmcWorkChain.get_builder_from_protocol(
        structure=structure,
        model=model,
        python_code=orm.load_code("python@localhost"),  # an interpreter with mace-torch
        functional="pbe",  # or r2scan, hse06
        ensemble="npt",
        target="vasp",
        target_options={
            "code": orm.load_code("vasp-standin@localhost"),  # <- your VASP
            "potential_family": "standin-pbe",  # <- your POTCAR family
            "options": {"withmpi": False},  # <- your resources, queue and wall time
        },
        protocol="fast",
        overrides={
            # pressure in GPa; the cell may also be `isotropic` or `full` (all six strains)
            "kernel": {"seed": 2026, "pressure": 1.01325e-4, "cell_degrees_of_freedom": "orthorhombic"},
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submit", action="store_true", help="hand the run to the daemon instead of waiting for it")
    parser.add_argument("--restart", metavar="PK", help="go on from this run")
    arguments = parser.parse_args()
    builder = get_restart_builder(orm.load_node(arguments.restart)) if arguments.restart else get_builder()
    # a restart takes over what an interrupted epoch has stored, instead of computing it again
    node = launch(builder, to_daemon=arguments.submit, take_over=bool(arguments.restart))
    if arguments.submit:
        print(f"submitted run {node.pk}; follow it with: verdi process status {node.pk}")
    else:
        print(f"run {node.pk} ended with exit status {node.exit_status}")


if __name__ == "__main__":
    main()
