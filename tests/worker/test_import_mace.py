"""MACE without the packages that no job uses: the same numbers, and nothing that stays broken."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase.io import read

from aiida_slhmc.worker.import_mace import REFUSED, REPLACED, import_mace
from aiida_slhmc.worker.potential import load_potential

EXAMPLES = Path(__file__).parents[2] / "examples"
FOUNDATION = EXAMPLES / "foundation" / "foundation.safetensors"
OPTIONS = {"compute_stress": False, "device": "cpu"}
EVALUATE = f"""
import json, sys
import torch
from ase.io import read
from aiida_slhmc.worker.import_mace import import_mace, REFUSED, REPLACED
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
import_mace()
absent = [name for name in (*REPLACED, *REFUSED, "matplotlib", "pandas") if name not in sys.modules]
from aiida_slhmc.worker.potential import load_potential
atoms = read({str(EXAMPLES / "rutile.vasp")!r})
potential = load_potential({str(FOUNDATION)!r}, atoms.numbers, **{OPTIONS})
potential.warm_up(atoms.positions[None], atoms.cell.array[None])
output = potential(atoms.positions[None], atoms.cell.array[None])
from scipy.signal import find_peaks
print(json.dumps([absent, output.energies.tolist(), len(find_peaks([0, 1, 0])[0])]))
"""
NEEDS_ONE_OF_THEM = """
import sys
from aiida_slhmc.worker import import_mace
import_mace.REFUSED = ("torch._dynamo", "torch_ema")
import_mace.import_mace()
import mace.tools, torch_ema, torchmetrics
assert mace.tools.train.__module__ == "mace.tools.train" and torchmetrics.Metric.__module__ == "torchmetrics.metric"
assert "torch_ema" in sys.modules
"""


def in_a_process_of_its_own(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_same_numbers_without_them():
    absent, energies, n_peaks = json.loads(in_a_process_of_its_own(EVALUATE).splitlines()[-1])
    assert set(absent) == {*REPLACED, *REFUSED, "matplotlib", "pandas"}
    assert n_peaks == 1, "what was replaced cannot be imported afterwards"
    # here MACE is imported in full
    atoms = read(EXAMPLES / "rutile.vasp")
    potential = load_potential(FOUNDATION, atoms.numbers, **OPTIONS)
    potential.warm_up(atoms.positions[None], atoms.cell.array[None])
    np.testing.assert_allclose(energies, potential(atoms.positions[None], atoms.cell.array[None]).energies, rtol=1e-14)


def test_imported_in_full_where_mace_needs_one_of_them():
    in_a_process_of_its_own(NEEDS_ONE_OF_THEM)


def test_nothing_is_replaced_where_mace_is_there_already():
    before = set(sys.modules)
    import_mace()
    assert set(sys.modules) == before
