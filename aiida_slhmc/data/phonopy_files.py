"""Read the force constants of a supercell from phonopy's own files, in eV and Å.

``phonopy.load`` would do it in one call, but it also looks for FORCE_CONSTANTS and FORCE_SETS in the directory that the
process happens to run in, which may be another material's; here only files beside the given one are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

YAML_FILES = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")
CONSTANTS_FILES = ("FORCE_CONSTANTS", "force_constants.hdf5")
FORCES_FILE = "FORCE_SETS"


@dataclass
class PhonopyForceConstants:
    """What was read, and from which files."""

    numbers: NDArray[np.int64]  # (n,)
    positions: NDArray[np.float64]  # (n, 3), Å
    cell: NDArray[np.float64]  # (3, 3), rows are vectors, Å
    force_constants: NDArray[np.float64]  # (n, n, 3, 3), eV/Å²
    version: str  # of phonopy
    source: str
    n_displacements: int | None
    files: list[Path] = field(default_factory=list)


def read_phonopy(path: str | Path, *, symmetrize: bool = True) -> PhonopyForceConstants:
    """Return the force constants of the full supercell.

    :param path: a folder, or one of phonopy's YAML files in it, see :data:`YAML_FILES`
    :param symmetrize: apply the index symmetry and the acoustic sum rule
    :raises ValueError: no such file, or phonopy finds no force constants or inconsistent ones
    :raises ImportError: if phonopy is not installed
    """
    try:
        import phonopy
    except ImportError as exception:
        message = "reading phonopy's files needs phonopy: pip install 'aiida-slhmc[phonons]'"
        raise ImportError(message) from exception
    yaml = _yaml_file(Path(path))
    _refuse_code(yaml)
    try:
        calculation, source, files = _load(yaml)
        if symmetrize:
            calculation.symmetrize_force_constants(show_drift=False)
    except Exception as exception:  # phonopy raises many kinds on malformed or inconsistent files
        raise ValueError(f"phonopy cannot make force constants of {yaml}: {exception}") from exception
    units = _Units(calculation.calculator)
    supercell, dataset = calculation.supercell, calculation.dataset
    return PhonopyForceConstants(
        numbers=np.asarray(supercell.numbers, dtype=np.int64),
        positions=np.asarray(supercell.positions) * units.length,
        cell=np.asarray(supercell.cell) * units.length,
        force_constants=np.asarray(calculation.force_constants) * units.force_constants,
        version=str(phonopy.__version__),
        source=source,
        n_displacements=None if dataset is None else _n_displacements(dataset),
        files=files,
    )


class _Units:
    """Factors from the units of a calculator, as phonopy has them, to Å and eV/Å²."""

    def __init__(self, calculator: str | None) -> None:
        from phonopy.interface.calculator import get_calculator_physical_units, get_force_constant_conversion_factor

        units = get_calculator_physical_units(calculator)
        # a dictionary before phonopy 3
        self.length = float(units["distance_to_A"] if isinstance(units, dict) else units.distance_to_A)
        self.force_constants = 1 / float(get_force_constant_conversion_factor("eV/angstrom^2", calculator))


def _yaml_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in YAML_FILES if (path / name).is_file()]
    if not found:
        raise ValueError(f"no phonopy calculation at {path}: expected one of {', '.join(YAML_FILES)}")
    return found[0]


def _refuse_code(path: Path) -> None:
    """Let nothing but plain YAML through: phonopy's loader makes any Python object, and runs what that calls."""
    import yaml

    try:
        with path.open(encoding="utf-8") as handle:
            yaml.load(handle, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as exception:
        raise ValueError(f"{path} is not plain YAML, and is not handed to phonopy: {exception}") from exception


def _load(yaml: Path) -> tuple[Any, str, list[Path]]:
    """Return phonopy's object with full force constants, what they were made from, and the files that were read."""
    from phonopy import Phonopy
    from phonopy.interface.phonopy_yaml import PhonopyYaml

    content = PhonopyYaml()
    content.read(yaml)
    if content.unitcell is None:
        raise ValueError("it has no unit cell")
    calculation = Phonopy(
        content.unitcell,
        np.eye(3, dtype=int) if content.supercell_matrix is None else content.supercell_matrix,
        primitive_matrix="auto" if content.primitive_matrix is None else content.primitive_matrix,
        calculator=content.calculator,
    )
    if content.dataset is not None:
        calculation.dataset = content.dataset
    constants_file = next((yaml.with_name(name) for name in CONSTANTS_FILES if yaml.with_name(name).is_file()), None)
    if content.force_constants is not None:
        _set_constants(calculation, content.force_constants)
        return calculation, yaml.name, [yaml]
    if constants_file is not None:
        _set_constants(calculation, _read_constants(calculation, constants_file))
        return calculation, constants_file.name, [yaml, constants_file]
    return _from_forces(calculation, yaml)


def _read_constants(calculation: Any, path: Path) -> NDArray[np.float64]:
    """Read force constants, full or compact, in the units of the calculator."""
    from phonopy.cui.load_helper import read_force_constants_from_hdf5
    from phonopy.file_IO import parse_FORCE_CONSTANTS

    rows = calculation.primitive.p2s_map  # the atoms whose rows a compact file has
    if path.suffix == ".hdf5":
        return read_force_constants_from_hdf5(path, p2s_map=rows, calculator=calculation.calculator)
    return parse_FORCE_CONSTANTS(path, p2s_map=rows)


def _set_constants(calculation: Any, constants: NDArray[np.float64]) -> None:
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    n_atoms, n_primitive = len(calculation.supercell), len(calculation.primitive)
    if constants.shape not in ((n_atoms, n_atoms, 3, 3), (n_primitive, n_atoms, 3, 3)):
        raise ValueError(f"force constants of shape {constants.shape} for a supercell of {n_atoms} atoms")
    is_full = constants.shape[0] == n_atoms
    calculation.force_constants = constants if is_full else compact_fc_to_full_fc(calculation.primitive, constants)


def _from_forces(calculation: Any, yaml: Path) -> tuple[Any, str, list[Path]]:
    """Make the force constants from forces in the displaced supercells."""
    from phonopy.file_IO import parse_FORCE_SETS

    source, files = yaml.name, [yaml]
    if calculation.dataset is None or not _has_forces(calculation.dataset):
        forces = yaml.with_name(FORCES_FILE)
        if not forces.is_file():
            raise ValueError(
                f"neither force constants nor forces in it, and none of {', '.join((*CONSTANTS_FILES, FORCES_FILE))}"
                " beside it"
            )
        calculation.dataset = parse_FORCE_SETS(natom=len(calculation.supercell), filename=forces)
        source, files = forces.name, [yaml, forces]
    # displacements of all atoms at once need a fit
    method = "symfc" if "displacements" in calculation.dataset else None
    calculation.produce_force_constants(
        calculate_full_force_constants=True, fc_calculator=method, show_drift=False, fc_calculator_log_level=0
    )
    return calculation, source, files


def _has_forces(dataset: dict[str, Any]) -> bool:
    if "displacements" in dataset:
        return "forces" in dataset
    return bool(dataset.get("first_atoms")) and all("forces" in entry for entry in dataset["first_atoms"])


def _n_displacements(dataset: dict[str, Any]) -> int:
    return len(dataset["displacements"] if "displacements" in dataset else dataset["first_atoms"])
