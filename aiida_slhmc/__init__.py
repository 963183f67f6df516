"""Self-learning hybrid Monte Carlo with MACE and a density functional, as an AiiDA plugin.

This file imports nothing: it travels with every job to the compute node, where AiiDA is not installed.
"""

__version__ = "0.1.0"
