"""A run with a target of somebody's own, the one of docs/how-to/new_target.md, is shared and checked like any other."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState, workfunction
from altered_archive import Tampered
from ase.units import GPa
from fixtures import label_of, rutile_atoms
from shared_labels import hidden_computer

from aiida_slhmc.audit.archive import open_archive
from aiida_slhmc.sharing.archive import export_archive
from aiida_slhmc.sharing.collect import create_data_set, labels_of
from aiida_slhmc.sharing.data_set import PREFIX, DataSet
from aiida_slhmc.sharing.private import private_words
from aiida_slhmc.sharing.readers import find_reader, job_of
from aiida_slhmc.sharing.verify import Verification, verify

pytestmark = pytest.mark.usefixtures("aiida_profile")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "new_target.md"
SOURCE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
NAME = "shared_target"


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> ModuleType:
    """The page's example in a package that is installed as far as Python can tell, with its entry point."""
    folder = tmp_path_factory.mktemp("package")
    (folder / f"{NAME}.py").write_text(SOURCE)
    info = folder / f"{NAME}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[aiida_slhmc.targets]\nmy_target = {NAME}:MyTarget\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import shared_target

        yield shared_target
    del sys.modules[NAME]


def pw_outputs(seed: int) -> dict[str, Any]:
    """A job of pw.x made by hand: its structure, and its outputs as the example's function takes them."""
    structure = orm.StructureData(ase=rutile_atoms(seed=seed)).store()
    job = orm.CalcJobNode(computer=hidden_computer(), process_type="aiida.calculations:quantumespresso.pw")
    job.set_option("resources", {"num_machines": 1})
    parameters = orm.Dict({"SYSTEM": {"ecutwfc": 30}, "ELECTRONS": {"mixing_beta": 0.1 * seed}}).store()
    for name, node in {"structure": structure, "parameters": parameters}.items():
        job.base.links.add_incoming(node, link_type=LinkType.INPUT_CALC, link_label=name)
    job.store()
    label, arrays = label_of(structure.get_ase()), orm.ArrayData()
    for name, values in {
        "energy": label["energy"],
        "forces": label["forces"],
        "stress": label["stress"] / -GPa,
    }.items():
        arrays.set_array(name, np.array([values]))
    output = orm.Dict({"convergence_info": {"scf_conv": {"convergence_achieved": True}}})
    for name, node in {"output_trajectory": arrays, "output_parameters": output}.items():
        node.base.links.add_incoming(job, link_type=LinkType.CREATE, link_label=name)
        node.store()
    job.set_process_state(ProcessState.FINISHED)
    job.set_exit_status(0)
    job.seal()
    return {"structure": structure, "arrays": arrays, "output": output}


@pytest.fixture(scope="module")
def run(aiida_profile, package) -> orm.WorkFunctionNode:
    """A run with two labels that the example's function has read."""

    @workfunction
    def label_two(**nodes: orm.Data) -> Any:
        for seed in ("1", "2"):
            own = {name.removesuffix(seed): node for name, node in nodes.items() if name.endswith(seed)}
            label = package.read_my_label(**own, functional=orm.Str("pbe"), recovery=orm.Dict({}))
        return label

    nodes = {f"{name}{seed}": node for seed in (1, 2) for name, node in pw_outputs(seed).items()}
    return label_two.run_get_node(**nodes)[1]


def verified(path: Path) -> Verification:
    """What the check of the archive's one data set says."""
    with open_archive(path) as storage:
        query = orm.QueryBuilder(backend=storage).append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}})
        return verify(DataSet(query.one()[0]))


def test_labels_are_those_of_the_target(run) -> None:
    """Fails where only labels of this package's own targets are taken for labels."""
    data_set = create_data_set("own-target", [run])
    assert [label.uuid for label in data_set.labels] == [label.uuid for label in labels_of(run)]
    assert len(data_set.labels) == 2
    assert not data_set.block.is_without_provenance
    # how the self-consistency converged moves no energy
    assert data_set.block.settings == {"parameters": {"SYSTEM": {"ecutwfc": 30}, "ELECTRONS": {}}}
    assert all(job_of(label) is not None for label in data_set.labels)


def test_they_are_checked_with_the_installed_target(run, tmp_path) -> None:
    """Fails where the colleague who has the target's package, too, cannot check the labels of its archive."""
    data_set = create_data_set("own-target-shared", [run])
    path = tmp_path / "own.aiida"
    export_archive(data_set, path, private_words())
    result = verified(path)
    assert result.problems == []
    assert result.n_checked == 2
    assert result.is_complete


def test_another_energy_is_found(run, tmp_path) -> None:
    """Fails where a label of an own target passes whatever its calculation says."""
    data_set = create_data_set("own-target-wrong", [run])
    path = tmp_path / "own.aiida"
    export_archive(data_set, path, private_words())
    archive, content = Tampered(path, tmp_path), io.BytesIO()
    np.save(content, np.array([-1.0]))
    archive.file(job_of(data_set.labels[0]).outputs.output_trajectory.uuid, "energy.npy", content.getvalue())
    result = verified(archive.write())
    assert {problem.partition(":")[0] for problem in result.problems} == {
        f"ConfigurationData {data_set.labels[0].uuid}"
    }
    assert any("energy" in problem for problem in result.problems)


def test_only_registered_modules_are_imported(package) -> None:
    """Fails where an archive can name any module and have it imported, or the function of a package that is gone."""
    assert find_reader(f"{NAME}.read_my_label") is not None
    assert find_reader(f"{NAME}.MyTarget") is None
    sys.modules.pop("this", None)
    assert find_reader("this.s") is None
    assert "this" not in sys.modules
    assert find_reader(None) is None
