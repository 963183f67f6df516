"""The worker that labels with an ASE calculator: its numbers, and a name for each way to fail."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    InputError,
    PropertyNotImplementedError,
    SCFError,
)
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from worker_examples import rutile_frames

from aiida_slhmc.worker import label
from aiida_slhmc.worker.checkpoint import save_checkpoint
from aiida_slhmc.worker.job import PARAMETERS_FILE, RESULT_FILE, JobError, run_worker
from aiida_slhmc.worker.label import CONFIGURATION_FILE, LABEL_FILE, evaluate, make_calculator, package_version


def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.positions += np.random.default_rng(1).normal(0, 0.1, (4, 3))
    return atoms


class Fake(Calculator):
    """Gives what it is told, or raises it."""

    implemented_properties = ["energy", "forces", "stress"]
    default_parameters = {"energy": 1.0, "free_energy": None, "forces": 0.0, "error": None}

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if self.parameters["error"] is not None:
            raise self.parameters["error"]
        self.results = {"energy": self.parameters["energy"], "stress": np.arange(6.0)}
        self.results["forces"] = np.full((len(self.atoms), 3), self.parameters["forces"])
        if self.parameters["free_energy"] is not None:
            self.results["free_energy"] = self.parameters["free_energy"]


class TestEvaluate:
    def test_exactly_what_the_calculator_gives(self):
        """Fails where a number is rounded, or the stress is not ASE's 3 x 3 tensor."""
        atoms = copper()
        arrays, kind = evaluate(EMT(), atoms)
        atoms.calc = EMT()
        assert kind == "free_energy"
        assert arrays["energy"] == atoms.get_potential_energy()
        np.testing.assert_array_equal(arrays["forces"], atoms.get_forces())
        np.testing.assert_array_equal(arrays["stress"], atoms.get_stress(voigt=False))
        assert all(value.dtype == np.float64 for value in arrays.values())

    @pytest.mark.parametrize(("free", "expected"), [(3.0, (3.0, "free_energy")), (None, (1.0, "energy"))])
    def test_free_energy_where_there_is_one(self, free, expected):
        """Fails where an energy that forces do not derive from is taken, as of calculators that do not announce it."""
        arrays, kind = evaluate(Fake(free_energy=free), copper())
        assert (arrays["energy"], kind) == expected

    def test_stress_is_positive_under_tension(self):
        """Fails where the sign is that of a pressure; the derivative of the energy is the reference."""
        atoms = copper()
        atoms.set_cell(1.03 * atoms.cell.array, scale_atoms=True)

        def energy(strain):
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            return evaluate(EMT(), strained)[0]["energy"]

        step = 1e-4 * np.diag([1.0, 0.0, 0.0])
        derivative = (energy(step) - energy(-step)) / 2e-4 / atoms.get_volume()
        stress = evaluate(EMT(), atoms)[0]["stress"][0, 0]
        assert stress > 0.01
        assert stress == pytest.approx(derivative, rel=1e-4)

    @pytest.mark.parametrize(
        ("error", "status", "message"),
        [
            (PropertyNotImplementedError("stress"), "property_missing", "Fake does not give all .*stress"),
            (NotImplementedError("no Fr"), "calculator_failed", "NotImplementedError: no Fr"),
            (InputError("no such basis"), "wrong_arguments", "InputError: no such basis"),
            (SCFError("gave up"), "not_converged", "SCFError: gave up"),
            (CalculationFailed("SCF not converged in 3 cycles"), "not_converged", "3 cycles"),
            (CalculationFailed("exit 1"), "calculator_failed", "CalculationFailed: exit 1"),
            (RuntimeError("two\n lines"), "calculator_failed", "RuntimeError: two lines"),
            (KeyError("guess"), "calculator_failed", "KeyError: 'guess'"),
        ],
    )
    def test_what_a_calculator_raises_has_a_name(self, error, status, message, capsys):
        """Fails where an error of the calculator ends in a traceback only, or under the name of another."""
        with pytest.raises(JobError, match=message) as caught:
            evaluate(Fake(error=error), copper())
        assert caught.value.status == status

    def test_out_of_memory_is_left_to_the_worker(self):
        with pytest.raises(MemoryError):
            evaluate(Fake(error=MemoryError()), copper())

    @pytest.mark.parametrize("name", ["energy", "forces"])
    def test_not_finite(self, name):
        with pytest.raises(JobError, match=f"^{name} of Fake") as caught:
            evaluate(Fake(**{name: np.nan}), copper())
        assert caught.value.status == "not_finite"


