"""Whether a label is what its calculation said: the links that no calculation function covers, and VASP's own file."""

from __future__ import annotations

from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from aiida import orm
from numpy.typing import NDArray

from aiida_slhmc.audit.archive import READ_ERRORS
from aiida_slhmc.audit.functions import function_name
from aiida_slhmc.audit.graph import Problems, creator_of, inputs_of, is_same, name_of, outputs_of
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.targets.site_order import original_order, site_order

__all__ = ("READERS", "check_label")

VASPRUN = "vasprun.xml"
# eV and eV/Å: VASP writes eight decimals of energies and forces, some versions fewer of the latter
ENERGY_TOLERANCE, FORCE_TOLERANCE = 1e-6, 1e-5


class Reader(NamedTuple):
    """A function that reads labels: which of its inputs are the calculation's outputs, and which are its inputs."""

    outputs: tuple[str, ...]
    inputs: dict[str, str]


READERS = {
    "read_ase_label": Reader(("output",), {"structure": "structure", "calculator": "calculator"}),
    "read_cp2k_label": Reader(("retrieved",), {"calculated": "structure", "parameters": "parameters"}),
    "read_quantum_espresso_label": Reader(
        ("output_parameters", "output_trajectory"), {"calculated": "structure", "parameters": "parameters"}
    ),
    "read_vasp_label": Reader(("misc",), {"calculated": "structure", "used": "parameters"}),
}


def check_label(node: orm.CalcFunctionNode) -> Problems:
    """The label that *node*, a call of one of READERS, has read.

    Its numbers come from one calculation, which ended well, and that calculation had the structure and the settings
    that the label is said to be of. With VASP the label has the energy of ``misc``, and energy and forces are those of
    the vasprun.xml that VASP wrote, if that was kept.
    """
    name = function_name(node)
    reader, inputs = READERS[name], inputs_of(node)
    jobs = {output: creator_of(inputs.get(output)) for output in reader.outputs}
    job = jobs[reader.outputs[0]]
    for output, made_by in jobs.items():
        yield None if is_same(made_by, job) else f"its {output} is not an output of the calculation that gave the label"
    if not isinstance(job, orm.CalcJobNode):
        return
    yield None if job.is_finished_ok else f"{name_of(job)} did not end well, and gave a label"
    given = inputs_of(job)
    for own, port in reader.inputs.items():
        is_given = is_same(inputs.get(own), given.get(port))
        yield None if is_given else f"its {own} is not the {port} that {name_of(job)} had"
    label = outputs_of(node).get("result")
    if name == "read_vasp_label" and isinstance(label, ConfigurationData):
        yield from _check_vasp(label, inputs, job)


def _check_vasp(label: ConfigurationData, inputs: dict[str, Any], job: orm.CalcJobNode) -> Problems:
    energy = inputs["misc"].get_dict()["total_energies"]["energy_free"]
    arrays = label.arrays()
    is_equal = abs(float(arrays["energy"]) - energy) < ENERGY_TOLERANCE
    yield None if is_equal else f"the label has {arrays['energy']} eV, the calculation's misc {energy} eV"
    retrieved = outputs_of(job).get("retrieved")
    if retrieved is None or VASPRUN not in retrieved.base.repository.list_object_names():
        return
    try:
        free_energy, forces = _read_vasprun(retrieved)
    except (ElementTree.ParseError, *READ_ERRORS) as error:
        yield f"{VASPRUN} of {name_of(job)} cannot be read: {error}"
        return
    is_equal = abs(float(arrays["energy"]) - free_energy) < ENERGY_TOLERANCE
    yield None if is_equal else f"the label has {arrays['energy']} eV, {VASPRUN} of {name_of(job)} {free_energy} eV"
    if forces.shape != arrays["forces"].shape:
        yield f"{VASPRUN} of {name_of(job)} has forces of shape {forces.shape}"
        return
    difference = float(np.abs(original_order(forces, site_order(inputs["structure"])) - arrays["forces"]).max())
    is_equal = difference < FORCE_TOLERANCE
    yield None if is_equal else f"forces differ by {difference:.3g} eV/Å from {VASPRUN} of {name_of(job)}"


def _read_vasprun(retrieved: orm.Data) -> tuple[float, NDArray[np.float64]]:
    """Free energy (eV) and forces (eV/Å, VASP's order of sites) of the last ionic step.

    :raises ValueError: if they are not there.
    """
    energy, forces = None, None
    with retrieved.base.repository.open(VASPRUN, "rb") as handle:
        for _, element in ElementTree.iterparse(handle):
            if element.tag == "i" and element.get("name") == "e_fr_energy":
                energy = float(element.text or "nan")
            elif element.tag == "varray" and element.get("name") == "forces":
                forces = np.array([[float(number) for number in (row.text or "").split()] for row in element])
    if energy is None or forces is None:
        raise ValueError("no free energy or no forces in it")
    return energy, forces
