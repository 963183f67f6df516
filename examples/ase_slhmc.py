"""Self-learning hybrid Monte Carlo on a target of ASE's: TiO₂ in GFN1-xTB tight binding, computed by tblite.

    verdi run examples/ase_slhmc.py            run here and wait, some minutes
    verdi run examples/ase_slhmc.py --submit   hand it to the daemon

`examples/setup_demo.py` has to have been run once, and the code `python@localhost`, which runs the labels, too, needs
tblite: `pip install tblite`. For another calculator of ASE's give `calculator` and `arguments` in `target_options`.

tblite samples the Γ point only, and there six atoms of rutile are no minimum of GFN1: within 50 fs they are something
else. The run starts from the minimum that they relax to, cell and all, with
`BFGS(FrechetCellFilter(atoms)).run(fmax=0.03)` of ASE. The foundation model knows nothing of that structure: in three
epochs of 12 labels the acceptance goes from 0.08 over 0.83 to 1.00, and the error of its forces from 1227 over 65 to
48 meV/Å.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from aiida import orm
from aiida.engine import ProcessBuilder
from ase import Atoms

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.launch import launch
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

CELL = [[5.457, 0.623, -0.558], [0.673, 6.121, 0.079], [-0.440, 0.015, 2.781]]  # Å
FRACTIONS = [
    [0.0809, 0.1158, 0.1645],
    [0.4189, 0.5495, 0.3328],
    [0.2501, 0.3326, 0.2486],
    [0.6006, 0.5114, 0.9233],
    [0.2495, 0.8325, 0.2479],
    [0.8990, 0.1541, 0.5739],
]


def check_tblite(code: orm.InstalledCode) -> None:
    """Say what to do where the labels' Python lacks the calculator."""
    python = str(code.filepath_executable)
    if subprocess.run([python, "-c", "import tblite.ase"], capture_output=True, check=False).returncode:
        sys.exit(f"this example's target is GFN1-xTB: install it with\n    {python} -m pip install tblite")


def get_builder() -> ProcessBuilder:
    """All inputs of the run."""
    atoms = Atoms("Ti2O4", cell=CELL, scaled_positions=FRACTIONS, pbc=True)
    python = orm.load_code("python@localhost")
    check_tblite(python)
    return SlhmcWorkChain.get_builder_from_protocol(
        structure=orm.StructureData(ase=atoms),
        model=orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation"}).first(flat=True),
        python_code=python,
        functional="gfn1",  # or gfn2
        target="ase",
        target_options={"code": python},
        protocol="fast",
        overrides={
            "kernel": {"seed": 2026},
            # short at first: the model has all to learn
            "trajectory": {"n_steps": 5, "timestep": 0.5},
            "label_budget": 36,
            "fine_tune": {"max_epochs": 20},
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submit", action="store_true", help="hand the run to the daemon instead of waiting for it")
    node = launch(get_builder(), to_daemon=parser.parse_args().submit)
    if node.is_terminated:
        print(f"run {node.pk} ended with exit status {node.exit_status}")
    else:
        print(f"submitted run {node.pk}; follow it with: verdi process status {node.pk}")


if __name__ == "__main__":
    main()
