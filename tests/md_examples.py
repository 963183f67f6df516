"""Inputs, frames and states of small runs of molecular dynamics."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

OPTIONS = {"n_steps": 6, "sampling_interval": 2, "temperature": 300.0, "seed": 5, "device": "cpu"}
RESULT = {
    "status": "finished",
    "message": "",
    "n_steps": 6,
    "n_equilibration_steps": 0,
    "n_frames": 3,
    "steps_per_second": 20.0,
    "seconds": 1.5,
    "device": "cpu",
}


def frames(n: int = 3, first: int = 2, interval: int = 2, **changes: Any) -> dict[str, Any]:
    """So many frames of six atoms, from step *first* on."""
    generator = np.random.default_rng(first)
    steps = first + interval * np.arange(n)
    made = {
        "steps": steps,
        "times": 1.0 * steps,
        "positions": generator.normal(size=(n, 6, 3)),
        "cells": np.tile(5.0 * np.eye(3), (n, 1, 1)),
        "potential_energies": -40.0 + generator.normal(size=n),
        "temperatures": 300.0 + 30 * generator.normal(size=n),
        "volumes": np.full(n, 125.0),
        "conserved_energies": -39.0 + 6e-6 * steps,
    }
    return made | changes


def state(step: int = 6, n_coordinates: int = 18, **changes: Any) -> dict[str, Any]:
    """Of Ti2O4."""
    generator = np.random.default_rng(abs(step))
    made = {
        "numbers": np.array([22, 22, 8, 8, 8, 8]),
        "masses": np.array([47.867, 47.867, 15.999, 15.999, 15.999, 15.999]),
        "reference_cell": 5.0 * np.eye(3),
        "cell": 5.0 * np.eye(3),
        "positions": generator.normal(size=(6, 3)),
        "coordinates": generator.normal(size=n_coordinates),
        "momenta": generator.normal(size=n_coordinates),
        "chain_positions": generator.normal(size=(4, n_coordinates)),
        "chain_velocities": generator.normal(size=(4, n_coordinates)),
        "step": np.array(step),
    }
    return made | changes


def npz(content: dict[str, Any]) -> bytes:
    handle = io.BytesIO()
    np.savez(handle, **content)
    return handle.getvalue()
