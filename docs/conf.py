"""Sphinx's settings. `make docs` builds the pages into build/docs; a warning is an error there."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

# AiiDA's directives ask processes for their inputs, for which a profile has to be loaded: an empty one in memory
from aiida import load_profile  # noqa: E402
from aiida.common.warnings import AiidaDeprecationWarning  # noqa: E402
from aiida.storage.sqlite_temp import SqliteTempBackend  # noqa: E402

import aiida_slhmc  # noqa: E402

# autodoc looks at all attributes, those that AiiDA has deprecated included
warnings.filterwarnings("ignore", category=AiidaDeprecationWarning)
load_profile(SqliteTempBackend.create_profile("docs", filepath=tempfile.mkdtemp()), allow_switch=True)

project = "aiida-slhmc"
author = "The aiida-slhmc developers"
copyright = "2026, the aiida-slhmc developers"
release = version = aiida_slhmc.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "aiida.sphinxext",
    # of the folder docs/extensions
    "process_reference",
    "parameter_tables",
    "command_help",
    "needs",
    "executed",
]
exclude_patterns = ["extensions", "tutorial"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
# headings are targets of links, as they are on the forges
myst_heading_anchors = 3
# docstrings say `name` where they mean code
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = f"aiida-slhmc {release}"
html_static_path = ["static"]
html_css_files = ["executed.css", "pages.css"]
html_copy_source = False
