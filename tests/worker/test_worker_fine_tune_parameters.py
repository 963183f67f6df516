"""Options: defaults, ranges, and messages that help."""

import subprocess
import sys

import pytest

from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters


def test_defaults_are_the_papers():
    options = FineTuneParameters.from_dict({})
    assert (options.max_epochs, options.learning_rate, options.batch_size) == (50, 0.01, 8)
    assert (options.patience, options.scheduler_patience, options.validation_fraction) == (10, 5, 0.1)
    assert (options.loss, options.energy_weight, options.forces_weight) == ("energy_forces", 1.0, 100.0)
    assert not options.uses_stress


def test_round_trip():
    given = {
        "max_epochs": 3,
        "loss": "huber",
        "references": {"method": "explicit", "table": {"O": -1.0}, "refit": True},
    }
    options = FineTuneParameters.from_dict(given)
    assert options.uses_stress
    assert FineTuneParameters.from_dict(options.to_dict()) == options
    assert options.to_dict()["references"] == given["references"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rat": 0.1}, "unknown option 'learning_rat'; did you mean 'learning_rate'?"),
        ({"zzz": 1}, "unknown option 'zzz'; known: max_epochs"),
        ({"references": {"metod": "keep"}}, "unknown option of references 'metod'; did you mean 'method'?"),
        ({"references": {"method": "averge"}}, "did you mean 'average'"),
        ({"references": "keep"}, "must be a dictionary"),
        ({"references": {"method": "shift", "refit": 1}}, "references.refit must be true or false"),
        ({"references": {"method": "explicit"}}, "goes with"),
        ({"references": {"method": "keep", "table": {"O": 1.0}}}, "goes with"),
        ({"references": {"method": "explicit", "table": {"O": "x"}}}, "references.table.O"),
        ({"loss": "energy_force"}, "did you mean 'energy_forces'"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda"),
        ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1, not 0"),
        ({"max_epochs": 2.5}, "max_epochs must be a whole number"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"seed": -1}, "seed must be"),
        ({"learning_rate": 0}, "learning_rate must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number"),
        ({"forces_weight": -1}, "forces_weight must be at least 0"),
        ({"energy_weight": 0, "forces_weight": 0}, "nothing to learn"),
        ({"validation_fraction": 1}, "validation_fraction must be less than 1"),
        ({"validation_fraction": 0.0}, "validation_fraction must be greater than 0"),
        ({"ema_decay": 1.0}, "ema_decay must be less than 1"),
        ({"walltime_seconds": 0}, "walltime_seconds must be greater than 0"),
        ({"clip_gradient": "10"}, "clip_gradient must be a finite number"),
        ({"amsgrad": "yes"}, "amsgrad must be true or false"),
    ],
)
def test_refused(given, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        FineTuneParameters.from_dict(given)


def test_the_standard_library_is_enough():
    script = (
        "import sys; import aiida_slhmc.worker.fine_tune_parameters;"
        "print(sorted({'torch', 'mace', 'numpy', 'ase', 'aiida'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
