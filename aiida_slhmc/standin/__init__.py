"""A stand-in for VASP: reads VASP's input files, writes VASP's output files, computes no DFT.

This file imports nothing, so that a reader of labels can ask for ``STANDIN_VERSION`` without LAMMPS or ASE.
"""

__all__ = ("STANDIN_VERSION",)

STANDIN_VERSION = "6.999.0"
"""What the stand-in calls itself where VASP puts its version: a number that VASP will not have.

aiida-vasp copies it from vasprun.xml to ``misc["version"]``, so ``misc["version"] == STANDIN_VERSION`` tells a label
of the stand-in from one of VASP by the node alone. It is a bare number because aiida-vasp's parser keeps only the
first three integers of a version, and begins with 6 because that parser shuffles the energies of version 5. The files
themselves add in words that no DFT is behind them.
"""
