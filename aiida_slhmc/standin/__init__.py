"""A stand-in for VASP: reads VASP's input files, writes VASP's output files, computes no DFT.

This file imports nothing, so that a reader of labels can ask for ``STANDIN_VERSION`` without LAMMPS or ASE.
"""

__all__ = ("STANDIN_VERSION",)

STANDIN_VERSION = "6.0.0-standin"
"""What the stand-in calls itself where VASP puts its version.

aiida-vasp copies it from vasprun.xml to ``misc["version"]``, so ``misc["version"] == STANDIN_VERSION`` tells a label
of the stand-in from one of VASP by the node alone. It begins with 6 because aiida-vasp shuffles the energies of
version 5.
"""
