"""The directive ``needs``: a part of a page that can only be made where a package is installed.

    ````{needs} aiida_cp2k
    ```{aiida-workchain} Cp2kLabelWorkChain
    ...
    ````

Where the package is missing, the page says so in the place of that part.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class NeedsDirective(SphinxDirective):
    """The directive; its argument is the name of a package as it is imported."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The content, or a note."""
        (package,) = self.arguments
        if find_spec(package) is None:
            text = f"These pages were built without the package {package}, from which this part is made."
            return [nodes.note("", nodes.paragraph(text=text))]
        container = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("needs", NeedsDirective)
    return {"parallel_read_safe": True}
