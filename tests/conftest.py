# not by `pytest_plugins`: pytest has a plugin called "fixtures" of its own
from fixtures import (  # noqa: F401
    computer,
    family,
    foundation,
    labelled,
    python_code,
    structure,
    vasp_code,
    walkers,
)

pytest_plugins = ["aiida.tools.pytest_fixtures"]
