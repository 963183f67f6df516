"""Targets: one adapter per electronic-structure engine."""
