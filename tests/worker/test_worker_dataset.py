"""Reading labelled blocks and splitting them once for life."""

from itertools import chain

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from mace.data.utils import random_train_valid_split
from worker_examples import rutile_frames, to_frame, write_block

from aiida_slhmc.worker.dataset import frame_graphs, joined, read_block, split_blocks

ELEMENTS = ["O", "Ti"]


def whole_split(blocks, fraction):
    """The split of all blocks together."""
    return joined(split_blocks(blocks, fraction))


@pytest.fixture(scope="module")
def blocks(labelled):
    frames = [to_frame(atoms) for atoms in labelled]
    return [frames[:5], frames[5:6], frames[6:]]


def names(frames):
    return [frame.content for frame in frames]


def test_labels_and_uuid_are_read(tmp_path, labelled):
    image = labelled[0].copy()
    image.calc = labelled[0].calc
    image.info["uuid"] = "0b6e3f0e-0000-4000-8000-000000000001"
    write_block(tmp_path / "b.extxyz", [image, labelled[1]])
    first, second = read_block(tmp_path / "b.extxyz", ELEMENTS)
    assert first.energy == image.calc.results["energy"]
    np.testing.assert_allclose(first.forces, image.calc.results["forces"], atol=1e-8)
    np.testing.assert_allclose(first.stress, image.calc.results["stress"].reshape(3, 3), atol=1e-12)
    assert first.uuid == first.name == image.info["uuid"]
    assert second.uuid is None
    assert second.name == second.content


def test_stress_may_be_absent_or_in_voigt_order(tmp_path, labelled, model):
    voigt = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) * 1e-3
    images = rutile_frames(2)
    images[0].calc = SinglePointCalculator(images[0], energy=1.0, forces=np.zeros((6, 3)), stress=voigt)
    images[1].calc = SinglePointCalculator(images[1], energy=1.0, forces=np.zeros((6, 3)))
    write_block(tmp_path / "b.extxyz", images)
    frames = read_block(tmp_path / "b.extxyz", ELEMENTS)
    np.testing.assert_allclose(frames[0].stress, 1e-3 * np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]), atol=1e-12)
    assert frames[1].stress is None
    with_stress, without = frame_graphs(frames, model)
    assert (float(with_stress.stress_weight), float(without.stress_weight)) == (1.0, 0.0)
    np.testing.assert_allclose(with_stress.stress.numpy()[0], frames[0].stress)
    assert {with_stress.positions.dtype, with_stress.energy.dtype, with_stress.stress.dtype} == {torch.float64}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"forces": np.zeros((6, 3))}, "no energy"),
        ({"energy": 1.0}, "no forces"),
        ({}, "no energy and no forces"),
        ({"energy": float("nan"), "forces": np.zeros((6, 3))}, "energy not finite"),
        ({"energy": 1.0, "forces": np.full((6, 3), np.inf)}, "forces not finite"),
        ({"energy": 1.0, "forces": np.zeros((6, 3)), "stress": np.full(6, np.nan)}, "stress not finite"),
    ],
)
def test_unusable_labels_are_refused(tmp_path, labelled, labels, message):
    image = rutile_frames(1)[0]
    image.calc = SinglePointCalculator(image, **labels)
    write_block(tmp_path / "b.extxyz", [labelled[0], image])
    with pytest.raises(ValueError, match=f"b.extxyz, frame 1: {message}"):
        read_block(tmp_path / "b.extxyz", ELEMENTS)


def test_unknown_element_empty_and_foreign_files(tmp_path, labelled):
    write_block(tmp_path / "b.extxyz", labelled[:1])
    with pytest.raises(ValueError, match="does not know Ti, only O"):
        read_block(tmp_path / "b.extxyz", ["O"])
    (tmp_path / "text.extxyz").write_text("hello\n")
    (tmp_path / "empty.extxyz").write_text("")
    for name in ("text", "empty"):
        with pytest.raises(ValueError, match=f"{name}.extxyz"):
            read_block(tmp_path / f"{name}.extxyz", ELEMENTS)


def test_every_frame_is_used_once(blocks):
    result = whole_split(blocks, 0.2)
    assert sorted(names(result.training + result.validation)) == sorted(names(chain.from_iterable(blocks)))
    assert len(result.validation) == 2  # one of five, none of one, one of six


def test_membership_does_not_depend_on_the_order_in_a_block(blocks):
    first, second = whole_split(blocks, 0.2), whole_split([block[::-1] for block in blocks], 0.2)
    assert sorted(names(first.validation)) == sorted(names(second.validation))


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.6, 0.99])
def test_membership_never_changes_as_blocks_are_added(blocks, fraction):
    roles = {}
    for count in range(1, len(blocks) + 1):
        result = whole_split(blocks[:count], fraction)
        now = {**dict.fromkeys(names(result.training), "t"), **dict.fromkeys(names(result.validation), "v")}
        assert {name: now[name] for name in roles} == roles
        roles = now


def test_random_split_leaks():
    """Negative control: MACE's split, drawn again as the data grow, validates on former training frames."""
    frames = list(range(60))
    before, _ = random_train_valid_split(frames[:30], 0.1, 1, ".")
    _, after = random_train_valid_split(frames, 0.1, 1, ".")
    assert set(before) & set(after)


def test_copies_keep_the_role_of_the_first(blocks):
    first = whole_split(blocks, 0.2)
    again = whole_split([*blocks, first.training[:3], [*first.validation, first.training[0]]], 0.2)
    assert set(names(again.validation)) == set(names(first.validation))
    assert not set(names(again.training)) & set(names(again.validation))


def test_content_is_of_the_configuration_only(blocks):
    frame = blocks[0][0]
    moved = frame.atoms.copy()
    moved.positions[0, 0] += 1e-12
    other = to_frame(blocks[0][1].atoms)
    same = type(frame)(frame.atoms.copy(), -1.0, frame.forces, None, "another uuid")
    assert same.content == frame.content
    assert type(frame)(moved, frame.energy, frame.forces, None, None).content != frame.content != other.content


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1)])
def test_too_few_frames(blocks, sizes):
    frames = chain.from_iterable(blocks)
    with pytest.raises(ValueError, match="both need one"):
        whole_split([[next(frames) for _ in range(size)] for size in sizes], 0.1)


def test_two_frames_are_enough(blocks):
    result = whole_split([blocks[0][:2]], 0.1)
    assert (len(result.training), len(result.validation)) == (1, 1)
