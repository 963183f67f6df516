"""Ask the provenance graph of a self-learning run, with nothing but QueryBuilder.

    verdi run examples/query.py RUN_PK [CONFIGURATION_PK]

answers: which labels trained each checkpoint; which checkpoint proposed a configuration, whether it was accepted and
with what ΔH; and the chain of a walker, with repeats.
"""

from __future__ import annotations

import sys
from typing import Any

from aiida import orm
from aiida.orm import QueryBuilder

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain


def training_labels(run_pk: int) -> dict[int, list[int]]:
    """The pk of each label that trained each checkpoint of the run, by the checkpoint's pk; a committee's included."""
    query = QueryBuilder().append(orm.WorkChainNode, filters={"id": run_pk}, tag="run")
    query.append(FineTuneWorkChain, with_incoming="run", tag="fine_tune")
    query.append(MaceFineTuneCalculation, with_incoming="fine_tune", tag="training")
    query.append(MaceModelData, with_incoming="training", project="id")
    # not those that are replayed or only evaluated
    trained_on = {"label": {"like": "datasets%"}}
    query.append(DatasetData, with_outgoing="training", edge_filters=trained_on, tag="block")
    query.append(orm.CalcFunctionNode, with_outgoing="block", tag="collect")
    query.append(ConfigurationData, with_outgoing="collect", filters={"attributes.labelled": True}, project="id")
    labels: dict[int, list[int]] = {}
    for model, configuration in query.distinct().all():
        labels.setdefault(model, []).append(configuration)
    return {model: sorted(configurations) for model, configurations in sorted(labels.items())}


def proposer(configuration_pk: int) -> dict[str, Any] | None:
    """The checkpoint that proposed a labelled configuration, and the decision on it; None for a start."""
    query = QueryBuilder().append(ConfigurationData, filters={"id": configuration_pk}, tag="label")
    query.append(orm.CalcFunctionNode, with_outgoing="label", tag="reading")
    query.append(orm.StructureData, with_outgoing="reading", tag="structure", project="attributes.walker")
    query.append(MaceProposalCalculation, with_outgoing="structure", tag="proposal")
    # a committee is asked about the proposal, too
    query.append(MaceModelData, with_outgoing="proposal", edge_filters={"label": "model"}, project="id")
    query.append(orm.ArrayData, with_incoming="proposal", tag="proposals", edge_filters={"label": "proposals"})
    decides = {"attributes.process_label": "metropolis"}
    query.append(orm.CalcFunctionNode, with_incoming="proposals", filters=decides, tag="decide")
    query.append(orm.Dict, with_incoming="decide", project=["attributes.accepted", "attributes.delta_h"])
    row = query.first()
    if row is None:
        return None
    walker, model, accepted, delta_h = row
    return {"walker": walker, "model": model, "accepted": accepted[walker], "delta_h": delta_h[walker]}


def chain(run_pk: int, walker: int) -> list[int]:
    """The chain of a walker: the pk of its state after each cycle of all epochs; a rejection repeats the last."""
    query = QueryBuilder().append(orm.WorkChainNode, filters={"id": run_pk}, tag="run")
    query.append(orm.WorkChainNode, with_incoming="run", tag="epoch")
    decides = {"attributes.process_label": "metropolis"}
    query.append(orm.CalcFunctionNode, with_incoming="epoch", filters=decides, tag="decide")
    keys = ["attributes.epoch", "attributes.cycle", "attributes.accepted"]
    query.append(orm.Dict, with_incoming="decide", project=keys)
    for name in ("state", "label"):
        edge = {"label": f"{name}_{walker}"}
        query.append(ConfigurationData, with_outgoing="decide", edge_filters=edge, project="id")
    return [label if accepted[walker] else state for _, _, accepted, state, label in sorted(query.all())]


def main() -> None:
    """Print the three answers."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    run_pk = int(sys.argv[1])
    for model, labels in training_labels(run_pk).items():
        print(f"checkpoint {model} was trained on {len(labels)} labels: {labels[0]} … {labels[-1]}")
    states = chain(run_pk, 0)
    print(f"chain of walker 0 (with repeats): {' '.join(map(str, states))}")
    configuration = int(sys.argv[2]) if len(sys.argv) > 2 else states[-1]
    origin = proposer(configuration)
    if origin is None:
        print(f"configuration {configuration} was not proposed: it is a start")
        return
    verdict = "accepted" if origin["accepted"] else "rejected"
    print(
        f"configuration {configuration} was proposed by checkpoint {origin['model']} for walker {origin['walker']} and"
        f" {verdict}, ΔH = {1000 * origin['delta_h']:.1f} meV"
    )


if __name__ == "__main__":
    main()
