"""The sampler against molecular dynamics by LAMMPS with the same potential: a hot Lennard-Jones crystal, 32 atoms.

NVT and isotropic NPT at 80 K, not far from melting; orthorhombic NPT at 40 K, because at 70 K so small a box slides
into other stackings (in LAMMPS, too). NPT at 0.4 GPa. Our chains' model has an ε that is 5 % above the target's.

Compared: mean and variance of the potential energy, of the volume and of the lengths of the box, and the radial
distribution as neighbours per atom in shells of 0.1 Å up to 6.5 Å (those with more than 0.05 neighbours). Errors: from
64 independent walkers, and from 100 consecutive blocks of the LAMMPS run (10 000 steps each; correlations last some
hundred). These are about 100 comparisons, each asks for |z| < 4.5, and |z| is a t-statistic with about 100 degrees of
freedom: a correct sampler fails one of them with a probability of 0.2 %. (Seeds are fixed, but LAMMPS rounds
differently on other machines, so there its trajectories are others.)

Controls, at |z| > 6: chains that the model's energy drives, or at a temperature that is 10 % or a pressure that is
5 % off. N in place of N + 1 would move the volume by a fiftieth of its standard deviation, which is too little to be
seen here; the ideal gas shows it.
"""

from dataclasses import replace

import numpy as np
import pytest
from lammps_reference import label, molecular_dynamics
from lj_chain import SHELLS, Thermodynamics, Walk
from lj_smooth import LjSmooth, fcc

from aiida_slhmc.kernel.units import thermal_energy

pytestmark = pytest.mark.physical_validation

LIMIT, CONTROL = 4.5, 6.0
TARGET, MODEL = LjSmooth(0.0104, 3.405, 4.7), LjSmooth(1.05 * 0.0104, 3.405, 4.7)
SYSTEMS = {
    "nvt": Thermodynamics(80.0, 5.413),
    "npt-isotropic": Thermodynamics(80.0, 5.413, "isotropic", 0.4),
    "npt-orthorhombic": Thermodynamics(40.0, 5.334, "orthorhombic", 0.4),
}
TRAJECTORIES = {
    "nvt": {"n_steps": 12, "timestep": 16.0},
    "npt-isotropic": {"n_steps": 12, "timestep": 16.0, "cell_time_constant": 500.0},
    "npt-orthorhombic": {"n_steps": 16, "timestep": 14.0, "cell_time_constant": 400.0},
}
N_STEPS_OF_LAMMPS = 1_000_000
N_CYCLES, BURN_IN = 240, 40
RAREST_SHELL = 0.05  # neighbours per atom: below, counts are too few to be taken as Gaussian


def walk(name, **changes):
    return Walk(thermodynamics=SYSTEMS[name], target=TARGET, model=MODEL, **TRAJECTORIES[name], **changes)


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request):
    return request.param


@pytest.fixture(scope="module")
def reference(system):
    """LAMMPS's samples and ⟨β(P_int − P)Ω⟩."""
    return molecular_dynamics(TARGET, SYSTEMS[system], N_STEPS_OF_LAMMPS)


@pytest.fixture(scope="module")
def chain(system):
    return walk(system).run(N_CYCLES, BURN_IN)


def estimates(samples):
    """Independent estimates of each quantity, one for each walker or block."""
    scalars = {"energy": samples.energy}
    if np.ptp(samples.volume) > 1e-6:
        scalars["volume"] = samples.volume
    if np.ptp(samples.lengths, axis=-1).max() > 1e-6:
        scalars |= {f"length {axis}": samples.lengths[..., i] for i, axis in enumerate("xyz")}
    means = {f"mean of {name}": values.mean(axis=0) for name, values in scalars.items()}
    variances = {
        f"variance of {name}": np.mean((values - values.mean()) ** 2, axis=0) for name, values in scalars.items()
    }
    shells = {f"shell to {SHELLS[i + 1]:.1f} Å": samples.shells[..., i].mean(axis=0) for i in range(len(SHELLS) - 1)}
    return means | variances | shells


def comparison(samples, reference):
    """Ours, LAMMPS's, their errors and z for each quantity."""
    table = {}
    theirs = estimates(reference)
    for name, values in estimates(samples).items():
        means = [part.mean() for part in (values, theirs[name])]
        errors = [part.std(ddof=1) / np.sqrt(len(part)) for part in (values, theirs[name])]
        if not name.startswith("shell") or means[1] > RAREST_SHELL:
            table[name] = (means[0], errors[0], means[1], errors[1], (means[0] - means[1]) / np.hypot(*errors))
    return table


def largest(table, names=""):
    """Largest |z| of the quantities whose name has *names* in it."""
    return max(abs(row[-1]) for name, row in table.items() if names in name)


def statistic(quantity):
    """The row's name in the table of the validation."""
    return {"shell": "radial distribution"}.get(quantity, quantity) + ", largest |z| against LAMMPS"


