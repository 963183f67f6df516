"""What the work chains refuse at submission, with the message that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run
from fixtures import configuration, label_of, rutile_atoms

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
