"""Imports run one way through the parts of the package, and importing it touches no AiiDA profile."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aiida_slhmc

PACKAGE = Path(aiida_slhmc.__file__).parent
NAME = PACKAGE.name
# what each part may import of this package, besides itself; a new part is entered here
ALLOWED = {
    "kernel": set(),
    "analysis": {"kernel"},
    "worker": {"kernel"},
    "standin": set(),
    "data": {"worker.checkpoint_header"},
    "calculations": {"kernel", "analysis", "worker", "data"},
    "targets": {"kernel", "standin", "data", "calculations"},
    "workflows": {"kernel", "analysis", "worker", "data", "calculations", "targets"},
    "report": {"kernel", "analysis", "worker", "data", "calculations", "targets", "workflows"},
    "audit": {"kernel", "data", "calculations", "targets"},
    "sharing": {"kernel", "data", "calculations", "targets", "audit"},
    "cli": {
        "kernel",
        "analysis",
        "worker",
        "standin",
        "data",
        "calculations",
        "targets",
        "workflows",
        "report",
        "audit",
        "sharing",
    },
}
WITHOUT_AIIDA = {"kernel", "analysis", "worker", "standin"}
# modules that need a package which is not installed for the tests
OPTIONAL = {"aiida_slhmc.targets.cp2k": "aiida_cp2k"}


def imported_modules(source, module):
    """Every name that *source*, the text of *module*, imports, also inside functions; relative ones made absolute."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            # `from package import part` imports the part
            names |= {f"{base}.{alias.name}" for alias in node.names} if base == NAME else {base}
    return names


def violations(source, module):
    """Imports of *module* that its part may not have."""
    part = module.removeprefix(f"{NAME}.").split(".")[0]
    found = []
    for name in sorted(imported_modules(source, module)):
        top, *rest = name.split(".")
        if top == NAME:
            inner = ".".join(rest)
            # names that the package's own __init__ defines, such as __version__, are no part
            permitted = not rest or rest[0].startswith("__") or rest[0] == part
            permitted = permitted or any(inner == name or inner.startswith(f"{name}.") for name in ALLOWED[part])
        elif part == "kernel":
            permitted = top == "numpy" or top in sys.stdlib_module_names
        else:
            permitted = not (part in WITHOUT_AIIDA and (top == "aiida" or top.startswith("aiida_")))
        if not permitted:
            found.append(name)
    return found


def modules():
    """Name and path of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def is_importable(module):
    """Whether what *module* needs beside this package's own dependencies is there."""
    return module not in OPTIONAL or importlib.util.find_spec(OPTIONAL[module]) is not None


@pytest.mark.parametrize("module", [name for name in MODULES if name != NAME])
def test_imports_run_one_way(module):
    assert module.split(".")[1] in ALLOWED, f"{module} belongs to no known part: enter it in ALLOWED"
    assert violations(MODULES[module].read_text(), module) == []


def test_package_itself_imports_nothing():
    """It travels with every job to the compute node."""
    assert imported_modules(MODULES[NAME].read_text(), NAME) == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kernel.x", "import scipy"),
        ("kernel.x", "from ase import units"),
        ("kernel.x", "from aiida_slhmc.worker import job"),
        ("kernel.x", "from ..worker.job import Deadline"),
        ("analysis.x", "from aiida import orm"),
        ("worker.x", "import aiida"),
        ("worker.x", "def late():\n    from aiida.orm import Dict"),
        ("worker.x", "import aiida_vasp.parsers"),
        ("worker.x", "from aiida_slhmc.data.dataset import DatasetData"),
        ("worker.x", "from aiida_slhmc import data"),
        ("standin.x", "from aiida_slhmc.kernel.units import thermal_energy"),
        ("data.x", "from aiida_slhmc.worker.checkpoint import load_checkpoint"),
        ("data.x", "from aiida_slhmc.worker.checkpoint_headers import read"),
        ("data.x", "from aiida_slhmc import calculations"),
        ("calculations.x", "from aiida_slhmc.targets.base import load_target"),
        ("calculations.x", "if True:\n    import aiida_slhmc.workflows.epoch"),
        ("targets.x", "from aiida_slhmc.workflows import epoch"),
        ("workflows.x", "from aiida_slhmc.report.run_state import read"),
        ("workflows.x", "from aiida_slhmc.cli import main"),
        ("report.x", "from aiida_slhmc.cli import main"),
        ("audit.x", "from aiida_slhmc.workflows.epoch import EpochWorkChain"),
    ],
)
def test_control_the_checker_finds_it(module, source):
    """Negative control: made-up sources, each with one forbidden import and some that are not."""
    harmless = "import math\nimport numpy as np\nfrom aiida_slhmc import __version__\n"
    assert violations(harmless, f"{NAME}.{module}") == []
    assert len(violations(harmless + source, f"{NAME}.{module}")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kernel.x", "from .units import thermal_energy"),
        ("worker.x", "from aiida_slhmc.kernel.dynamics import leapfrog"),
        ("data.x", "from aiida_slhmc.worker.checkpoint_header import read_metadata"),
        ("calculations.x", "import aiida_slhmc"),
        ("report.x", "from aiida_slhmc.workflows.slhmc import SlhmcWorkChain"),
    ],
)
def test_control_the_checker_lets_pass(module, source):
    assert violations(source, f"{NAME}.{module}") == []


PROFILE = "from aiida.manage import get_manager; print(get_manager().get_profile())"


def test_importing_every_module_loads_no_profile(tmp_path):
    """Nodes and processes are defined at import; anything that asks the database then would break `verdi`'s start."""
    lines = [*(f"import {name}" for name in MODULES if is_importable(name)), PROFILE]
    environment = {**os.environ, "AIIDA_PATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "None"


@pytest.mark.usefixtures("aiida_profile")
def test_control_a_loaded_profile_is_seen(capsys):
    exec(PROFILE)
    assert capsys.readouterr().out.strip() != "None"


@pytest.mark.parametrize("part", sorted(part for part in WITHOUT_AIIDA if (PACKAGE / part).is_dir()))
def test_without_aiida_at_run_time(part, tmp_path):
    """What the parts import in turn brings no AiiDA in either: their modules load where importing it is an error."""
    names = [name for name in MODULES if name.startswith(f"{NAME}.{part}")]
    lines = ["import sys", "sys.modules['aiida'] = None", *(f"import {name}" for name in names)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
