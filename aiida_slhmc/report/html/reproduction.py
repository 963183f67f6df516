"""How to run it again: the inputs as YAML, and the commands."""

from __future__ import annotations

from typing import Any

import yaml
from aiida import orm
from aiida.common.links import LinkType

__all__ = ("commands", "inputs_as_yaml")

# of the options of jobs; they name people, accounts and places on a computer, which are nobody else's business
PRIVATE = {
    "account",
    "append_text",
    "custom_scheduler_commands",
    "environment_variables",
    "import_sys_environment",
    "prepend_text",
    "qos",
    "queue_name",
}
REPLACED = "(left out: belongs to the computer)"


def inputs_as_yaml(process: orm.ProcessNode) -> str:
    """The inputs by their names: values of plain ones, and what the others are, with their uuids.

    Options of jobs that name accounts or places on a computer are left out.
    """
    links = process.base.links.get_incoming(link_type=(LinkType.INPUT_WORK, LinkType.INPUT_CALC)).nested()
    return yaml.safe_dump(_plain(links), sort_keys=True, allow_unicode=True, default_flow_style=None, width=110)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, orm.Dict):
        return _public(value.get_dict())
    if isinstance(value, orm.List):
        return list(value.get_list())
    if isinstance(value, orm.Int | orm.Float | orm.Str | orm.Bool):
        return value.value
    return _described(value)


def _public(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: REPLACED if key in PRIVATE and item else _public(item) for key, item in content.items()}
    return [_public(item) for item in content] if isinstance(content, list) else content


def _described(node: orm.Node) -> str:
    """Type, label or formula, and uuid; a code by its label alone, since its path is of no use elsewhere."""
    name = node.label
    if isinstance(node, orm.StructureData):
        name = node.get_formula()
    elif not name:
        name = str(node.base.attributes.get("formula", None) or node.base.attributes.get("symbol", None) or "")
    return " ".join(part for part in (type(node).__name__, name, node.uuid) if part)


def commands(process: orm.ProcessNode) -> str:
    """What to type to look further, to share the run, to check it and to run it again."""
    pk, uuid = process.pk, process.uuid
    lines = [
        "# look further",
        f"verdi process report {pk}",
        f"verdi process status {pk}",
        f"aiida-slhmc chain {pk}",
        "",
        "# share it with all that it came from, without hosts, accounts and POTCARs, and make every number of it anew",
        f"aiida-slhmc dataset export-run {pk} run.aiida",
        "python examples/rebuild_study.py run.aiida",
        "",
        "# run it again with the same inputs and the same random numbers; the daemon has to run",
        "verdi shell",
        "from aiida.engine import submit",
        f'builder = load_node("{uuid}").get_builder_restart()',
        "# where the run was imported it has no codes and no POTCARs: give yours to all parts of the builder, such as",
        '# builder.proposal.code = load_code("python@cluster")',
        "submit(builder)",
    ]
    if process.process_label == "SlhmcWorkChain":
        lines += [
            "",
            "# go on from its end with more labels; where the run was imported, also with --python-code and --code",
            f"aiida-slhmc launch slhmc --restart {pk} --label-budget 200 --submit",
        ]
    return "\n".join(lines)
