"""The Lennard-Jones crystal in LAMMPS: energy, forces and stress of a configuration, and molecular dynamics.

Ensembles. In NVT ``fix nvt`` (a Nosé–Hoover chain of 3, the default) with the momentum zeroed at the start: 3N − 3
degrees of freedom, like our momenta. In NPT ``fix nph`` (the equations of Martyna, Tobias and Klein, the barostat's own
chain of 3, the default) with ``fix langevin`` as the thermostat of the atoms, the centre of mass included, and
``compute_modify thermo_temp extra/dof 0``, because then all 3N momenta are thermal. That matters: the total momentum
is no degree of freedom of the potential, but it is one of the kinetic pressure, and the volume's density is

    Ω^N exp(−βPΩ) Z(Ω) with all 3N momenta,      Ω^(N−1−1/N) exp(−βPΩ) Z(Ω) with ``fix npt`` and zero total momentum

(Z(Ω) the configuration integral over fractional coordinates). The first is the NPT ensemble. Either exponent a can be
read off a run: as d/dΩ[Ω^(a+1) exp(−βPΩ) Z] integrates to zero, ⟨β(P_int − P)Ω⟩ = n − a − 1 where LAMMPS's P_int counts
n atoms' worth of kinetic pressure, n = N in the first case, N − 1 in the second: −1 and −1 + 1/N.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from lj_chain import MASS, SHELLS, Samples
from lj_smooth import fcc

from aiida_slhmc.kernel.units import EV_PER_CUBIC_ANGSTROM_IN_GPA, thermal_energy
from aiida_slhmc.standin.potential import run_lammps

BAR_PER_GPA = 1e4
BAR_ANGSTROM3_IN_EV = 1 / (EV_PER_CUBIC_ANGSTROM_IN_GPA * BAR_PER_GPA)
SKIN = 1.0  # Å
# the virial is the derivative of a momentum and sums to little; sampled seldom, its noise would hide that
EVERY, SHELLS_EVERY, VIRIAL_EVERY, N_BLOCKS = 10, 50, 2, 100
# ps; at 0.15 ps the barostat swings with a period of 16 time steps, which widens the distribution of volumes by 7 %
THERMOSTAT_TIME, BAROSTAT_TIME = 0.2, 1.0


def _setup(potential, positions, cell):
    """Data file and the commands that read it, for a *cell* in LAMMPS's frame: (data, commands)."""
    (xhi, _, _), (xy, yhi, _), (xz, yz, zhi) = cell.tolist()
    lines = ["LJ", "", f"{len(positions)} atoms", "1 atom types", ""]
    lines += [f"0 {high!r} {axis}lo {axis}hi" for axis, high in zip("xyz", (xhi, yhi, zhi), strict=True)]
    lines += [f"{xy!r} {xz!r} {yz!r} xy xz yz"] if any((xy, xz, yz)) else []
    lines += ["", "Atoms # atomic", ""]
    lines += [f"{i} 1 {x!r} {y!r} {z!r}" for i, (x, y, z) in enumerate(positions.tolist(), 1)]
    commands = f"""
        units metal
        atom_style atomic
        boundary p p p
        read_data data
        mass 1 {MASS}
        pair_style lj/smooth/linear {potential.cutoff}
        pair_coeff 1 1 {potential.epsilon!r} {potential.sigma!r}
        neighbor {SKIN} bin
    """
    return "\n".join(lines) + "\n", commands


def label(potential, positions, cell):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, positive under tension) of one configuration in any cell."""
    prism = Prism(Atoms(cell=cell).cell.array)
    rotated = prism.vector_to_lammps(positions)
    data, commands = _setup(potential, rotated, _lammps_cell(prism))
    commands += """
        thermo_style custom pe pxx pyy pzz pyz pxz pxy
        thermo_modify format float %.17g
        dump d all custom 1 dump id fx fy fz
        dump_modify d sort id format float %.17g
        run 0
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").write_text(data)
        lines = run_lammps(folder, commands).splitlines()
        forces = np.loadtxt(folder / "dump", skiprows=9)[:, 1:]
    row = next(i for i, line in enumerate(lines) if line.split()[:2] == ["PotEng", "Pxx"])
    energy, xx, yy, zz, yz, xz, xy = (float(word) for word in lines[row + 1].split())
    stress = -BAR_ANGSTROM3_IN_EV * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return energy, prism.vector_to_ase(forces), prism.tensor2_to_ase(stress)


