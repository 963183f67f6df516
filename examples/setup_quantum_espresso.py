"""Set up what `qe_slhmc.py` needs in the loaded profile: localhost, codes, pseudopotentials, the LDA foundation model.

    verdi run examples/setup_quantum_espresso.py

`qe_slhmc.py` calls it, so you need not. What is there already is kept. The pseudopotentials are those that come with
Debian's Quantum ESPRESSO, ultrasoft ones made for LDA: real DFT, but not of publication quality. For your own work
install a tested family, such as SSSP with `aiida-pseudo install sssp`, and give its cutoffs in `target_options`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from aiida import orm
from aiida.plugins import DataFactory, GroupFactory

# under `verdi run`, the folder of the script is not searched for modules
sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))

from setup_demo import code, localhost

from aiida_slhmc.data.mace_model import MaceModelData

# under `verdi run`, __file__ is only the file's name
FOUNDATION = Path(sys.argv[0]).resolve().parent / "foundation" / "foundation_lda.safetensors"
PSEUDO_FOLDER = Path(os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo"))
PSEUDO_FILES = ("Ti.pz-sp-van_ak.UPF", "O.pz-van_ak.UPF")
PSEUDO_FAMILY = "espresso-lda"
INSTALL = "on Debian or Ubuntu: sudo apt-get install quantum-espresso quantum-espresso-data libopenblas0-serial"


def pw_executable() -> Path:
    """Where pw.x is."""
    found = shutil.which("pw.x")
    if found is None:
        raise SystemExit(f"pw.x of Quantum ESPRESSO is not on the PATH. Install it; {INSTALL}")
    return Path(found)


def pseudo_family() -> str:
    """The family of titanium's and oxygen's potentials."""
    family = GroupFactory("pseudo.family")
    if not family.collection.count(filters={"label": PSEUDO_FAMILY}):
        missing = [name for name in PSEUDO_FILES if not (PSEUDO_FOLDER / name).is_file()]
        if missing:
            raise SystemExit(
                f"{PSEUDO_FOLDER} has no {', '.join(missing)}. Install Quantum ESPRESSO's examples; {INSTALL}."
                " If they are elsewhere, set the environment variable ESPRESSO_PSEUDO to their folder."
            )
        with tempfile.TemporaryDirectory() as folder:
            for name in PSEUDO_FILES:
                shutil.copy(PSEUDO_FOLDER / name, folder)
            family.create_from_folder(Path(folder), PSEUDO_FAMILY, pseudo_type=DataFactory("pseudo.upf"))
    return PSEUDO_FAMILY


def foundation() -> MaceModelData:
    """The small MACE that was fitted to LDA by `foundation/train_lda_foundation.py`."""
    found = orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation-lda"}).first(flat=True)
    return found or MaceModelData(checkpoint=FOUNDATION, label="foundation-lda").store()


def set_up() -> None:
    """Make all that is missing."""
    here = localhost()
    code("python", Path(sys.executable), "slhmc.mace_proposal", here)
    code("pw", pw_executable(), "quantumespresso.pw", here)
    print(f"localhost, codes, pseudopotentials '{pseudo_family()}' and model {foundation().pk} are ready")


if __name__ == "__main__":
    set_up()
