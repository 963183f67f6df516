"""AiiDA's directives ``aiida-workchain`` and ``aiida-calcjob``, with exit codes, and with help texts as Markdown.

AiiDA's own show inputs, outputs and outline; the exit codes are left out, and docstrings become one paragraph. They are
replaced here by subclasses of the same names, so that the pages are written as for AiiDA's.
"""

from __future__ import annotations

from typing import Any

from aiida.sphinxext.calcjob import AiidaCalcJobDirective
from aiida.sphinxext.process import AiidaProcessDirective
from aiida.sphinxext.workchain import AiidaWorkchainDirective
from docstrings import description
from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def parsed(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """The nodes that *text* makes in the language of the page."""
    container = nodes.Element()
    lines = StringList(text.splitlines(), source="docstring")
    directive.state.nested_parse(lines, directive.content_offset, container)
    return container.children


class _WithExitCodes(AiidaProcessDirective):
    """What both have in common."""

    def build_content(self) -> addnodes.desc_content:
        """AiiDA's content with the docstring parsed and a table of the exit codes."""
        content = super().build_content()
        # AiiDA's first paragraph is the docstring as it stands
        content.children[0:1] = parsed(self, description(self.process.__doc__))
        content += self._exit_codes()
        return content

    def build_port_content(self, name: str, port: Any) -> list[nodes.Node]:
        """AiiDA's line about a port, its help parsed as a part of this page."""
        text, port.help = port.help, None
        try:
            line = super().build_port_content(name, port)
        finally:
            port.help = text
        if text:
            line.append(nodes.Text(" – "))
            # list items consist of inline nodes here, so the help's paragraphs are opened
            for block in parsed(self, description(text)):
                line.extend([*block.children, nodes.Text(" ")])
        return line

    def build_portnamespace_doctree(self, port_namespace: Any) -> nodes.Node | None:
        """AiiDA's list of a namespace; one that may have any ports and has none is said to be so."""
        listed = super().build_portnamespace_doctree(port_namespace)
        if listed is None and port_namespace is not None and getattr(port_namespace, "dynamic", False):
            return nodes.paragraph(text="Any names.")
        return listed

    def _exit_codes(self) -> list[nodes.Node]:
        # those below 200 are AiiDA's, the same for all processes
        own = {name: code for name, code in self.process_spec.exit_codes.items() if code.status >= 200}
        names = sorted(own, key=lambda name: own[name].status)
        rows = [f"| {own[name].status} | `{name}` | {_cell(own[name].message)} |" for name in names]
        table = "\n".join(["| exit status | name | message |", "|---|---|---|", *rows])
        title = nodes.paragraph("", "", nodes.strong(text="Exit codes:"))
        return [title, *parsed(self, table)] if own else []


class WorkChainDirective(_WithExitCodes, AiidaWorkchainDirective):
    """A work chain."""

    annotation = "work chain "


class CalcJobDirective(_WithExitCodes, AiidaCalcJobDirective):
    """A calculation job."""

    annotation = "calculation job "


def _cell(message: str) -> str:
    """A message as a cell of a Markdown table; the names in braces are filled in when it happens."""
    return message.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace AiiDA's directives, whose extension has to have been loaded before."""
    app.add_directive_to_domain("py", "aiida-workchain", WorkChainDirective, override=True)
    app.add_directive_to_domain("py", "aiida-calcjob", CalcJobDirective, override=True)
    return {"parallel_read_safe": True}
