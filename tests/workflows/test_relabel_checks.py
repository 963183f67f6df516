"""What the RelabelWorkChain refuses at submission, and its builder from a protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run
from fixtures import rutile_atoms
from run_examples import failing

from aiida_slhmc.analysis.frame_selection import FrameSelection
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.workflows.relabel import RelabelWorkChain
from aiida_slhmc.workflows.relabel_inputs import get_relabel_protocol

MD = {"n_steps": 40, "sampling_interval": 10, "temperature": 300.0, "seed": 1, "device": "cpu"}


def trajectory(symbols: list[str] | None = None, periodic: bool = True) -> orm.TrajectoryData:
    """Six frames of rutile."""
    frames = [rutile_atoms(seed=seed) for seed in range(6)]
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols or list(frames[0].symbols),
        np.array([atoms.positions for atoms in frames]),
        cells=np.array([atoms.cell.array for atoms in frames]),
        pbc=(True, True, periodic),
    )
    return node


@pytest.fixture(scope="module")
def from_protocol(structure, foundation, python_code, vasp_code, family) -> Callable[..., ProcessBuilder]:
    """Function: a builder of the fast protocol with these overrides, beside a small choice and pool."""

    def make(ensemble: str = "nvt", **overrides: Any) -> ProcessBuilder:
        return RelabelWorkChain.get_builder_from_protocol(
            structure=structure,
            model=foundation,
            python_code=python_code,
            functional="pbe",
            ensemble=ensemble,
            target_options={"code": vasp_code, "potential_family": family, "options": failing(None)},
            protocol="fast",
            overrides={"selection": {"n_frames": 4}, "md": {"n_steps": 100}} | overrides,
        )

    return make


@pytest.fixture(scope="module")
def refuses(from_protocol) -> Callable[..., None]:
    """Function: assert that a builder with *changes* (None: without it) is refused with this message."""

    def check(message: str, **changes: Any) -> None:
        builder = from_protocol()
        with pytest.raises(ValueError, match=message):  # noqa: PT012
            for name, value in changes.items():
                if value is None:
                    del builder[name]
                else:
                    builder[name] = value
            run(builder)

    return check


def given_pool(**changes: Any) -> dict[str, Any]:
    """Changes with which a builder has a pool of six frames instead of dynamics."""
    return {"pool_md": None, "pool": trajectory()} | changes


def selection(**options: Any) -> orm.Dict:
    return orm.Dict({"method": "every", "n_frames": 4} | options)


def test_one_pool(refuses) -> None:
    """Fails where it is left open which frames are chosen from."""
    refuses("give either `pool`, a trajectory, or `pool_md`", pool=trajectory())
    refuses("give either `pool`, a trajectory, or `pool_md`", pool_md=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "first"}, "method must be one of every, random, farthest_point"),
        ({"n_frame": 3}, "did you mean 'n_frames'"),
        ({"n_frames": 7}, "selection: n_frames = 7 needs 7 different frames, and the pool has 6"),
        ({"skip": 3}, "needs 4 different frames, and the pool has 3 after skip = 3"),
        ({"every": 2}, "with every = 2 needs 7 different frames, and the pool has 6"),
        ({"n_frames": 1}, "n_frames = 1 is less than min_labels = 2"),
    ],
)
def test_selection(refuses, options: dict[str, Any], message: str) -> None:
    """Fails where a choice that cannot be made is only found out after the pool was."""
    refuses(message, **given_pool(selection=selection(**options)))


def test_choice_from_a_pool_that_is_still_to_be_made(refuses, python_code) -> None:
    """Fails where the number of frames that the dynamics will leave is not looked at."""
    pool_md = {"code": python_code, "parameters": orm.Dict(MD)}
    refuses(
        "n_frames = 5 needs 5 different frames, and the pool has 4", pool_md=pool_md, selection=selection(n_frames=5)
    )


def test_pool(refuses) -> None:
    """Fails where frames that no label can be had of are only refused by the target."""
    symbols = ["Ti1", "Ti2", "O", "O", "O", "O"]
    refuses("the symbols must be those of elements, not Ti1, Ti2", **given_pool(pool=trajectory(symbols)))
    refuses("must have cells, and be periodic", **given_pool(pool=trajectory(periodic=False)))
    refuses(
        "the model does not know C", **given_pool(pool=trajectory(["C", "Ti", "O", "O", "O", "O"]), production=None)
    )


def test_numbers(refuses) -> None:
    refuses("must be at least 2, one to train and one to validate", min_labels=orm.Int(1))
    refuses("must be at least 1", max_parallel_labels=orm.Int(0))


def test_target_and_training(refuses, from_protocol) -> None:
    """Fails where the checks of target and training are skipped that a self-learning run makes."""
    builder = from_protocol()
    refuses("no target 'castep'", target=dict(builder.target.items()) | {"engine": orm.Str("castep")})
    target = dict(builder.target.items()) | {"potential": {"Ti": builder.target["potential"]["Ti"]}}
    refuses("target.potential has no POTCAR for O", target=target)
    options = orm.Dict(builder.fine_tune.parameters.get_dict() | {"replay": {"weight": 0.5}})
    training = {"code": builder.fine_tune.code, "parameters": options}
    refuses("fine_tune: `parameters` sets replay", fine_tune=training)


def test_start(refuses) -> None:
    refuses("give `structure`, where the dynamics of `pool_md` starts", structure=None, production=None)
    structure = orm.StructureData(cell=rutile_atoms().cell.array)
    for k, (symbol, position) in enumerate(zip(rutile_atoms().symbols, rutile_atoms().positions, strict=True)):
        structure.append_atom(position=position, symbols=symbol, name="Ti1" if k == 0 else symbol)
    refuses("kinds must be called like their elements, not Ti1", structure=structure)


def test_dynamics(refuses, python_code, foundation) -> None:
    """Fails where a mistake in the production is only found out when all labels are paid."""

    def md(**changes: Any) -> dict[str, Any]:
        return {"code": python_code, "parameters": orm.Dict(MD | changes)}

    refuses("no option of the molecular dynamics 'n_step'", pool_md=md(n_step=3))
    refuses(r"production\.hot.*temperature must be", production={"hot": md(temperature=-1.0)})
    refuses(r"production\.hot.*code", production={"hot": {"parameters": orm.Dict(MD)}})
    for name, node in (("model", foundation), ("parameter", orm.Dict(MD))):
        refuses(f"no input of production.hot '{name}'", production={"hot": md() | {name: node}})
    refuses("production.code must hold the inputs of a dynamics by name", production=md())
    message = r"production\.hot: give `structure`, here or for all"
    refuses(message, **given_pool(structure=None, production={"hot": md()}))


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
@pytest.mark.parametrize("name", ["fast", "balanced", "stringent", "paper"])
def test_each_protocol_is_valid(name: str, ensemble: str) -> None:
    """Fails where a protocol has options that are refused, or has other numbers of labels than the run beside it."""
    settings = get_relabel_protocol(name, ensemble=ensemble)
    pool = MdParameters.from_dict(settings["md"])
    assert pool.ensemble == MdParameters.from_dict(settings["production"]).ensemble == ensemble
    choice = FrameSelection.from_dict(settings["selection"])
    assert choice.n_frames == {"fast": 48, "balanced": 600, "stringent": 1600, "paper": 600}[name]
    assert pool.n_steps // pool.sampling_interval >= 2 * choice.n_frames
    assert get_relabel_protocol() == get_relabel_protocol("balanced")


def test_builder(from_protocol, structure, foundation) -> None:
    """Fails where a setting does not arrive at the port that it is for."""
    overrides = {"kernel": {"temperature": 250.0, "seed": 7}, "fine_tune": {"max_epochs": 2}}
    builder = from_protocol("npt", **overrides, md={"n_steps": 500, "temperature": 600.0})
    assert (builder.model.uuid, builder.structure.uuid) == (foundation.uuid, structure.uuid)
    assert builder.selection.get_dict() == {"method": "every", "n_frames": 4}
    pool, production = (given["parameters"].get_dict() for given in (builder.pool_md, builder.production["npt"]))
    assert (pool["n_steps"], pool["temperature"]) == (500, 600.0)
    assert (production["n_steps"], production["temperature"]) == (1000, 250.0)
    for given in (pool, production):
        assert (given["ensemble"], given["seed"], given["cell_degrees_of_freedom"]) == ("npt", 7, "orthorhombic")
    assert builder.fine_tune.parameters["max_epochs"] == 2
    assert builder.fine_tune.parameters["loss"] == "energy_forces_stress"
    assert builder.target.engine.value == "vasp"


def test_builder_without_production(from_protocol) -> None:
    assert not from_protocol(production=None).production


def test_mistakes_in_overrides(from_protocol) -> None:
    """Fails where a typing mistake silently leaves a default in place."""
    for overrides, message in (
        ({"md": {"n_stepps": 3}}, "did you mean 'n_steps'"),
        ({"production": {"temprature": 3.0}}, "did you mean 'temperature'"),
        ({"selection": {"methd": "random"}}, "did you mean 'method'"),
        ({"producton": {}}, "no key of the protocol 'producton'"),
        (
            {"selection": {"n_frames": 900}},
            "needs 900 different frames, and the pool has 10: give more n_steps in `md`",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            from_protocol(**overrides)
