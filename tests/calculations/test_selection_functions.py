"""Frames of a trajectory as structures: exact, in the pool's order, tagged; and the list of those without a label."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fixtures import rutile_atoms

from aiida_slhmc.calculations.epoch import record_unlabelled
from aiida_slhmc.calculations.selection import frame_number, list_failures, select_frames
from aiida_slhmc.data.configuration import ConfigurationData

# of four, so that each element comes twice and in between
ORDER = [2, 0, 3, 1]


@pytest.fixture(scope="module")
def pool(aiida_profile) -> orm.TrajectoryData:
    """Twelve frames with mixed sites, every one in a cell of its own, as NPT leaves them."""
    frames = [rutile_atoms(seed=seed)[ORDER] for seed in range(12)]
    for k, atoms in enumerate(frames):
        atoms.set_cell(atoms.cell.array * (1 + 0.001 * k) + [[0, 0, 0], [0.01 * k, 0, 0], [0, 0, 0]], scale_atoms=True)
        atoms.positions[1] += atoms.cell.array[0]  # unwrapped
    node = orm.TrajectoryData()
    node.set_trajectory(
        list(frames[0].symbols),
        np.array([atoms.positions for atoms in frames]),
        stepids=np.arange(12) * 10 + 100,
        cells=np.array([atoms.cell.array for atoms in frames]),
        pbc=(True, True, True),
    )
    return node.store()


def test_chosen_frames_are_those_of_the_pool(pool) -> None:
    """Fails where a structure is another frame, has another frame's cell, wrapped atoms, or sites in another order."""
    result, node = select_frames.run_get_node(pool, orm.Dict({"method": "every", "n_frames": 3, "skip": 3}))
    indices = result["indices"].get_array("indices").tolist()
    assert indices == [3, 6, 9]
    assert result["indices"].get_array("steps").tolist() == [130, 160, 190]
    structures = node.outputs.structures
    assert sorted(structures) == ["frame_00003", "frame_00006", "frame_00009"]
    for name, index in zip(sorted(structures), indices, strict=True):
        atoms, attributes = structures[name].get_ase(), structures[name].base.attributes
        assert list(atoms.symbols) == pool.symbols == ["O", "Ti", "O", "Ti"]
        assert all(atoms.pbc)
        # AiiDA keeps 14 digits of a number
        np.testing.assert_allclose(atoms.positions, pool.get_positions()[index], rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(atoms.cell.array, pool.get_cells()[index], rtol=1e-13, atol=1e-14)
        assert attributes.get("frame") == frame_number(name) == index
        assert ConfigurationData.from_structure(structures[name]).base.attributes.get("role") == "relabelled"


def test_farthest_point_with_nodes(pool) -> None:
    """Fails where the options do not arrive."""
    names = {}
    for seed in (0, 1):
        selection = orm.Dict({"method": "farthest_point", "n_frames": 5, "seed": seed})
        _, node = select_frames.run_get_node(pool, selection)
        names[seed] = sorted(node.outputs.structures)
    assert [len(chosen) for chosen in names.values()] == [5, 5]
    assert names[0] != names[1]


def test_pool_with_too_few_different_frames(pool) -> None:
    """Fails where the function excepts, or chooses fewer frames than were asked for."""
    repeated = orm.TrajectoryData()
    positions, cells = (np.repeat(values[:2], 4, axis=0) for values in (pool.get_positions(), pool.get_cells()))
    repeated.set_trajectory(pool.symbols, positions, cells=cells, pbc=(True, True, True))
    result, node = select_frames.run_get_node(repeated, orm.Dict({"method": "random", "n_frames": 3}))
    assert not result
    assert node.exit_status == 400
    assert "needs 3 different frames, and the pool has 2" in node.exit_message


def test_failures_are_listed_by_frame(pool) -> None:
    """Fails where a reason is that of another frame, or a frame without a label is counted as labelled."""
    result, _ = select_frames.run_get_node(pool, orm.Dict({"method": "every", "n_frames": 4}))
    structure = orm.StructureData(ase=rutile_atoms(seed=1))
    records = {f"frame_{i:05d}": record_unlabelled(structure, orm.Str(f"reason {i}")) for i in (6, 3)}
    listed = list_failures(result["indices"], **records).get_dict()
    assert listed["failures"] == [{"frame": 3, "reason": "reason 3"}, {"frame": 6, "reason": "reason 6"}]
    assert (listed["n_selected"], listed["n_failed"]) == (4, 2)
    assert list_failures(result["indices"]).get_dict() == {"n_selected": 4, "n_failed": 0, "failures": []}
