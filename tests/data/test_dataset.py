"""DatasetData: a block of labels of one functional, each with the uuid of its configuration."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.data.dataset import DatasetData


def test_frames_are_the_labels(labelled) -> None:
    """Fails where a frame has another configuration's numbers or loses its uuid."""
    nodes = [labelled(seed, tags={"epoch": 4, "role": "proposal"}) for seed in (11, 12, 13)]
    block = orm.load_node(DatasetData(configurations=nodes).store().uuid)
    frames = block.get_frames()
    assert block.n_frames == len(frames) == 3
    assert block.get_uuids() == [node.uuid for node in nodes]
    for node, frame in zip(nodes, frames, strict=True):
        arrays = node.arrays()
        assert frame.get_potential_energy() == pytest.approx(node.energy, abs=1e-10)
        np.testing.assert_allclose(frame.get_forces(), arrays["forces"], atol=1e-8)
        np.testing.assert_allclose(frame.get_stress(voigt=False), arrays["stress"], atol=1e-10)
        np.testing.assert_allclose(frame.positions, arrays["positions"], atol=1e-8)
        assert frame.info["role"] == "proposal"
    energies = [node.energy / 6 for node in nodes]
    assert block.base.attributes.get("energy_per_atom_range") == pytest.approx([min(energies), max(energies)])
    attributes = {key: block.base.attributes.get(key) for key in ("functional", "engine", "stand_in", "epoch")}
    assert attributes == {"functional": "pbe", "engine": "vasp-standin", "stand_in": True, "epoch": 4}
    assert block.base.attributes.get("elements") == ["O", "Ti"]


def test_unlabelled_are_left_out(labelled) -> None:
    """Fails where a configuration whose label failed would be trained on."""
    good = labelled(14)
    failed = configuration(rutile_atoms(seed=15), unlabelled_reason="VASP failed").store()
    block = DatasetData(configurations=[failed, good])
    assert block.get_uuids() == [good.uuid]


def test_energy_of_a_large_cell_keeps_its_digits(labelled) -> None:
    """Fails where the file's format rounds the energy to fewer digits than a Metropolis test resolves."""
    atoms = rutile_atoms(seed=1)
    node = configuration(atoms, label_of(atoms) | {"energy": -41234.567891234567}).store()
    (frame,) = DatasetData(configurations=[node]).get_frames()
    assert frame.get_potential_energy() == pytest.approx(node.energy, abs=1e-7)


def test_two_functionals_are_refused(labelled) -> None:
    """Fails where labels of two energy surfaces could be mixed."""
    with pytest.raises(ValueError, match=r"one functional and engine.*hse06.*pbe"):
        DatasetData(configurations=[labelled(16), labelled(16, "hse06")])


def test_two_engines_are_refused(labelled) -> None:
    """Fails where labels of the stand-in could be mixed with VASP's."""
    atoms = rutile_atoms(seed=17)
    other = configuration(atoms, label_of(atoms) | {"engine": "vasp"}).store()
    with pytest.raises(ValueError, match="one functional and engine"):
        DatasetData(configurations=[labelled(17), other])


def test_empty_block_is_refused() -> None:
    """Fails where a training could start from nothing."""
    failed = configuration(rutile_atoms(), unlabelled_reason="VASP failed")
    for configurations in ([], [failed]):
        with pytest.raises(ValueError, match="got: none"):
            DatasetData(configurations=configurations)


def test_what_a_shared_block_says_of_itself(labelled) -> None:
    """Fails where settings get lost, or a block of a run is taken for one without provenance."""
    settings = {"parameters": {"encut": 520}}
    shared = DatasetData(
        configurations=[labelled(18)], about={"settings": settings, "without_provenance": True}
    ).store()
    assert shared.settings == settings
    assert shared.is_without_provenance
    own = DatasetData(configurations=[labelled(18)])
    assert own.settings is None
    assert not own.is_without_provenance
