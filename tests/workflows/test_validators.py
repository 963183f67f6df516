"""What the work chains refuse at submission, with the message that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.workflows.epoch import EpochWorkChain

KERNEL = {"temperature": 300.0, "seed": 3}


def refuses(builder: ProcessBuilder, message: str, **changes: Any) -> None:
    """Assert that the builder with *changes* (None: without it) is refused, when it is filled or when it is run."""
    with pytest.raises(ValueError, match=message):  # noqa: PT012
        for name, value in changes.items():
            if value is None:
                del builder[name]
            else:
                builder[name] = value
        run(builder)


def carbon() -> orm.StructureData:
    atoms = rutile_atoms()
    atoms.symbols[0] = "C"
    return orm.StructureData(ase=atoms)


def slab() -> orm.StructureData:
    structure = orm.StructureData(ase=rutile_atoms())
    structure.pbc = (True, True, False)
    return structure


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"structure": None}, "give either `structure`"),
        ({"n_walkers": None}, "give `n_walkers` with `structure`"),
        ({"structure": carbon}, "the model does not know C; it knows"),
        ({"structure": slab}, "periodic in three directions"),
        ({"label_budget": lambda: orm.Int(3)}, r"label_budget \(3\) does not pay for one epoch \(2 walkers: 4\)"),
        ({"label_budget": lambda: orm.Int(0)}, "must be at least 1, not 0"),
        ({"n_cycles": lambda: orm.Int(0)}, "must be at least 1, not 0"),
        ({"n_walkers": lambda: orm.Int(0)}, "must be at least 1, not 0"),
        ({"committee_size": lambda: orm.Int(0)}, "must be at least 1, not 0"),
        ({"failed_updates": lambda: orm.Int(-1)}, "must not be negative"),
        ({"max_failed_labels": lambda: orm.Int(0)}, "must be at least 1, not 0"),
        ({"convergence": lambda: orm.Dict({"acceptance": 0.5})}, "convergence needs exactly"),
        (
            {"convergence": lambda: orm.Dict({"acceptance": 0.5, "force_rmse_mev_per_angstrom": -1})},
            "both bounds must be positive",
        ),
        (
            {"convergence": lambda: orm.Dict({"acceptance": "0.5", "force_rmse_mev_per_angstrom": 30})},
            "both bounds must be positive",
        ),
        (
            {"adaptation": lambda: orm.Dict({"rule": "acceptance", "target_acceptance": 1.5})},
            "target_acceptance must lie between",
        ),
        ({"adaptation": lambda: orm.Dict({"rule": "acceptance", "rat": 1.0})}, "did you mean 'rate'"),
        ({"adaptation": lambda: orm.Dict({"rule": "jmp"})}, "did you mean 'jump'"),
        ({"trajectory": lambda: orm.Dict({"n_steps": 0, "timestep": 1.0})}, "n_steps must be a positive integer"),
        ({"trajectory": lambda: orm.Dict({"n_steps": 5})}, "timestep"),
        ({"parameters": lambda: orm.Dict(KERNEL | {"pressure": 1.0})}, "pressure: only for ensemble npt"),
    ],
)
def test_run_is_refused(
    builder_of: Callable[..., ProcessBuilder], changes: dict[str, Callable[[], Any] | None], message: str
) -> None:
    """Fails where a mistake costs a queue's wait, or labels."""
    made = {name: make() if make else None for name, make in changes.items()}
    refuses(builder_of(), message, **made)


def test_structure_and_walkers(builder_of, walkers) -> None:
    """Fails where it is left open which of the two starts the run."""
    refuses(builder_of(), "give either `structure`", walkers=walkers)


@pytest.mark.parametrize(
    ("engine", "message"), [("castep", "no target 'castep'; installed: .*vasp"), ("vasp", "has no input functional")]
)
def test_target_is_checked(builder_of, engine: str, message: str) -> None:
    builder = builder_of()
    given = dict(builder.target.items()) | {"engine": orm.Str(engine), "functional": orm.Str("pbe")}
    refuses(builder, message, target=given)


def test_inputs_of_the_target_are_checked(builder_of) -> None:
    """Fails where the target's own policy only speaks up at the first label."""
    builder = builder_of()
    tags = builder.target["parameters"].get_dict() | {"pstress": 10}
    refuses(builder, "PSTRESS", target=dict(builder.target.items()) | {"parameters": orm.Dict(tags)})
    builder = builder_of()
    incomplete = {name: value for name, value in builder.target.items() if name != "kpoints"}
    del builder.target["kpoints"]
    refuses(builder, "kpoints", target=incomplete)


def _other(kind: str) -> Any:
    atoms = rutile_atoms(seed=9)
    if kind == "functional":
        return configuration(atoms, label_of(atoms, "hse06"))
    if kind == "engine":
        return configuration(atoms, label_of(atoms) | {"engine": "vasp"})
    if kind == "species":
        return configuration(atoms[:3], {**label_of(atoms), "forces": label_of(atoms)["forces"][:3]})
    return configuration(atoms, unlabelled_reason="VASP failed")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("functional", "the same functional, got .*hse06.*pbe"),
        ("engine", "the same engine, got .*vasp"),
        ("species", "the same atoms in the same order"),
        ("unlabelled", "must be labelled"),
    ],
)
def test_walkers_are_checked(builder_of, walkers, kind: str, message: str) -> None:
    """Fails where a chain could start from a state whose energy is not the target's."""
    changes = {"structure": None, "n_walkers": None, "walkers": walkers | {"walker_1": _other(kind)}}
    refuses(builder_of(), message, **changes)


