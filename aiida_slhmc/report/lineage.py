"""Where a model comes from, read from the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData

__all__ = ("Origin", "lineage_of", "origin_of")


@dataclass(frozen=True)
class Origin:
    """How a model was made; all but the model is None or empty for one that nothing in the database made."""

    model: MaceModelData
    parent: MaceModelData | None = None
    training: orm.CalcJobNode | None = None
    datasets: tuple[DatasetData, ...] = ()

    @property
    def n_labels(self) -> int:
        """Labels that its training was given, those that validated included."""
        return sum(block.n_frames for block in self.datasets)

    @property
    def functional(self) -> str | None:
        """Functional of these labels, or the one that the model itself names."""
        if self.datasets:
            return str(self.datasets[0].base.attributes.get("functional"))
        return self.model.base.attributes.get("references_of", None)

    @property
    def validation(self) -> dict[str, Any]:
        """Errors on the labels that validated, as in ``MaceModelData.errors``; empty where it does not say."""
        return dict((self.model.errors or {}).get("validation") or {})


def origin_of(model: MaceModelData) -> Origin:
    """The training that made *model*, its parent and its labels."""
    training = model.creator
    if not isinstance(training, orm.CalcJobNode) or training.process_label != MaceFineTuneCalculation.__name__:
        return Origin(model)
    # one that was imported without its inputs has none
    inputs = training.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
    blocks = tuple(block for _, block in sorted(inputs.get("datasets", {}).items()))
    return Origin(model, inputs.get("model"), training, blocks)


def lineage_of(model: MaceModelData) -> list[Origin]:
    """The model's origin, its parent's, and so on to the foundation."""
    chain = [origin_of(model)]
    while chain[-1].parent is not None:
        chain.append(origin_of(chain[-1].parent))
    return chain
