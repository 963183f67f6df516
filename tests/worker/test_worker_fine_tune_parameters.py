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
    given |= {"freeze": ["embedding"], "selection": {"method": "window", "size": 8}, "lora": None}
    options = FineTuneParameters.from_dict(given)
    assert options.uses_stress
    assert FineTuneParameters.from_dict(options.to_dict()) == options
    assert options.to_dict()["references"] == given["references"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rat": 0.1}, "no training option 'learning_rat'; did you mean 'learning_rate'?"),
        ({"zzz": 1}, "no training option 'zzz'; there are amsgrad, batch_size"),
        ({"references": {"metod": "keep"}}, "no option of references 'metod'; did you mean 'method'?"),
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
        ({"scheduler": "cosin"}, "scheduler must be one of .*; did you mean 'cosine'?"),
        ({"scheduler_factor": 1.0}, "scheduler_factor must be less than 1"),
        ({"dtype": "float16"}, "dtype must be one of float64, float32"),
        ({"kernels": "cuequivarianc"}, "did you mean 'cuequivariance'?"),
        ({"gate_factor": 0.9}, "gate_factor must be at least 1"),
        ({"from_scratch": 1}, "from_scratch must be true or false"),
        ({"freeze": ["readout"]}, "did you mean 'readouts'?"),
        ({"freeze": "readouts"}, "freeze must be a list"),
        ({"freeze": ["embedding", "interactions", "products", "readouts"]}, "nothing to train"),
        ({"lora": {"rank": 0}}, "lora.rank must be a whole number of at least 1"),
        ({"lora": {}, "freeze": ["readouts"]}, "leave out freeze"),
        ({"lora": {}, "from_scratch": True}, "leave out freeze and from_scratch"),
        ({"selection": {"method": "window"}}, "selection.size goes with"),
        ({"selection": {"size": 3}}, "selection.size goes with"),
        ({"selection": {"method": "windw", "size": 3}}, "did you mean 'window'?"),
        ({"replay": {"weight": 0}}, "replay.weight must be greater than 0"),
        ({"replay": {"every": 0}}, "replay.every must be"),
        ({"hessian": {"weights": 1}}, "no option of hessian 'weights'; did you mean 'weight'?"),
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
