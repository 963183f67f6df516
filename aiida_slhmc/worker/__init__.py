"""What runs on the compute node. Imports the kernel, torch, mace and ase; never aiida."""
