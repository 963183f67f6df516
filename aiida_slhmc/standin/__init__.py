"""A stand-in for VASP: reads VASP's input files, writes VASP's output files, computes no DFT."""
