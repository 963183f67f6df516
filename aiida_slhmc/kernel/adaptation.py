"""Adaptation of proposals between epochs only: inside an epoch the kernel is frozen.

The parts are the rules of the length (:mod:`~aiida_slhmc.kernel.length_rules`) and of the time step
(:mod:`~aiida_slhmc.kernel.timestep_rule`); here they are chosen by name and put to work together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.kernel.diagnostics import predicted_acceptance
from aiida_slhmc.kernel.length_rules import AcceptanceRule, JumpRule
from aiida_slhmc.kernel.timestep_rule import MIN_LABELS, TimestepRule

__all__ = ("Adaptation", "make_rule")

RULES: dict[str, type[AcceptanceRule | JumpRule]] = {"acceptance": AcceptanceRule, "jump": JumpRule}
DEFAULT_RULE = "jump"


@dataclass(frozen=True)
class Adaptation:
    """The rule of the length with its name, and that of the time step (None: the time step stays)."""

    rule: str
    length: Any
    timestep: TimestepRule | None

    def update(self, trajectory: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
        """The next epoch's trajectory.

        Where the time step becomes shorter, the length in time stays (within the bounds on n) and the rule of the
        length is not asked: what it would judge by came from the old time step.

        :param trajectory: ``n_steps``, ``timestep`` (fs), and the ``rule`` and its ``state`` if there was an epoch.
        :param seen: of the finished epoch ``acceptance``, ``expected_squared_jump_per_label``, ``labels``,
            ``sigma_integration``, ``sigma_mismatch`` and ``temperature``, as in its summary.
        :returns: ``n_steps``, ``timestep``, ``rule``, ``state`` and ``reason``, a sentence.
        """
        state, timestep = self._state(trajectory), trajectory["timestep"]
        shorter = self._timestep(timestep, seen)
        if shorter < timestep:
            new = replace(state, log_n_steps=self.length.clip(state.log_n_steps + math.log(timestep / shorter)))
            words = _explain_timestep(timestep, shorter, seen)
        else:
            observed = (seen["acceptance"], seen["expected_squared_jump_per_label"])
            new = self.length.update(state, *observed)
            words = self.length.explain(state, *observed)
        reason = f"{words}: {self._explain_steps(trajectory['n_steps'], new.n_steps)}."
        content = {"n_steps": new.n_steps, "timestep": shorter, "rule": self.rule, "state": new.as_dict()}
        return {**content, "reason": reason[0].upper() + reason[1:]}

    def _state(self, trajectory: dict[str, Any]) -> Any:
        """The stored state, or a new one where there is none, or it is another rule's or of another length."""
        if "state" in trajectory and trajectory.get("rule") == self.rule:
            state = self.length.restore(trajectory["state"])
            if state.n_steps == trajectory["n_steps"]:
                return state
        return self.length.init(trajectory["n_steps"])

    def _timestep(self, timestep: float, seen: dict[str, Any]) -> float:
        if self.timestep is None or seen["labels"] < MIN_LABELS:
            return timestep
        sigmas = (seen["sigma_integration"], seen["sigma_mismatch"])
        return self.timestep.update(timestep, *sigmas, seen["temperature"])

    def _explain_steps(self, before: int, after: int) -> str:
        if before != after:
            return f"{before} → {after} steps"
        bounds = {self.length.n_steps_min: ", the lower bound", self.length.n_steps_max: ", the upper bound"}
        return f"{after} steps as before" + bounds.get(after, "")


def make_rule(options: dict[str, Any]) -> Adaptation:
    """The adaptation that *options* ask for.

    :param options: ``rule`` (``jump``, the default, or ``acceptance``); the arguments of
        :class:`~aiida_slhmc.kernel.length_rules.JumpRule` or
        :class:`~aiida_slhmc.kernel.length_rules.AcceptanceRule`; ``timestep``: arguments of
        :class:`~aiida_slhmc.kernel.timestep_rule.TimestepRule`, true for its defaults (the default), or false to leave
        the time step alone.
    :raises ValueError: for an unknown name, with the nearest one, or a value that makes no sense.
    """
    name = options.get("rule", DEFAULT_RULE)
    check_names([name], RULES, "adaptation rule")
    rule = RULES[name]
    check_names(options, {field.name for field in fields(rule)} | {"rule", "timestep"}, f"option of the rule '{name}'")
    arguments = {key: value for key, value in options.items() if key not in ("rule", "timestep")}
    return Adaptation(name, rule(**arguments), _make_timestep_rule(options.get("timestep", True)))


def _make_timestep_rule(options: Any) -> TimestepRule | None:
    if isinstance(options, bool):
        return TimestepRule() if options else None
    if not isinstance(options, dict):
        raise ValueError(f"timestep must be true, false or a dictionary of options, not {options!r}")
    check_names(options, {field.name for field in fields(TimestepRule)}, "option of timestep")
    return TimestepRule(**options)


def _explain_timestep(before: float, after: float, seen: dict[str, Any]) -> str:
    sigma, mismatch = seen["sigma_integration"], seen["sigma_mismatch"]
    alone = predicted_acceptance(sigma, seen["temperature"])
    return (
        f"the integration error (σ {1000 * sigma:.3g} meV) exceeds the mismatch ({1000 * mismatch:.3g} meV) and alone "
        f"lowers the acceptance to {alone:.2f}, so the time step goes {before:.3g} → {after:.3g} fs"
    )
