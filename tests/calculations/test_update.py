"""Options of a next update: what changes after a refusal, for a member of a committee and for lack of memory."""

from __future__ import annotations

from aiida import orm

from aiida_slhmc.calculations.update import member_parameters, smaller_batch, update_parameters

GIVEN = {"learning_rate": 0.004, "seed": 7, "batch_size": 6, "loss": "huber"}


def changed(result: orm.Dict, given: dict[str, object]) -> dict[str, object]:
    """What is in *result* and not alike in *given*."""
    return {key: value for key, value in result.get_dict().items() if given.get(key) != value}


def test_each_refusal_halves_the_learning_rate_and_draws_another_seed(aiida_profile) -> None:
    """Fails where the next attempt is the same training once more."""
    given = orm.Dict(GIVEN)
    results = [update_parameters(given, orm.Int(n)) for n in (1, 2)]
    assert [result["learning_rate"] for result in results] == [0.002, 0.001]
    assert len({7, *(result["seed"] for result in results)}) == 3
    assert set(changed(results[0], GIVEN)) == {"learning_rate", "seed"}
    assert update_parameters(given, orm.Int(2)).get_dict() == results[1].get_dict(), "a restart makes the same"


def test_defaults_are_what_is_reduced(aiida_profile) -> None:
    """Fails where options that were left out raise, or are taken for others than the training's own."""
    assert update_parameters(orm.Dict({}), orm.Int(1))["learning_rate"] == 0.005
    assert smaller_batch(orm.Dict({}))["batch_size"] == 4


def test_members_differ_in_their_seeds_only(aiida_profile) -> None:
    """Fails where two members are the same model, or one is the main model's next attempt."""
    given = orm.Dict(GIVEN)
    members = [member_parameters(given, orm.Int(k)) for k in (1, 2)]
    after_failure = [update_parameters(given, orm.Int(k))["seed"] for k in (1, 2)]
    assert len({7, *after_failure, *(member["seed"] for member in members)}) == 5
    assert set(changed(members[0], GIVEN)) == {"seed"}


def test_batch_is_halved_down_to_one(aiida_profile) -> None:
    sizes, parameters = [], orm.Dict(GIVEN)
    for _ in range(4):
        parameters = smaller_batch(parameters)
        sizes.append(parameters["batch_size"])
    assert sizes == [3, 1, 1, 1]
    assert set(changed(parameters, GIVEN)) == {"batch_size"}
