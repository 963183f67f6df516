"""What a job spends before it begins: MACE imported in full, and without what no job uses.

python benchmarks/start_up.py

CPU time and memory of processes that import the potential and do nothing else, in turn.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

IMPORT = "import aiida_slhmc.worker.potential"
VARIANTS = {
    "in full": IMPORT,
    "as jobs do": f"from aiida_slhmc.worker.import_mace import import_mace; import_mace(); {IMPORT}",
}
MEASURE = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
N_RUNS = 5


def main() -> None:
    """Measure, and print a table."""
    results: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
    for _ in range(N_RUNS):
        for name, script in VARIANTS.items():
            command = [sys.executable, "-W", "ignore", "-c", f"{script}\n{MEASURE}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[name].append([float(value) for value in done.stdout.splitlines()[-1].split()])
    print("MACE imported   CPU (s, median; least)   memory (MB)")
    for name, rows in results.items():
        seconds, memory = np.transpose(rows)
        print(f"{name:13}   {np.median(seconds):15.2f}; {seconds.min():.2f}   {np.median(memory):11.0f}")
    medians = [np.median(np.transpose(rows)[0]) for rows in results.values()]
    print(f"ratio {medians[0] / medians[1]:.2f}")


if __name__ == "__main__":
    main()
