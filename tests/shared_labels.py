"""Runs of VASP labels made by hand, with all that must not be passed on where AiiDA and aiida-vasp put it."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida_vasp.data.potcar import PotcarData
from ase.units import GPa
from fixtures import FAMILY, label_of, rutile_atoms

from aiida_slhmc.audit.functions import find_function
from aiida_slhmc.standin import STANDIN_VERSION

READER = "aiida_slhmc.targets.vasp_label.read_vasp_label"
HOST = "login7.hidden-cluster.org"
WORKDIR = "/scratch/project99/jdoe42/runs"
ACCOUNT = "jdoe42"
EXECUTABLE = "/appl/soft/jdoe42-builds/vasp/bin/vasp_std"
NODE = "hidden-node-0117"
NOTES = f"{NODE}\n".encode()
SECRETS = (HOST, "jdoe42", NODE, "jane.doe@hidden-institute.org", "Jane Doe", "Hidden Institute")
INCAR = {"encut": 520, "prec": "Accurate", "ediff": 1e-6, "ismear": 0, "sigma": 0.05, "gga": "PE", "isym": 0}


def hidden_computer() -> orm.Computer:
    """A cluster, and the user who has an account there."""
    is_new, made = orm.Computer.collection.get_or_create(
        label="hidden", hostname=HOST, transport_type="core.ssh", scheduler_type="core.slurm", workdir=WORKDIR
    )
    if is_new:
        made.description = f"the cluster of {ACCOUNT}"
        made.set_prepend_text(f"source {WORKDIR}/env.sh")
        made.store()
        _, user = orm.User.collection.get_or_create(email=SECRETS[3])
        user.first_name, user.last_name, user.institution = "Jane", "Doe", "Hidden Institute"
        user.store()
        made.configure(user=user, username=ACCOUNT, key_filename=f"/home/{ACCOUNT}/.ssh/id")
    return made


def vasp_run(
    seeds: Sequence[int],
    *,
    variant: str = "pbe",
    incar: dict[str, Any] | None = None,
    energy_error: float = 0.0,
    script: str = "vasp_output",
    vasprun: bool = True,
    options: dict[str, Any] | None = None,
    notes: bytes = NOTES,
    has_ended: bool = True,
) -> orm.WorkChainNode:
    """A finished work chain that called a VASP job and read its label for each of *seeds*.

    :param incar: tags in place of those of INCAR.
    :param energy_error: of the labels, in eV: not what the outputs say.
    :param script: content of the file ``vasp_output`` of each job.
    :param vasprun: whether vasprun.xml was retrieved.
    :param options: an input of the work chain.
    :param notes: content of the file ``notes/hosts.txt`` in each job's own repository.
    :param has_ended: or it was killed and nothing recorded it.
    """
    run = orm.WorkChainNode(process_type="aiida.workflows:slhmc.epoch")
    run.base.attributes.set("process_label", "EpochWorkChain")
    parameters = orm.Dict(INCAR | (incar or {})).store()
    run.base.links.add_incoming(parameters, link_type=LinkType.INPUT_WORK, link_label="parameters")
    if options is not None:
        given = orm.Dict(options).store()
        run.base.links.add_incoming(given, link_type=LinkType.INPUT_WORK, link_label="options")
    run.store()
    shared = _shared_inputs(parameters)
    for seed in seeds:
        structure = orm.StructureData(ase=rutile_atoms(seed=seed)).store()
        job, misc = _job(run, seed, structure, shared, variant, script=script, vasprun=vasprun, notes=notes)
        _read(run, seed, job, misc, energy_error)
    return _finished(run) if has_ended else run


def _shared_inputs(parameters: orm.Dict) -> dict[str, orm.Data]:
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([2, 2, 3])
    code = orm.InstalledCode(label="vasp", computer=hidden_computer(), filepath_executable=EXECUTABLE)
    potcars = PotcarData.get_potcars_from_structure(
        orm.StructureData(ase=rutile_atoms()), FAMILY, mapping={"Ti": "Ti_pv", "O": "O"}
    )
    inputs = {"parameters": parameters, "kpoints": kpoints.store(), "code": code.store()}
    return inputs | {f"potential__{name}": node for name, node in potcars.items()}


def _job(
    run: orm.WorkChainNode,
    seed: int,
    structure: orm.StructureData,
    shared: dict[str, orm.Data],
    variant: str,
    *,
    script: str,
    vasprun: bool,
    notes: bytes,
) -> tuple[orm.CalcJobNode, orm.Dict]:
    """A VASP job and its ``misc``."""
    job = orm.CalcJobNode(computer=hidden_computer(), process_type="aiida.calculations:vasp.vasp")
    job.base.attributes.set("process_label", "VaspCalculation")
    job.set_option("resources", {"num_machines": 1, "num_mpiprocs_per_machine": 1})
    job.set_option("account", ACCOUNT)
    job.set_option("prepend_text", f"module use /home/{ACCOUNT}/modules")
    for name, node in (shared | {"structure": structure}).items():
        job.base.links.add_incoming(node, link_type=LinkType.INPUT_CALC, link_label=name)
    job.base.links.add_incoming(run, link_type=LinkType.CALL_CALC, link_label=f"job_{seed}")
    job.base.repository.put_object_from_bytes(b"ENCUT = 520\n", "INCAR")
    job.base.repository.put_object_from_bytes(f"cd {WORKDIR}\n".encode(), "_aiidasubmit.sh")
    job.base.repository.put_object_from_bytes(json.dumps({"folder": WORKDIR}).encode(), ".aiida/calcinfo.json")
    job.base.repository.put_object_from_bytes(notes, "notes/hosts.txt")
    job.store()
    job.set_remote_workdir(f"{WORKDIR}/0a/1b/2c-{seed}")
    job.base.attributes.set("last_job_info", json.dumps({"job_owner": ACCOUNT, "allocated_machines": [{"name": NODE}]}))
    job.base.attributes.set("detailed_job_info", {"stdout": f"{NODE}|{ACCOUNT}"})
    outputs = _outputs(seed, structure, variant, script=script, vasprun=vasprun)
    for name, node in outputs.items():
        node.base.links.add_incoming(job, link_type=LinkType.CREATE, link_label=name)
        node.store()
    return _finished(job), outputs["misc"]


def _outputs(seed: int, structure: orm.StructureData, variant: str, *, script: str, vasprun: bool) -> dict[str, Any]:
    label = label_of(structure.get_ase(), variant)
    misc = {
        "version": f"6.4.2 {STANDIN_VERSION}",
        "run_status": {"finished": True, "electronic_converged": True, "nelm": 60, "last_iteration_index": [1, 12]},
        "total_energies": {"energy_free": label["energy"]},
        "forces": label["forces"].tolist(),
        "stress": (-label["stress"] / (0.1 * GPa)).tolist(),
    }
    retrieved = orm.FolderData()
    retrieved.base.repository.put_object_from_bytes(script.encode(), "vasp_output")
    if vasprun:
        retrieved.base.repository.put_object_from_bytes(_vasprun(label).encode(), "vasprun.xml")
    remote = orm.RemoteData(computer=hidden_computer(), remote_path=f"{WORKDIR}/0a/1b/2c-{seed}")
    return {"misc": orm.Dict(misc), "retrieved": retrieved, "remote_folder": remote}


def _vasprun(label: dict[str, Any]) -> str:
    rows = "".join(f"<v>{' '.join(f'{x:.8f}' for x in row)}</v>" for row in label["forces"])
    energy = f'<energy><i name="e_fr_energy">{label["energy"]:.8f}</i></energy>'
    return f'<modeling><calculation><varray name="forces">{rows}</varray>{energy}</calculation></modeling>'


def _read(run: orm.WorkChainNode, seed: int, job: orm.CalcJobNode, misc: orm.Dict, energy_error: float) -> None:
    """The call that reads the label; with an *energy_error* the stored label is another than what it returns."""
    inputs = {
        "structure": job.inputs.structure,
        "calculated": job.inputs.structure,
        "asked": job.inputs.parameters,
        "used": job.inputs.parameters,
        "recovery": orm.Dict({}).store(),
        "misc": misc,
    }
    node = orm.CalcFunctionNode(process_type=READER)
    node.base.attributes.set("process_label", "read_vasp_label")
    for name, data in inputs.items():
        node.base.links.add_incoming(data, link_type=LinkType.INPUT_CALC, link_label=name)
    node.base.links.add_incoming(run, link_type=LinkType.CALL_CALC, link_label=f"read_{seed}")
    node.store()
    function = find_function(READER)
    assert function is not None
    label = function(**inputs)
    if energy_error:
        label = _wrong(label, energy_error)
    label.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label="result")
    label.store()
    _finished(node)


def _wrong(label: Any, energy_error: float) -> Any:
    arrays = label.arrays()
    arrays["energy"] = arrays["energy"] + energy_error
    handle = io.BytesIO()
    np.savez(handle, **arrays)
    label.base.repository.put_object_from_bytes(handle.getvalue(), label.FILENAME)
    label.base.attributes.set("energy", float(arrays["energy"]))
    return label


def _finished(node: Any) -> Any:
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(0)
    node.seal()
    return node


def words_in(archive: Path, folder: Path, words: Sequence[str]) -> list[str]:
    """Which of *words* are in an archive: its files, its database's bytes and rows; not by the package's own search."""
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    texts = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    with sqlite3.connect(folder / "db.sqlite3") as database:
        texts.append("\n".join(database.iterdump()).encode())
    return [word for word in words if any(word.encode() in text for text in texts)]
