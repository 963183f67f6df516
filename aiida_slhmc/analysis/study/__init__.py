"""Tables and figures of a study: several functionals and ensembles, each with its models and its reference.

Functions of plain dictionaries and arrays; NumPy and Matplotlib.
"""
