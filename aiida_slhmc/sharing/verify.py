"""Whether each label of a data set is what its calculation's stored outputs say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms

from aiida_slhmc.audit.contents import check_configuration
from aiida_slhmc.audit.functions import execute_again
from aiida_slhmc.audit.graph import name_of, outputs_of
from aiida_slhmc.audit.labels import VASPRUN
from aiida_slhmc.audit.links import BROKEN
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.sharing.data_set import DataSet
from aiida_slhmc.sharing.readers import check_reading, find_reader, job_of, reader_of
from aiida_slhmc.sharing.settings import differences, read_settings

__all__ = ("Verification", "verify")

# of a block's frames: eight decimals in Å, eV/Å and eV/Å³; energies have more
FRAME_TOLERANCE = 1e-7


@dataclass
class Verification:
    """What was found: labels that agree with their calculation, ``problems``, and how many could not be checked why."""

    n_labels: int = 0
    n_checked: int = 0
    problems: list[str] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether something could be checked against a calculation, and nothing was wrong."""
        return self.n_checked > 0 and not self.problems

    @property
    def is_complete(self) -> bool:
        """Whether every label could be checked against its calculation."""
        return self.n_checked == self.n_labels

    @property
    def verdict(self) -> str:
        """In words."""
        if self.problems:
            return f"{len(self.problems)} differences: do not use this data set"
        if self.n_checked == 0:
            return (
                "no label can be checked: its calculations are not here. Numbers, units and settings must be believed"
            )
        if not self.is_complete:
            return (
                f"{self.n_checked} of {self.n_labels} labels agree with their calculations;"
                f" {self.n_labels - self.n_checked} could not be checked and must be believed"
            )
        return f"all {self.n_labels} labels agree with their calculations"


def verify(data_set: DataSet, progress: Callable[[int, int], None] = lambda done, total: None) -> Verification:
    """Check every label: the block has its numbers, and reading its calculation's outputs again gives it.

    :param progress: called with the labels done and their total.
    """
    result = Verification(n_labels=len(data_set.labels))
    frames = data_set.block.get_frames()
    for done, (label, frame) in enumerate(zip(data_set.labels, frames, strict=True), start=1):
        try:
            found = [*_check_frame(label, frame), *(text for text in check_configuration(label) if text)]
            found += _check_calculation(label, data_set, result)
        # a damaged or altered archive may be anything but what the checks expect
        except BROKEN as error:
            found = [f"it is not whole, and cannot be checked ({type(error).__name__}: {error})".splitlines()[0]]
        result.problems += [f"{name_of(label)}: {text}" for text in found]
        progress(done, len(frames))
    return result


def _check_frame(label: ConfigurationData, frame: Atoms) -> list[str]:
    """Where the block's frame is not the configuration."""
    arrays = label.arrays()
    calculated = frame.calc.results if frame.calc is not None else {}
    pairs = {
        "numbers": frame.numbers,
        "positions": frame.positions,
        "cell": frame.cell.array,
        "energy": calculated.get("energy"),
        "forces": calculated.get("forces"),
        "stress": frame.get_stress(voigt=False) if "stress" in calculated else None,
    }
    wrong = [name for name, values in pairs.items() if not _is_close(arrays.get(name), values)]
    return [f"its {', '.join(wrong)} in the block are others"] if wrong else []


def _is_close(stored: Any, values: Any) -> bool:
    if stored is None or values is None:
        return stored is None and values is None
    return np.shape(stored) == np.shape(values) and bool(
        np.allclose(np.asarray(stored, float), np.asarray(values, float), rtol=0, atol=FRAME_TOLERANCE)
    )


def _check_calculation(label: ConfigurationData, data_set: DataSet, result: Verification) -> list[str]:
    """What is wrong between a label and its calculation; what cannot be checked goes into *result*."""
    reader, job = reader_of(label), job_of(label)
    if reader is None or job is None:
        why = (
            "frames from a file, without provenance" if data_set.block.is_without_provenance else "no calculation here"
        )
        result.unchecked[why] += 1
        return []
    found = [text for text in check_reading(reader, job) if text]
    different = differences(data_set.block.settings, read_settings(label))
    found += [f"its calculation had other settings than the data set says: {'; '.join(different)}"] if different else []
    try:
        function = find_reader(reader.process_type)
    except ImportError as error:
        result.unchecked[f"its package {error.name} is not installed"] += 1
        return found
    if function is None:
        result.unchecked[f"no installed package has the function {reader.process_type}"] += 1
        return found
    result.n_checked += 1
    found += execute_again(reader, function).comparison.differences
    if not _has_vasprun(job):
        result.unchecked[f"checked against parsed outputs, but the engine's own {VASPRUN} is not here"] += 1
    return found


def _has_vasprun(job: orm.CalcJobNode) -> bool:
    """Whether VASP's own file is there; True for other engines, whose files nothing here reads a second time."""
    if not str(job.process_type).endswith("vasp.vasp"):
        return True
    retrieved = outputs_of(job).get("retrieved")
    return retrieved is not None and VASPRUN in retrieved.base.repository.list_object_names()
