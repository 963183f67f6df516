"""Calculation function that writes the tables and figures of a study."""

from __future__ import annotations

import json
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_slhmc.analysis.study.checks import checks, checks_markdown
from aiida_slhmc.analysis.study.figures import draw_figures
from aiida_slhmc.analysis.study.formatting import to_csv, to_markdown
from aiida_slhmc.analysis.study.samples import ENSEMBLES, Sample, Study
from aiida_slhmc.analysis.study.summary import summary
from aiida_slhmc.analysis.study.tables import table_1_markdown, table_1_npt, table_1_nvt, table_a2, titles

__all__ = ("PARTS", "REPORTED", "report_study")

# exit status of report_study
UNKNOWN_INPUT = 400
# outputs of a transfer, and the first part of their names as inputs of the report
REPORTED = {
    "metrics": "metrics",
    "curves": "curves",
    "comparisons": "comparison",
    "forward": "forward",
    "histories": "history",
}
LISTS = (*REPORTED.values(), "requested")
# parts of a transfer that may be asked for or not, and are missed in the tables where they failed
PARTS = (*ENSEMBLES, "relabel")
STAND_IN = "The labels come from a stand-in; these numbers are not DFT's.\n\n"


@calcfunction
def report_study(**nodes: orm.Data) -> dict[str, Any] | ExitCode:
    """Tables, checks and figures of a study, from the analyses of its trajectories; whatever is missing is left out.

    :param nodes: ``metrics_X`` and ``curves_X``, outputs of
        :func:`~aiida_slhmc.calculations.structure_analysis.analyse_structure` for the sample X; ``comparison_X`` of
        :func:`~aiida_slhmc.calculations.structure_analysis.compare_structure`; ``forward_X`` of
        :func:`~aiida_slhmc.calculations.structure_analysis.forward_errors`; ``history_F_E``, the history of the run
        towards the functional F in the ensemble E; ``requested_F_P``, the name of the functional F (Str), of which the
        part P was asked for, an ensemble or ``relabel``, the control: where it is missing, the checks say so;
        ``experiment``, see :func:`aiida_slhmc.analysis.study.experiment.check_experiment`.
    :returns: ``tables``, everything in numbers (see :func:`aiida_slhmc.analysis.study.summary.summary`), and ``files``:
        ``table1``, ``table_a2`` and ``checks`` as ``.csv`` and ``.md``, ``summary.json`` and ``figures/*.png``.
    """
    try:
        study = _read(nodes)
    except ValueError as error:
        return ExitCode(UNKNOWN_INPUT, str(error))
    content = summary(study)
    files = orm.FolderData()
    texts = _texts(study) | {"summary.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n"}
    contents = {name: text.encode() for name, text in texts.items()}
    contents |= {f"figures/{name}.png": picture for name, picture in draw_figures(study).items()}
    for name, value in contents.items():
        files.base.repository.put_object_from_bytes(value, name)
    return {"tables": orm.Dict(content), "files": files}


def _read(nodes: dict[str, orm.Data]) -> Study:
    """The nodes as plain content, sorted by their names.

    :raises ValueError: for a name that no input has.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in LISTS}
    experiment = {}
    for name in sorted(nodes):
        kind, _, suffix = name.partition("_")
        if name == "experiment":
            experiment = nodes[name].get_dict()
        elif kind in found and suffix:
            found[kind][suffix] = nodes[name]
        else:
            raise ValueError(f"{name} is no input of a report: {', '.join(f'{kind}_…' for kind in LISTS)}, experiment")
    curves = {
        suffix: {key: node.get_array(key) for key in node.get_arraynames()} for suffix, node in found["curves"].items()
    }
    requested = [(node.value, _split("requested", suffix, PARTS)[1]) for suffix, node in found["requested"].items()]
    return Study(
        requested=requested,
        samples=[
            Sample(metrics=node.get_dict(), curves=curves.get(suffix, {})) for suffix, node in found["metrics"].items()
        ],
        comparisons=[node.get_dict() for node in found["comparison"].values()],
        forward=[node.get_dict() for node in found["forward"].values()],
        histories=[_run_of(suffix) | node.get_dict() for suffix, node in found["history"].items()],
        experiment=experiment,
    )


def _run_of(suffix: str) -> dict[str, str]:
    functional, ensemble = _split("history", suffix, ENSEMBLES)
    return {"functional": functional, "ensemble": ensemble}


def _split(kind: str, suffix: str, parts: tuple[str, ...]) -> tuple[str, str]:
    functional, _, part = suffix.rpartition("_")
    if not functional or part not in parts:
        raise ValueError(f"a {kind} is named {kind}_<functional>_<{', '.join(parts)}>, not {kind}_{suffix}")
    return functional, part


def _texts(study: Study) -> dict[str, str]:
    """The tables by the names of their files."""
    head = STAND_IN if study.is_stand_in else ""
    return {
        "table1.csv": to_csv([*table_1_nvt(study), *table_1_npt(study)]),
        "table1.md": head + table_1_markdown(study),
        "table_a2.csv": to_csv(table_a2(study)),
        "table_a2.md": head + to_markdown(table_a2(study), titles(study)),
        "checks.csv": to_csv(checks(study)),
        "checks.md": head + checks_markdown(study),
    }
