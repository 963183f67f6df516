from __future__ import annotations

import re
from itertools import pairwise

import pytest
from ase import Atoms

from aiida_slhmc.standin.inputs import Incar, InputError
from aiida_slhmc.standin.scf import converge


def iterations(algo: str, warm: bool = False, ediff: str = "1E-6") -> int:
    cycle = converge(Incar(ALGO=algo, EDIFF=ediff), warm)
    assert cycle.converged
    assert cycle.errors[-1] == 0.0
    return len(cycle.errors)


def test_number_of_iterations_depends_on_algorithm_start_and_criterion() -> None:
    cold = {algo: iterations(algo) for algo in ("Normal", "All", "Conjugate", "Fast", "VeryFast")}
    assert cold == {"Normal": 14, "All": 13, "Conjugate": 13, "Fast": 12, "VeryFast": 11}
    assert all(iterations(algo, warm=True) < count for algo, count in cold.items())
    assert iterations("Normal", ediff="1E-8") > cold["Normal"]


def test_every_iteration_comes_closer() -> None:
    errors = converge(Incar(EDIFF="1E-6"), warm=False).errors
    changes = [earlier - later for earlier, later in pairwise(errors)]
    assert 0 < changes[-1] < 1e-6
    assert all(change > 1e-6 for change in changes[:-1])  # or it would have stopped before


@pytest.mark.parametrize("tags", [{"ALGO": "Exact"}, {"NELM": "0"}, {"EDIFF": "0"}])
def test_unknown_settings(tags: dict[str, str]) -> None:
    with pytest.raises(InputError):
        converge(Incar(tags), warm=False)


def printed_iterations(outcar: str) -> int:
    return len(re.findall(r"Iteration +1\( *\d+\)", outcar))


def test_nelm_too_small(make_run, rutile: Atoms) -> None:
    full, short = make_run("full"), make_run("short")
    full.compute(rutile)
    short.compute(rutile, NELM=8)
    assert printed_iterations(full.text("OUTCAR")) == 14
    assert printed_iterations(short.text("OUTCAR")) == 8
    assert "aborting loop because EDIFF is reached" in full.text("OUTCAR")
    assert "EDIFF was not reached (unconverged)" in short.text("OUTCAR")
    assert short.energy("e_fr_energy") - full.energy("e_fr_energy") > 1e-6
    assert [full.text("OSZICAR").count(f"DAV: {n:3d}") for n in (8, 9, 14, 15)] == [1, 1, 1, 0]
    assert [short.text("OSZICAR").count(f"DAV: {n:3d}") for n in (8, 9)] == [1, 0]


def test_second_run_in_a_folder_starts_from_the_first(run, rutile: Atoms) -> None:
    run.compute(rutile)
    energy, first = run.energy("e_fr_energy"), printed_iterations(run.text("OUTCAR"))
    run.compute(rutile)
    assert printed_iterations(run.text("OUTCAR")) < first
    assert run.energy("e_fr_energy") == energy
    run.compute(rutile, ISTART=0)  # WAVECAR ignored, CHGCAR not asked for
    assert printed_iterations(run.text("OUTCAR")) == first
    run.compute(rutile, ISTART=0, ICHARG=1)
    assert printed_iterations(run.text("OUTCAR")) < first
