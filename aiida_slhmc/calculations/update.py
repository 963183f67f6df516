"""Calculation functions that make the options of a next fine-tuning from those of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

__all__ = ("member_parameters", "smaller_batch", "update_parameters")

# by which the learning rate is multiplied after each update that was refused
REDUCTION = 0.5
# what a derived seed is for; each use has seeds of its own
AFTER_FAILURE, OF_MEMBER = 0, 1


@calcfunction
def update_parameters(parameters: orm.Dict, n_failed: orm.Int) -> orm.Dict:
    """Options of the next update of a run in which some were refused: another seed and a smaller learning rate.

    :param parameters: options of the run, see :class:`~aiida_slhmc.worker.fine_tune_parameters.FineTuneParameters`.
    :param n_failed: updates of the run that were refused so far; each halves ``learning_rate``, for the whole rest of
        the run.
    """
    options = _options(parameters)
    rate = options.learning_rate * REDUCTION**n_failed.value
    seed = _derived_seed(options.seed, AFTER_FAILURE, n_failed.value)
    return orm.Dict(parameters.get_dict() | {"learning_rate": rate, "seed": seed})


@calcfunction
def member_parameters(parameters: orm.Dict, member: orm.Int) -> orm.Dict:
    """Options for a member of a committee: those of the main model, with a seed of its own.

    :param member: number of the member, from 1.
    """
    return orm.Dict(parameters.get_dict() | {"seed": _derived_seed(_options(parameters).seed, OF_MEMBER, member.value)})


@calcfunction
def smaller_batch(parameters: orm.Dict) -> orm.Dict:
    """The same options with half the ``batch_size``, for a training that ran out of memory; 1 stays 1."""
    return orm.Dict(parameters.get_dict() | {"batch_size": max(1, _options(parameters).batch_size // 2)})


def _options(parameters: orm.Dict) -> FineTuneParameters:
    """All options, those not given with their defaults."""
    return FineTuneParameters.from_dict(parameters.get_dict())


def _derived_seed(seed: int, purpose: int, number: int) -> int:
    """A seed of 32 bits that depends on nothing else."""
    state: Any = np.random.SeedSequence(seed, spawn_key=(purpose, number)).generate_state(1)
    return int(state[0])
