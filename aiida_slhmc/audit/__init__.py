"""A referee's check: everything that can be made anew from an archive alone is made anew, and compared."""
