"""A study of which a part fails: what there is, is reported, and the exit code names the part."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching

from aiida_slhmc.standin.misbehave import FAILURE
from aiida_slhmc.workflows.study import StudyWorkChain
from aiida_slhmc.workflows.transfer import TransferWorkChain

STUDY, TRANSFER = StudyWorkChain.exit_codes, TransferWorkChain.exit_codes


@pytest.fixture(scope="module")
def no_python(computer) -> orm.InstalledCode:
    """An interpreter that does nothing."""
    made = orm.InstalledCode(
        label="no-python", computer=computer, filepath_executable="/bin/false", default_calc_job_plugin="slhmc.mace_md"
    )
    made.with_mpi = False
    return made.store()


def transfer_of(study: orm.WorkChainNode) -> orm.WorkChainNode:
    return next(node for node in study.called if node.process_label == "TransferWorkChain")


def test_without_the_foundations_dynamics_nothing_is_begun(study_builder, no_python):
    builder = study_builder()
    builder.foundation.nvt["code"] = no_python
    del builder.foundation["npt"], builder.foundation["pool"]
    _, study = run_get_node(builder)
    assert study.exit_status == STUDY.ERROR_FOUNDATION_FAILED.status
    assert "MdWorkChain" in study.exit_message
    assert [node.process_label for node in study.called] == ["MdWorkChain"]


def test_without_any_label_there_is_nothing_to_report(study_builder):
    builder = study_builder(ensembles={"npt": None}, control=None)
    del builder.foundation["nvt"]
    target = builder.functionals["pbe"]["nvt"]["slhmc"]["target"]
    target["options"] = orm.Dict(target["options"].get_dict() | {"prepend_text": f"export {FAILURE}=no_xml"})
    _, study = run_get_node(builder)
    assert study.exit_status == STUDY.ERROR_NO_TRANSFER.status
    transfer = transfer_of(study)
    assert transfer.exit_status == TRANSFER.ERROR_SLHMC_FAILED.status
    assert "slhmc_nvt" in transfer.exit_message
    assert "SlhmcWorkChain" in transfer.exit_message


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_control_that_fails_is_named_and_the_rest_reported(study_builder, study):
    """All jobs but those of the control come from the cache of the study that went well."""
    builder = study_builder()
    # more frames than the pool has are found out when as many are asked for as there are labels
    selection = {"method": "every", "n_frames": 2, "every": 1, "skip": 18}
    builder.functionals["pbe"]["relabel"]["selection"] = orm.Dict(selection)
    with enable_caching():
        _, incomplete = run_get_node(builder)
    assert incomplete.exit_status == STUDY.ERROR_INCOMPLETE.status
    transfer = transfer_of(incomplete)
    assert transfer.exit_status == TRANSFER.ERROR_INCOMPLETE.status
    assert "control: RelabelWorkChain" in transfer.exit_message
    rows = incomplete.outputs.files.base.repository.get_object_content("table1.csv", "r")
    assert "adapted" in rows
    assert "control" not in rows
    assert "control" in study.outputs.files.base.repository.get_object_content("table1.csv", "r")
