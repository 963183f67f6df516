"""The names that a study reads are those that the analyses give: no made-up dictionaries here."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal
from chains import ABOUT, stationary_chain

from aiida_slhmc.analysis.cell import cell_metrics
from aiida_slhmc.analysis.forward_errors import forward_error_curve
from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.run_summary import summarise_chains
from aiida_slhmc.analysis.structure import analyse_structure, compare_nearest
from aiida_slhmc.analysis.structure_parameters import StructureParameters
from aiida_slhmc.analysis.study.checks import checks
from aiida_slhmc.analysis.study.figures import FIGURES
from aiida_slhmc.analysis.study.samples import Sample, Study
from aiida_slhmc.analysis.study.tables import table_1_npt, table_1_nvt, table_a2

PARAMETERS = StructureParameters(
    centre="Ti",
    neighbour="O",
    coordination_cutoff=2.4,
    n_short=4,
    n_long=2,
    peak_windows={"Ti-Ti": [2.7, 4.0], "O-O": [2.3, 3.2], "Ti-O": [1.6, 2.2]},
    n_resamples=20,
    n_peak_resamples=10,
)
ROLES = (
    ("foundation_md", None, 0, 4.70),
    ("slhmc_chain", "pbe", None, 4.60),
    ("adapted_md", "pbe", 30, 4.65),
    ("adapted_md", "pbe", 60, 4.60),
    ("control_md", "pbe", 60, 4.68),
)


def frames(edge: float, seed: int) -> Frames:
    """Sixty frames of rutile whose atoms and cells move."""
    perfect = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[edge, edge, 3.0, 90, 90, 90]
    )
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(60):
        atoms = Atoms(perfect)
        atoms.set_cell(atoms.cell.array * (1 + 0.002 * generator.normal(size=(3, 1))), scale_atoms=True)
        atoms.positions += generator.normal(0, 0.03, (len(atoms), 3))
        found.append(atoms)
    positions, cells = (
        np.array([get(atoms) for atoms in found]) for get in (Atoms.get_positions, lambda a: a.cell.array)
    )
    return Frames(tuple(perfect.symbols), positions, cells)


@pytest.fixture(scope="module")
def study() -> Study:
    samples, kept = [], []
    for ensemble in ("nvt", "npt"):
        for seed, (role, functional, labels, edge) in enumerate(ROLES):
            about = {"functional": functional, "ensemble": ensemble, "role": role, "labels": labels}
            about["is_final"] = labels != 30
            kept.append(frames(edge, seed))
            metrics, curves = analyse_structure(kept[-1], PARAMETERS)
            more = {"sample": about, "temperature": 300.0, "pressure": None, "stand_in": False}
            samples.append(Sample(metrics=metrics | more, curves=curves))
    comparisons = []
    for first, one in zip(samples, kept, strict=True):
        for second, two in zip(samples, kept, strict=True):
            if second.role == "slhmc_chain" and first.ensemble == second.ensemble and first is not second:
                row = {"sample": first.about, "reference": second.about}
                comparisons.append(row | compare_nearest(one, two, PARAMETERS))
    chains = [(stationary_chain(seed), ABOUT | {"epoch": seed}) for seed in range(3)]
    names = {"functional": "pbe", "ensemble": "nvt"}
    return Study(
        samples=samples,
        comparisons=comparisons,
        forward=[names | {"updates": forward_error_curve(chains, n_resamples=20)}],
        histories=[names | summarise_chains(chains)],
    )


def test_tables_are_full(study) -> None:
    """Fails where an analysis calls a number otherwise: its column would be empty."""
    for row in table_1_nvt(study):
        for name in ("nearest_distance_angstrom", "first_peak_angstrom", "coordination"):
            assert isinstance(row[name], float)
            assert isinstance(row[f"{name}_se"], float)
    for row in table_1_npt(study):
        assert all(isinstance(row[f"{name}_angstrom"], float) for name in "abc")
        assert isinstance(row["volume_angstrom3_se"], float)
        assert all(isinstance(row[f"{name}_propagated_se"], float) for name in ("a", "b", "c", "volume"))
    assert all(
        isinstance(row[f"{name}_bonds_angstrom"], float)
        for row in table_a2(study)
        for name in ("short", "long", "mean")
    )
    assert len(table_a2(study)) == 4


def test_numbers_are_those_of_the_analysis(study) -> None:
    """The volume again, from the frames."""
    row = next(row for row in table_1_npt(study) if row["role"] == "adapted_md")
    volume = cell_metrics(frames(4.60, 3))["volume"]
    assert row["volume_angstrom3"] == pytest.approx(volume.value, rel=1e-12)


def test_checks_of_analyses(study) -> None:
    """Fails where a check does not find its samples. The volumes are those of the analyses."""
    rows = {(row["check"], row["ensemble"]): row for row in checks(study)}
    assert set(rows) == {
        ("closer_to_reference", "nvt"),
        ("same_volume", "npt"),
        ("control_distance", "nvt"),
        ("control_distance", "npt"),
        ("control_volume", "npt"),
    }
    npt = {(s.role, s.labels): s.metrics["cell"]["volume"] for s in study.samples if s.ensemble == "npt"}
    (adapted, error), (reference, other) = npt["adapted_md", 60], npt["slhmc_chain", None]
    same = rows["same_volume", "npt"]
    assert [same["value"], same["value_se"]] == pytest.approx([abs(adapted - reference), np.hypot(error, other)])
    assert rows["control_volume", "npt"]["verdict"] == "the control is measurably worse"


def test_figures_have_their_lines(study) -> None:
    """Figure A1 needs a second functional; each error of the forward predictions has its line."""
    assert {name for name, draw in FIGURES.items() if draw(study)} == set(FIGURES) - {"fig_a1"}
    for panel in FIGURES["fig_2"](study).axes:
        assert np.isfinite(panel.get_lines()[0].get_ydata()).all()
        assert panel.get_lines()[0].get_xdata().tolist() == [0, 400, 800]