def test_gaps_in_the_names_of_walkers(builder_of, walkers) -> None:
    """Fails where a walker would get the random stream of another."""
    gap = {"walker_0": walkers["walker_0"], "walker_2": walkers["walker_1"]}
    refuses(builder_of(), "without gaps, got: walker_0, walker_2", structure=None, n_walkers=None, walkers=gap)


def test_epoch_on_its_own_is_checked_too(builder_of, walkers) -> None:
    """Fails where a production run skips the checks of the self-learning one."""
    source = builder_of()
    inputs = {name: source[name] for name in ("model", "parameters", "trajectory", "n_cycles")}
    inputs |= {name: dict(source[name].items()) for name in ("proposal", "target")}
    for states, message in (
        ({}, "without gaps, got: none"),
        ({"first": walkers["walker_0"]}, "without gaps, got: first"),
        ({"walker_0": _other("unlabelled")}, "must be labelled"),
    ):
        with pytest.raises(ValueError, match=message):
            run(EpochWorkChain, **inputs, walkers=states)


def test_random_streams_are_not_used_twice(builder_of, walkers) -> None:
    """Fails where a production epoch repeats the momenta that made the state it starts from."""
    late = configuration(rutile_atoms(seed=9), label_of(rutile_atoms(seed=9)), tags={"epoch": 2})
    states = walkers | {"walker_1": late}
    common = {"structure": None, "n_walkers": None, "walkers": states}
    message = "come from epoch 2 of a run.*give `first_epoch` = 3 or more"
    refuses(builder_of(), message, **common)
    refuses(builder_of(), message, **common, first_epoch=orm.Int(2))
    # the control: the budget is looked at when the streams are in order
    refuses(builder_of(), "label_budget", **common, first_epoch=orm.Int(3), label_budget=orm.Int(1))


def test_walkers_of_different_cells(builder_of, walkers) -> None:
    """Fails where NVT goes on from the walkers of an NPT run, each in its own ensemble."""
    atoms = rutile_atoms(seed=9)
    atoms.set_cell(1.001 * atoms.cell.array, scale_atoms=True)
    states = walkers | {"walker_1": configuration(atoms, label_of(atoms))}
    refuses(builder_of(), "must have the same cell", structure=None, n_walkers=None, walkers=states)


def test_first_length_within_the_bounds(builder_of, walkers) -> None:
    """Fails where the length jumps to a bound after the first epoch, whatever the rule."""
    length = orm.Dict({"n_steps": 400, "timestep": 1.0})
    message = "n_steps = 400 is outside the adaptation's bounds of 3 to 20 steps"
    refuses(builder_of(), message, structure=None, n_walkers=None, walkers=walkers, trajectory=length)


def test_reference_with_a_structure(builder_of, structure) -> None:
    refuses(builder_of(ensemble="npt"), "give `reference_structure` with `walkers` only", reference_structure=structure)


def test_kinds_that_are_not_elements(builder_of) -> None:
    """Fails where the start has other POSCAR groups than what is proposed from it."""
    structure = orm.StructureData(cell=rutile_atoms().cell.array)
    for k, (symbol, position) in enumerate(zip(rutile_atoms().symbols, rutile_atoms().positions, strict=True)):
        structure.append_atom(position=position, symbols=symbol, name="Ti1" if k == 0 else symbol)
    refuses(builder_of(), "kinds must be called like their elements, not Ti1", structure=structure)


def test_what_an_earlier_run_left_is_checked(builder_of, walkers) -> None:
    """Fails where blocks of another functional, or what is no chain, are only found out after the labels are paid."""
    common = {"structure": None, "n_walkers": None, "walkers": walkers}
    other = DatasetData(configurations=[_other("functional")])
    refuses(
        builder_of(), "datasets and walkers must have the same functional", **common, datasets={"block_0000": other}
    )
    refuses(builder_of(), "chains.epoch_0000 is not the `chain`", **common, chains={"epoch_0000": orm.ArrayData()})
    chain = orm.ArrayData()
    chain.base.attributes.set("epoch", 1)
    refuses(builder_of(), "is of epoch 1, but the run begins with epoch 0", **common, chains={"epoch_0001": chain})


def test_data_beside_the_labels_are_checked(builder_of, walkers, springs) -> None:
    """Fails where what a training would refuse is found out after an epoch of labels."""
    builder = builder_of(fine_tune={"hessian": {"weight": 5.0}})
    refuses(builder, "sets hessian, but there is nothing in `force_constants`")
    builder = builder_of()
    builder.fine_tune.force_constants = {"rutile": springs(None, "C")}
    refuses(builder, "fine_tune: force_constants: the model does not know C")
    builder = builder_of()
    builder.fine_tune.force_constants = {"rutile": springs("hse06")}
    # with walkers the functional is known
    refuses(builder, "force_constants.rutile is of hse06", structure=None, n_walkers=None, walkers=walkers)
    builder = builder_of()
    with pytest.raises(ValueError, match=r"options: .*max_wallclock_second"):
        builder.fine_tune.options = orm.Dict({"max_wallclock_second": 60})


def test_committee_is_checked(builder_of, foundation) -> None:
    """Fails where a member is given that no update would train."""
    refuses(builder_of(committee_size=2), "committee.member_2 would not be trained", committee={"member_2": foundation})
    refuses(builder_of(committee_size=2), "member_1, member_2", committee={"first": foundation})
