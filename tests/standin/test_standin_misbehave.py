from __future__ import annotations

import signal
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from ase import Atoms

from aiida_slhmc.standin.inputs import InputError
from aiida_slhmc.standin.misbehave import DELAY, FAILURE, FRACTION, failure_of

EDIFF_REACHED = "aborting loop because EDIFF is reached"
TIMING = "timing and accounting informations"


def iterations(run) -> int:
    return run.text("OUTCAR").count(" Iteration ")


@pytest.mark.parametrize(
    ("mode", "algo", "fails"),
    [
        ("not_converged", "Normal", True),
        ("not_converged", "Fast", True),
        ("not_converged_normal", "Fast", True),
        ("not_converged_normal", "Normal", False),
        ("not_converged_normal", "All", False),
    ],
)
def test_not_converged(run, rutile: Atoms, mode: str, algo: str, fails: bool) -> None:
    run.compute(rutile, {FAILURE: mode}, ALGO=algo, NELM=30)
    assert (iterations(run) == 30) is fails
    assert EDIFF_REACHED in run.text("OUTCAR")  # misleading where it fails


def test_not_converged_has_the_wrong_energy(make_run, rutile: Atoms) -> None:
    good, bad = make_run("good"), make_run("bad")
    good.compute(rutile)
    bad.compute(rutile, {FAILURE: "not_converged"})
    assert abs(bad.energy("e_fr_energy") - good.energy("e_fr_energy")) > 1e-3


def test_nan(run, rutile: Atoms) -> None:
    run.compute(rutile, {FAILURE: "nan"})
    assert np.isnan(run.energy("e_fr_energy"))
    assert run.array("forces").shape == (6, 3)
    assert np.isnan(run.array("forces")).all()
    assert np.isfinite(run.array("stress")).all()


def test_overflow(run, rutile: Atoms) -> None:
    run.compute(rutile, {FAILURE: "overflow"})
    assert run.text("vasprun.xml").count("****************") == 1
    assert np.isfinite(run.energy("e_fr_energy"))


def test_truncated(run, rutile: Atoms) -> None:
    run.compute(rutile, {FAILURE: "truncated"})
    with pytest.raises(ElementTree.ParseError):
        run.array("forces")
    xml = run.text("vasprun.xml")
    assert 0 < xml.split('<varray name="forces" >')[1].count("<v>") < 6
    assert TIMING in run.text("OUTCAR")


def test_no_timing(run, rutile: Atoms) -> None:
    run.compute(rutile, {FAILURE: "no_timing"})
    assert TIMING not in run.text("OUTCAR")
    assert run.array("forces").shape == (6, 3)


def test_killed(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    done = run.program({FAILURE: "killed"})
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.startswith(" running on")
    assert TIMING not in run.text("OUTCAR")
    assert iterations(run) == 14
    assert "</modeling>" not in run.text("vasprun.xml")
    assert "F=" not in run.text("OSZICAR")
    assert run.text("CONTCAR") == ""


def test_no_xml(run, rutile: Atoms) -> None:
    run.compute(rutile, {FAILURE: "no_xml"})
    assert not (run.folder / "vasprun.xml").exists()
    assert TIMING not in run.text("OUTCAR")


@pytest.mark.parametrize("missing", ["forces", "stress"])
def test_missing(run, rutile: Atoms, missing: str) -> None:
    run.compute(rutile, {FAILURE: f"missing_{missing}"})
    sizes = {name: run.array(name).size for name in ("forces", "stress")}
    assert sizes.pop(missing) == 0
    assert all(size > 0 for size in sizes.values())
    assert np.isfinite(run.energy("e_fr_energy"))


@pytest.mark.parametrize(
    ("mode", "algo", "fails"),
    [
        ("brmix", "Normal", True),
        ("brmix_normal", "Fast", True),
        ("brmix_normal", "Normal", False),
        ("brmix_normal", "All", False),
    ],
)
def test_brmix(run, rutile: Atoms, mode: str, algo: str, fails: bool) -> None:
    run.write_inputs(rutile, ALGO=algo)
    done = run.program({FAILURE: mode})
    assert done.returncode == 0
    assert ("BRMIX: very serious problems" in done.stdout) is fails


@pytest.mark.parametrize(("algo", "fails"), [("Normal", True), ("Fast", True), ("All", False), ("Damped", False)])
def test_zhegv(run, rutile: Atoms, algo: str, fails: bool) -> None:
    run.write_inputs(rutile, ALGO=algo)
    done = run.program({FAILURE: "zhegv"})
    assert ("Error EDDDAV: Call to ZHEGV failed" in done.stdout) is fails
    assert (TIMING not in run.text("OUTCAR")) is fails


@pytest.mark.parametrize(("tags", "stops"), [({}, True), ({"ISTART": 0}, False)])
def test_bad_wavecar(run, rutile: Atoms, tags: dict[str, int], stops: bool) -> None:
    """Only who reads the WAVECAR of an earlier run stops on it."""
    run.write_inputs(rutile, **tags)
    assert run.program({FAILURE: "bad_wavecar"}).returncode == 0
    assert (run.folder / "WAVECAR").is_file()
    done = run.program({FAILURE: "bad_wavecar"})
    assert done.returncode == (1 if stops else 0)
    assert ("while reading WAVECAR" in done.stdout) is stops


def test_slow(make_run, rutile: Atoms) -> None:
    fast, slow = make_run("fast"), make_run("slow")
    fast.compute(rutile)
    started = time.perf_counter()
    slow.compute(rutile, {FAILURE: "slow", DELAY: "0.7"})
    assert time.perf_counter() - started > 0.7
    assert slow.energy("e_fr_energy") == fast.energy("e_fr_energy")


def test_fraction_picks_the_same_configurations_each_time(rutile: Atoms) -> None:
    configurations = []
    for seed in range(400):
        atoms = rutile.copy()
        atoms.positions += np.random.default_rng(seed).normal(0, 0.05, (6, 3))
        configurations.append(atoms)

    def chosen(fraction: str) -> list[bool]:
        return [failure_of({FAILURE: "nan", FRACTION: fraction}, atoms) == "nan" for atoms in configurations]

    some = chosen("0.3")
    assert some == chosen("0.3")
    assert 80 < sum(some) < 160  # four standard deviations around 120
    assert all(more for less, more in zip(some, chosen("0.6"), strict=True) if less)
    assert sum(chosen("0")) == 0
    assert all(chosen("1"))


def test_fraction_outlives_the_rounding_of_files(rutile: Atoms) -> None:
    moved = rutile.copy()
    moved.positions += 1e-12
    thresholds = [str(x) for x in np.linspace(0, 1, 101)]
    picks = [[failure_of({FAILURE: "nan", FRACTION: t}, atoms) for t in thresholds] for atoms in (rutile, moved)]
    assert picks[0] == picks[1]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({FAILURE: "explode"}, "is none of not_converged"),
        ({FAILURE: "nan", FRACTION: "1.5"}, "not between 0 and 1"),
        ({FAILURE: "nan", FRACTION: "some"}, "is not a number"),
    ],
)
def test_bad_environment(rutile: Atoms, environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        failure_of(environment, rutile)


def test_bad_mode_stops_the_program(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    done = run.program({FAILURE: "explode"})
    assert done.returncode == 1
    assert "VASP_STANDIN_FAILURE = explode is none of" in done.stdout


def test_no_failure_by_default(rutile: Atoms) -> None:
    assert failure_of({}, rutile) is None
    assert failure_of({FRACTION: "0.5"}, rutile) is None
