"""Every failure of the stand-in, through the label work chain: its exit code, or its recovery with the label marked."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from fixtures import label_of

from aiida_slhmc.standin.misbehave import MODES
from aiida_slhmc.targets.vasp import VaspLabelWorkChain

CODES = VaspLabelWorkChain.exit_codes
NORMAL = {"algo": "Normal", "nelm": 200}
ALL = {"algo": "All", "nelm": 300}
FAILED_TWICE = CODES.ERROR_CALCULATION_FAILED.status

# mode: ALGO to begin with, exit statuses of the calculations (None: excepted), that of the work chain, the recovery
OUTCOMES: dict[str, tuple[str, list[int | None], int, dict[str, object]]] = {
    "not_converged": ("Fast", [701, 701, 701], CODES.ERROR_NOT_CONVERGED.status, {}),
    "not_converged_normal": ("Fast", [701, 0], 0, NORMAL),
    "brmix": ("Fast", [703, 703, 703], CODES.ERROR_NOT_CONVERGED.status, {}),
    "brmix_normal": ("Fast", [703, 0], 0, NORMAL),
    "zhegv": ("Fast", [1002, 1002, 0], 0, ALL),
    "nan": ("Normal", [None, None], FAILED_TWICE, {}),
    "overflow": ("Normal", [1002, 1002], FAILED_TWICE, {}),
    "truncated": ("Normal", [1002, 1002], FAILED_TWICE, {}),
    "no_timing": ("Normal", [700, 700], FAILED_TWICE, {}),
    "killed": ("Normal", [1002, 1002], FAILED_TWICE, {}),
    "no_xml": ("Normal", [352, 352], FAILED_TWICE, {}),
    "missing_forces": ("Normal", [1002, 1002], FAILED_TWICE, {}),
    "missing_stress": ("Normal", [1002, 1002], FAILED_TWICE, {}),
    # without a WAVECAR to start from it does not fail; with one, see below
    "bad_wavecar": ("Normal", [0], 0, {}),
    "slow": ("Normal", [0], 0, {}),
}


def calculations(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return [child for child in node.called if isinstance(child, orm.CalcJobNode)]


def statuses(node: orm.WorkChainNode) -> list[int | None]:
    return [None if child.is_excepted else child.exit_status for child in calculations(node)]


def recovery_of(node: orm.WorkChainNode) -> dict[str, object]:
    return node.outputs.label.base.attributes.get("recovery")


def test_every_mode_is_tried() -> None:
    """Fails where the stand-in learns a failure whose end is not known."""
    assert OUTCOMES.keys() == MODES.keys()


@pytest.mark.parametrize("mode", OUTCOMES)
def test_each_failure_has_its_end(label, structure, mode: str) -> None:
    """Fails where a failure ends elsewhere, is tried again for ever, or gives a label that is wrong or not marked."""
    algorithm, expected, exit_status, recovery = OUTCOMES[mode]
    node = label(mode, algo=algorithm, nelm=20)
    assert statuses(node) == expected
    assert node.exit_status == exit_status, node.exit_message
    if exit_status:
        assert "label" not in node.outputs
        assert mode != "nan" or "nan and inf" in node.exit_message
        return
    assert recovery_of(node) == recovery
    assert node.outputs.label.energy == pytest.approx(label_of(structure.get_ase())["energy"], abs=1e-9)


def test_recovery_changes_the_incar_alone(label) -> None:
    """Fails where k-points, potentials, settings or any other tag is another than asked for, or not on record."""
    node = label("not_converged_normal", algo="Fast")
    first, second = calculations(node)
    assert second.inputs.parameters.get_dict() == first.inputs.parameters.get_dict() | NORMAL
    assert second.inputs.parameters.creator.process_label == "change_electronic_settings"
    assert second.inputs.parameters.creator.inputs.parameters.uuid == node.inputs.parameters.uuid
    others = [
        {link.link_label: link.node.uuid for link in child.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()}
        for child in (first, second)
    ]
    assert others[0].pop("parameters") != others[1].pop("parameters")
    assert others[0] == others[1]


def test_repetition_is_no_answer_of_the_cache(label) -> None:
    """Fails where, with caching, a job that was shot is not tried again but its failure taken as the answer."""
    with enable_caching():
        node = label("killed")
    assert statuses(node) == [1002, 1002]
    assert not any(child.base.caching.is_created_from_cache for child in calculations(node))


@pytest.mark.parametrize(
    ("functional", "tags", "ways"),
    [
        ("pbe", {"algo": "Fast"}, [NORMAL, ALL]),
        ("pbe", {"algo": "Fast", "nelm": 250}, [NORMAL | {"nelm": 250}, ALL]),
        ("pbe", {"nelm": 200}, [ALL]),  # the first would change nothing
        ("hse06", {}, [{"algo": "Damped", "time": 0.5, "nelm": 300}, {"algo": "Damped", "time": 0.2, "nelm": 500}]),
    ],
)
def test_ways_to_the_ground_state(inputs_of, functional: str, tags: dict[str, object], ways: object) -> None:
    """Fails where a recovery has fewer iterations than asked for, repeats what failed, or mixes a hybrid's density."""
    inputs = inputs_of(functional=functional, **tags)
    process = instantiate_process(get_manager().get_runner(), VaspLabelWorkChain, **inputs)
    assert list(process.convergence_recoveries()) == ways
