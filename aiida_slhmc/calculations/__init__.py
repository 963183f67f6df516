"""Calculation jobs with their parsers, and the calculation functions of the loop."""
