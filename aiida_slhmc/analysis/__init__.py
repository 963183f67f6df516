"""What a chain says about itself and about its ensemble, as functions of arrays. NumPy, SciPy and arviz-stats."""