def _lammps_cell(prism):
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    return np.array([[xhi, 0, 0], [xy, yhi, 0], [xz, yz, zhi]])


def molecular_dynamics(potential, thermodynamics, n_steps, *, timestep=4.0, seed=1, usual_npt=False):
    """*n_steps* of *timestep* (fs) after a tenth as many to equilibrate.

    :param usual_npt: ``fix npt`` with zero total momentum instead of what the module's text says.
    :returns: samples with the blocks of the run in the walkers' place, (time in the block, block), and in each the
        average of the shells; and ⟨β(P_int − P)Ω⟩.
    """
    data, commands = _setup(potential, *fcc(thermodynamics.lattice_constant))
    temperature, pressure = thermodynamics.temperature, BAR_PER_GPA * (thermodynamics.pressure or 0.0)
    commands += f"""
        comm_modify cutoff {SHELLS[-1] + SKIN + 0.1}
        timestep {timestep / 1000}
        velocity all create {2 * temperature} {seed} mom yes rot no dist gaussian
        {_integrator(thermodynamics, pressure, seed, usual_npt)}
        run {n_steps // 10}
        reset_timestep 0
        variable volume equal vol
        variable x equal lx
        variable y equal ly
        variable z equal lz
        variable virial equal (press-{pressure})*vol*{BAR_ANGSTROM3_IN_EV / thermal_energy(temperature)}
        compute shells all rdf {len(SHELLS) - 1} cutoff {SHELLS[-1]}
        fix series all ave/time {EVERY} 1 {EVERY} c_thermo_pe v_volume v_x v_y v_z file series format " %.12g"
        fix virial all ave/time {VIRIAL_EVERY} {n_steps // VIRIAL_EVERY} {n_steps} v_virial file virial
        fix shells all ave/time {SHELLS_EVERY} {n_steps // N_BLOCKS // SHELLS_EVERY} {n_steps // N_BLOCKS} &
            c_shells[3] mode vector file shells format " %.12g"
        run {n_steps}
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").write_text(data)
        run_lammps(folder, commands)
        series = np.loadtxt(folder / "series")[1:, 1:]
        virial = np.loadtxt(folder / "virial")[1]
        shells = _read_shells(folder / "shells")
    energy, volume, x, y, z = np.swapaxes(series.reshape(N_BLOCKS, -1, 5), 0, 1).transpose(2, 0, 1)
    return Samples(energy, volume, np.stack([x, y, z], axis=-1), shells[None]), virial


def _integrator(thermodynamics, pressure, seed, usual_npt):
    temperature = thermodynamics.temperature
    heat = f"temp {temperature} {temperature} {THERMOSTAT_TIME}"
    if thermodynamics.strains is None:
        return f"fix 1 all nvt {heat}"
    coupling = {"isotropic": "iso", "orthorhombic": "aniso"}[thermodynamics.strains]
    squeeze = f"{coupling} {pressure} {pressure} {BAROSTAT_TIME}"
    if usual_npt:
        return f"fix 1 all npt {heat} {squeeze}"
    return f"""
        compute_modify thermo_temp extra/dof 0
        fix 1 all nph {squeeze} ptemp {temperature}
        fix_modify 1 temp thermo_temp
        fix 2 all langevin {temperature} {temperature} {THERMOSTAT_TIME} {seed}
    """


def _read_shells(file):
    """Neighbours per shell in each block, (n_blocks, n_shells), from the cumulative numbers that LAMMPS gives."""
    rows = np.loadtxt(file).reshape(N_BLOCKS, -1, 2)[:, 1:, 1]  # each block begins with a line of its own
    return np.diff(rows, axis=1, prepend=0.0)