class TestMakeCalculator:
    def test_a_class_and_a_function(self):
        made = make_calculator("ase.calculators.lj.LennardJones", {"rc": 5.0})
        assert isinstance(made, LennardJones)
        assert made.parameters["rc"] == 5.0
        assert isinstance(make_calculator(f"{__name__}.emt", {}), EMT)

    @pytest.mark.parametrize(
        ("path", "arguments", "status", "message"),
        [
            ("no_such.ase.Thing", {}, "calculator_unavailable", "no_such.ase cannot be imported .*install .*`code`"),
            ("ase.calculators.lj.Jones", {}, "calculator_unavailable", "has no class or function 'Jones'"),
            ("ase.calculators.lj.np", {}, "calculator_unavailable", "has no class or function 'np'"),
            (f"{__name__}.Plain", {}, "calculator_unavailable", "gives no ASE calculator but Plain"),
            ("ase.calculators.emt.EMT", {"fast": 1, "atoms": None}, "wrong_arguments", "would ignore fast; it knows"),
            ("ase.calculators.lj.LennardJones", {"sgima": 3.0}, "wrong_arguments", "ignore sgima; .*sigma"),
            (f"{__name__}.emt", {"fast": 1}, "wrong_arguments", "unexpected keyword argument 'fast'"),
        ],
    )
    def test_refused(self, path, arguments, status, message, capsys):
        """Fails where a mistake has another's name, or where ASE's base class swallows a misspelt argument."""
        with pytest.raises(JobError, match=message) as caught:
            make_calculator(path, arguments)
        assert caught.value.status == status


class Plain:
    """No calculator."""


def emt():
    return EMT()


