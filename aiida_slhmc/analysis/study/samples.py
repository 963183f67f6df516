"""What a study consists of: analysed samples, how far they are from each other, forward errors and histories.

A *sample* is one analysed trajectory. Its dictionary names ``functional`` (None: the foundation's), ``ensemble``,
``role``, ``labels`` (that its model was trained on; None where no model decides what is sampled) and ``is_final``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from aiida_slhmc.analysis.bootstrap import Estimate

__all__ = ("ENSEMBLES", "Sample", "Study", "estimate_of", "functional_name", "sorted_functionals")

ENSEMBLES = ("nvt", "npt")
FOUNDATION, ADAPTED, CONTROL = "foundation_md", "adapted_md", "control_md"
# the chain with its repeats is the sample of the target ensemble; accepted states alone are the second choice
REFERENCES = ("slhmc_chain", "slhmc_accepted")

# in the order of Jacob's ladder; others follow by their names
NAMES = {"pbe": "PBE", "r2scan": "r²SCAN", "hse06": "HSE06"}
ORDER = list(NAMES)


def functional_name(functional: str | None) -> str:
    """How a functional is written in text."""
    return "Foundation" if functional is None else NAMES.get(functional, functional)


def sorted_functionals(functionals: Iterable[str | None]) -> list[str]:
    """Those that are there, each once: the known ones in the order of Jacob's ladder, then the others by name."""
    found = {name for name in functionals if name is not None}
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def estimate_of(pair: Any) -> Estimate | None:
    """A value and its standard error as they are stored, ``[value, error]``; None where there is no value."""
    if pair is None or pair[0] is None:
        return None
    return Estimate(float(pair[0]), math.nan if pair[1] is None else float(pair[1]))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One analysed trajectory.

    :ivar metrics: what :func:`aiida_slhmc.analysis.structure.analyse_structure` gives, with ``sample``,
        ``temperature`` (K), ``pressure`` (GPa) and ``stand_in``.
    :ivar curves: its curves, none where they were not kept.
    """

    metrics: dict[str, Any]
    curves: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        """The dictionary that names the sample."""
        return self.metrics["sample"]

    @property
    def functional(self) -> str | None:
        """The one that is sampled, or that the model has learned; None for the foundation."""
        return self.about.get("functional")

    @property
    def ensemble(self) -> str:
        """``nvt`` or ``npt``."""
        return self.about["ensemble"]

    @property
    def role(self) -> str:
        """How the trajectory was made."""
        return self.about["role"]

    @property
    def labels(self) -> int | None:
        """How many its model was trained on, None where no model decides what is sampled."""
        return self.about.get("labels")

    @property
    def is_final(self) -> bool:
        """Whether it is the last of its run; true where nothing is said."""
        return self.about.get("is_final") is not False

    @property
    def pair(self) -> str:
        """Species of the nearest neighbours, such as ``Ti-O``."""
        return "-".join(self.metrics["nearest_neighbour"]["pair"])

    def estimate(self, *path: str) -> Estimate | None:
        """The metric under these keys, None where there is none."""
        found: Any = self.metrics
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return estimate_of(found)

    def conditions_agree(self, other: Sample) -> bool:
        """Whether both are of one ensemble at one temperature and pressure, as far as both say so."""
        if self.ensemble != other.ensemble:
            return False
        pairs = [[sample.metrics.get(key) for sample in (self, other)] for key in ("temperature", "pressure")]
        known = [(first, second) for first, second in pairs if first is not None and second is not None]
        return all(math.isclose(first, second, rel_tol=1e-9) for first, second in known)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that tables and figures are made of; any part may be missing.

    :ivar comparisons: ``sample``, ``reference``, ``wasserstein`` and ``floor`` (Å, each with its error).
    :ivar forward: ``functional``, ``ensemble`` and ``updates``, rows of
        :func:`aiida_slhmc.analysis.forward_errors.forward_error_curve`.
    :ivar histories: ``functional``, ``ensemble`` and ``epochs``, summaries of
        :func:`aiida_slhmc.analysis.epoch_summary.summarise`.
    :ivar experiment: see :func:`aiida_slhmc.analysis.study.experiment.check_experiment`.
    :ivar requested: functionals, each with a part that was asked for of it, an ensemble or ``relabel``, the control.
    """

    samples: list[Sample] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    forward: list[dict[str, Any]] = field(default_factory=list)
    histories: list[dict[str, Any]] = field(default_factory=list)
    experiment: dict[str, Any] = field(default_factory=dict)
    requested: list[tuple[str, str]] = field(default_factory=list)

    @property
    def functionals(self) -> list[str]:
        """Those of all parts, and those that were asked for, in their order."""
        runs = [*self.forward, *self.histories]
        names = [*(run["functional"] for run in runs), *(functional for functional, _ in self.requested)]
        return sorted_functionals([*(sample.functional for sample in self.samples), *names])

    @property
    def is_stand_in(self) -> bool:
        """Whether any label of any sample comes from a stand-in and not from DFT."""
        return any(sample.metrics.get("stand_in") for sample in self.samples)

    def of(self, role: str, ensemble: str, functional: str | None = None) -> list[Sample]:
        """The samples of a role, those of fewer labels first."""
        found = [s for s in self.samples if (s.role, s.ensemble, s.functional) == (role, ensemble, functional)]
        return sorted(found, key=lambda sample: sample.labels or 0)

    def foundation(self, ensemble: str) -> Sample | None:
        """The sample of the model that all have begun from."""
        return _last(self.of(FOUNDATION, ensemble))

    def adapted(self, ensemble: str, functional: str) -> Sample | None:
        """The sample of the last model; one on the way to it does not stand in for it."""
        return _last(self.of(ADAPTED, ensemble, functional))

    def control(self, ensemble: str, functional: str) -> Sample | None:
        """The sample of the model that learned labels of the foundation's configurations."""
        return _last(self.of(CONTROL, ensemble, functional))

    def evolution(self, ensemble: str, functional: str) -> list[Sample]:
        """The foundation's sample, where there is one, and those of all models of the functional, by labels."""
        foundation = self.foundation(ensemble)
        return [*([foundation] if foundation else []), *self.of(ADAPTED, ensemble, functional)]

    def reference(self, ensemble: str, functional: str) -> Sample | None:
        """The target's own sample at the conditions of the functional's other samples."""
        others = [sample for sample in (self.adapted(ensemble, functional), self.foundation(ensemble)) if sample]
        for role in REFERENCES:
            found = self.of(role, ensemble, functional)
            if others:
                found = [sample for sample in found if sample.conditions_agree(others[0])]
            if found:
                return found[0]
        return None

    def comparison(self, sample: Sample | None, reference: Sample | None) -> dict[str, Any]:
        """What is known about the distance of two samples; empty where they were not compared."""
        if sample is None or reference is None:
            return {}
        names = (sample.about, reference.about)
        return next((row for row in self.comparisons if (row["sample"], row["reference"]) == names), {})


def _last(samples: list[Sample]) -> Sample | None:
    """The final one of the most labels."""
    final = [sample for sample in samples if sample.is_final]
    return final[-1] if final else None
