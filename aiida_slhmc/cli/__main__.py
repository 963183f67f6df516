"""`python -m aiida_slhmc.cli` is the command, too: for a child process of the same interpreter."""

from __future__ import annotations

from aiida_slhmc.cli.root import main

if __name__ == "__main__":
    main(prog_name="aiida-slhmc")