class TestMaceCheckpoint:
    def test_gives_the_models_own_numbers(self, teacher, tmp_path):
        """Fails where one model as the target of another is not that model."""
        from aiida_slhmc.worker.checkpoint import load_checkpoint
        from aiida_slhmc.worker.potential import MacePotential

        save_checkpoint(teacher, tmp_path / "model.safetensors")
        atoms = rutile_frames(1)[0]
        path = "aiida_slhmc.worker.mace_calculator.MaceCheckpoint"
        arrays, kind = evaluate(make_calculator(path, {"checkpoint": str(tmp_path / "model.safetensors")}), atoms)
        potential = MacePotential(load_checkpoint(tmp_path / "model.safetensors"), atoms.numbers, compute_stress=True)
        positions, cells = atoms.positions[None], atoms.cell.array[None]
        potential.warm_up(positions, cells)
        expected = potential(positions, cells)
        assert kind == "free_energy"
        assert arrays["energy"] == pytest.approx(expected.energies[0], abs=1e-12)
        np.testing.assert_allclose(arrays["forces"], expected.forces[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(arrays["stress"], expected.stresses[0], rtol=0, atol=1e-12)
        assert np.abs(arrays["stress"]).max() > 1e-4


class TestJob:
    @pytest.fixture
    def job(self, tmp_path, monkeypatch):
        """Function that runs the worker in a folder and returns its result."""
        monkeypatch.chdir(tmp_path)

        def run(calculator, arguments=None, atoms: Atoms | None = None):
            parameters = {"calculator": calculator, "arguments": arguments or {}, "walltime_seconds": None}
            (tmp_path / PARAMETERS_FILE).write_text(json.dumps(parameters))
            atoms = atoms or copper()
            arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
            np.savez(tmp_path / CONFIGURATION_FILE, **arrays)
            run_worker(label._run)
            return json.loads((tmp_path / RESULT_FILE).read_text())

        return run

    def test_label_and_its_configuration(self, job, tmp_path):
        """Fails where the file holds another configuration than the label's, or digits are lost on the way."""
        result = job("ase.calculators.emt.EMT")
        assert (result["status"], result["energy_kind"]) == ("finished", "free_energy")
        assert set(result["versions"]) == {"ase"}
        atoms = copper()
        with np.load(tmp_path / LABEL_FILE) as archive:
            np.testing.assert_array_equal(archive["positions"], atoms.positions)
            np.testing.assert_array_equal(archive["numbers"], atoms.numbers)
            atoms.calc = EMT()
            np.testing.assert_array_equal(archive["forces"], atoms.get_forces())

    def test_failure_leaves_no_label(self, job, tmp_path):
        result = job("ase.calculators.emt.EMT", atoms=Atoms("Fr", cell=[5, 5, 5], pbc=True))
        assert result["status"] == "calculator_failed"
        assert "EMT-potential" in result["message"]
        assert not (tmp_path / LABEL_FILE).exists()


def test_versions():
    """Fails where a package without __version__, such as tblite, goes unrecorded though its metadata has one."""
    import importlib.metadata

    import ase

    assert package_version("ase.calculators.lj.LennardJones") == ("ase", ase.__version__)
    # the package has another name than its distribution
    assert package_version("mpl_toolkits.mplot3d.Axes3D")[1] == importlib.metadata.version("matplotlib")
    assert package_version("my_own_file.Thing") == ("my_own_file", None)
    pytest.importorskip("tblite", reason="tblite is not installed")
    assert package_version("tblite.ase.TBLite") == ("tblite", importlib.metadata.version("tblite"))


class TestTightBinding:
    def test_forces_are_the_derivative_of_the_energy(self):
        """GFN1 with the target's own settings, to 1e-5 eV/Å. Fails with tblite's default accuracy of 1.0 (5e-5)."""
        from importlib.resources import files

        import yaml

        pytest.importorskip("tblite", reason="tblite is not installed")
        preset = yaml.safe_load((files("aiida_slhmc.targets") / "ase.yaml").read_text())["functionals"]["gfn1"]
        atoms = rutile_frames(1)[0]

        def energy(atom, axis, step):
            moved = atoms.copy()
            moved.positions[atom, axis] += step
            return _label(preset, moved)["energy"]

        forces = _label(preset, atoms)["forces"]
        for atom, axis in ((0, 0), (3, 1)):
            numeric = -(energy(atom, axis, 1e-3) - energy(atom, axis, -1e-3)) / 2e-3
            assert forces[atom, axis] == pytest.approx(numeric, abs=1e-5)
        assert np.abs(forces).max() > 0.1

    def test_too_few_iterations(self, capsys):
        pytest.importorskip("tblite", reason="tblite is not installed")
        with pytest.raises(JobError, match="not converged in 3 cycles") as caught:
            evaluate(make_calculator("tblite.ase.TBLite", {"max_iterations": 3, "verbosity": 0}), rutile_frames(1)[0])
        assert caught.value.status == "not_converged"

    def test_a_misspelt_argument(self):
        """Negative control with the calculator itself: it would take the default method and say nothing."""
        tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed")
        assert tblite.TBLite(methd="GFN1-xTB").parameters["method"] == "GFN2-xTB"
        with pytest.raises(JobError, match=r"would ignore methd; .*method"):
            make_calculator("tblite.ase.TBLite", {"methd": "GFN1-xTB"})


def _label(preset, atoms):
    calculator = make_calculator(preset["calculator"], preset["settings"] | preset["method"])
    return evaluate(calculator, atoms)[0]
