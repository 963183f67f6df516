"""The program of a fine-tuning job: ``python -m aiida_slhmc.worker.run_fine_tune [FOLDER]``, see ``fine_tune.py``."""

from __future__ import annotations

import sys

from aiida_slhmc.worker.import_mace import import_mace

if __name__ == "__main__":
    import_mace()
    # only now, because it imports MACE
    from aiida_slhmc.worker.fine_tune import main

    sys.exit(main())