def error(row):
    """Of the difference."""
    return np.hypot(row[1], row[3])


def text(table):
    lines = ["quantity: ours, LAMMPS, z"]
    for name, (our_mean, our_error, mean, error, z) in table.items():
        lines.append(f"{name:22} {our_mean:11.5f} ± {our_error:.5f} {mean:11.5f} ± {error:.5f} {z:6.2f}")
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(3))
def test_same_potential(seed):
    """Energy, forces and stress of atoms off their sites in triclinic cells."""
    generator = np.random.default_rng(seed)
    positions, cell = fcc(5.5)
    deformation = np.eye(3) + generator.normal(0, 0.03, (3, 3))
    positions = (positions + generator.normal(0, 0.2, positions.shape)) @ deformation
    ours = TARGET(positions[None], (cell @ deformation)[None])
    for values, expected in zip(ours, label(TARGET, positions, cell @ deformation), strict=True):
        # the stress by 1e-7 of itself: LAMMPS's bar is an older one
        np.testing.assert_allclose(values[0], expected, rtol=2e-7, atol=1e-10)


class TestAgainstLammps:
    @pytest.mark.parametrize("quantity", ["energy", "volume", "length", "shell"])
    def test_same_ensemble(self, system, chain, reference, quantity, validation):
        table = {name: row for name, row in comparison(chain.samples, reference[0]).items() if quantity in name}
        if not table:
            pytest.skip(f"{quantity} does not vary in {system}")
        print(f"\n{system}, {text(table)}")
        validation.claim(f"LJ crystal, {system}", statistic(quantity), largest(table), below=LIMIT)

    def test_errors_are_small(self, chain, reference):
        """A twentieth of a standard deviation for means, a twelfth of itself for variances, or it would say little."""
        table = comparison(chain.samples, reference[0])
        for name in ("energy", "volume"):
            if f"variance of {name}" in table:
                variance = table[f"variance of {name}"][2]
                assert error(table[f"mean of {name}"]) < variance**0.5 / 20
                assert error(table[f"variance of {name}"]) < variance / 12

    def test_model_is_wrong_and_the_chain_at_work(self, system, chain):
        """Acceptance is below one for the mismatch; Creutz's identity holds, with walkers' means as estimates."""
        assert 0.5 < chain.accepted.mean() < 0.95
        weights = np.exp(-chain.delta_h / thermal_energy(SYSTEMS[system].temperature)).mean(axis=0)
        assert abs(weights.mean() - 1) < LIMIT * weights.std(ddof=1) / np.sqrt(len(weights))

    def test_exponent_of_the_volume_in_the_reference(self, system, reference):
        """⟨β(P_int − P)Ω⟩ = −1 says that LAMMPS sampled Ω^N, see `lammps_reference`."""
        if SYSTEMS[system].strains is None:
            pytest.skip("the volume is fixed")
        assert reference[1] == pytest.approx(-1, abs=0.01)


def test_usual_npt_of_lammps_has_another_exponent():
    """With ``fix npt`` and zero total momentum the same average is −1 + 1/N: the volume's exponent is N − 1 − 1/N."""
    name = "npt-isotropic"
    _, virial = molecular_dynamics(TARGET, SYSTEMS[name], N_STEPS_OF_LAMMPS // 4, usual_npt=True)
    assert virial == pytest.approx(-1 + 1 / 32, abs=0.01)


class TestNegativeControls:
    """Short chains; each has to fail in the quantity that its fault moves most."""

    def test_model_energy_in_place_of_the_target(self, system, reference, validation):
        samples = replace(walk(system), target=MODEL).run(100, BURN_IN).samples
        self._record(validation, system, samples, reference, "shell", "V_M for V_T")

    def test_temperature(self, system, reference, validation):
        cold = replace(SYSTEMS[system], temperature=0.9 * SYSTEMS[system].temperature)
        samples = replace(walk(system), thermodynamics=cold).run(60, BURN_IN).samples
        quantity = "energy" if SYSTEMS[system].strains is None else "volume"
        self._record(validation, system, samples, reference, quantity, "temperature 10 % off")

    def test_pressure(self, system, reference, validation):
        if SYSTEMS[system].strains is None:
            pytest.skip("no pressure in NVT")
        loose = replace(SYSTEMS[system], pressure=0.95 * SYSTEMS[system].pressure)
        samples = replace(walk(system), thermodynamics=loose).run(40, BURN_IN).samples
        self._record(validation, system, samples, reference, "volume", "pressure 5 % off")

    def _record(self, validation, system, samples, reference, quantity, spoilt):
        table = comparison(samples, reference[0])
        print(f"\n{system}, {spoilt}: {text({n: row for n, row in table.items() if not n.startswith('shell')})}")
        value = largest(table, quantity)
        validation.control(f"LJ crystal, {system}", statistic(quantity), spoilt, value, above=CONTROL)
