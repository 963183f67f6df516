"""The sampler as pure functions of arrays. NumPy only."""
