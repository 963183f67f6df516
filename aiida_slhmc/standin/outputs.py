"""Writers of VASP's output files: what VASP's readers look for, with all digits, and that no DFT is behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np

from aiida_slhmc.standin import STANDIN_VERSION
from aiida_slhmc.standin.inputs import Inputs
from aiida_slhmc.standin.scf import DEFAULT_NELM, Cycle, Energies

__all__ = ("Result", "banner", "render")

NOTICE = "STAND-IN of aiida-slhmc: rigid-ion potential, not DFT"
ANALYTIC_NOTICE = "STAND-IN of aiida-slhmc: analytic potential, not DFT"
CONVERGED = "aborting loop because EDIFF is reached"
UNCONVERGED = "aborting loop EDIFF was not reached (unconverged)"


@dataclass(frozen=True)
class Result:
    """One finished single point.

    ``energies`` are converged and in eV, ``forces`` (n_atoms, 3) in eV/Å, ``stress`` (3, 3) in kB with VASP's sign
    (positive: the cell wants to expand), PSTRESS applied to both; ``says_converged`` is what VASP prints, which a
    failing one may do wrongly. ``notice`` and ``variant`` tell what played the part of VASP.
    """

    inputs: Inputs
    notice: str
    variant: str
    cycle: Cycle
    says_converged: bool
    energies: Energies
    forces: np.ndarray
    stress: np.ndarray
    seconds: float

    def iterations(self) -> list[Energies]:
        """Energies after each iteration."""
        return [self.energies.shifted(error) for error in self.cycle.errors]


def banner(notice: str = NOTICE) -> str:
    """The first lines on stdout; aiida-vasp takes a stdout without ``vasp.`` for a VASP that never started."""
    return f" running on    1 total cores\n vasp.{STANDIN_VERSION}-standin {notice}\n"


def render(result: Result) -> dict[str, str]:
    """The texts of all output files by name; ``stdout`` is what goes there after the banner."""
    oszicar = oszicar_text(result)
    files = {
        "vasprun.xml": vasprun_text(result),
        "OUTCAR": outcar_text(result),
        "OSZICAR": oszicar,
        "CONTCAR": contcar_text(result),
        "stdout": oszicar + f" writing wavefunctions\n {result.notice} (variant {result.variant})\n",
    }
    for name, tag in (("WAVECAR", "LWAVE"), ("CHGCAR", "LCHARG")):
        if result.inputs.incar.flag(tag, True):
            files[name] = f"{result.notice}: placeholder for {name}\n"
    return files


def row(numbers: Iterable[float]) -> str:
    """Numbers with 17 significant digits, so that reading them back is exact."""
    return " ".join(f"{number:24.16e}" for number in numbers)


def varray(name: str, rows: np.ndarray, indent: int = 2) -> str:
    """VASP's XML of a table of numbers."""
    pad = " " * indent
    lines = "".join(f"{pad} <v>{row(numbers)} </v>\n" for numbers in rows)
    return f'{pad}<varray name="{name}" >\n{lines}{pad}</varray>\n'


def energy_xml(energies: Energies, indent: int) -> str:
    """VASP's XML of the three energies."""
    pad = " " * indent
    named = zip(
        ("e_fr_energy", "e_wo_entrp", "e_0_energy"),
        (energies.free, energies.without_entropy, energies.extrapolated),
        strict=True,
    )
    lines = "".join(f'{pad} <i name="{name}">{value:24.16e} </i>\n' for name, value in named)
    return f"{pad}<energy>\n{lines}{pad}</energy>\n"


def vasprun_text(result: Result) -> str:
    """vasprun.xml with generator, INCAR, atoms and the one calculation, in VASP's order."""
    inputs = result.inputs
    generator = {
        "program": "vasp-standin",
        "version": f"{STANDIN_VERSION}-standin",
        "subversion": f"{result.notice} (variant {result.variant})",
    }
    parts = ['<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n']
    parts += [f'  <i name="{key}" type="string">{escape(value)}</i>\n' for key, value in generator.items()]
    parts.append(" </generator>\n <incar>\n")
    parts += [f'  <i type="string" name="{escape(key)}">{escape(value)}</i>\n' for key, value in inputs.incar.items()]
    parts.append(" </incar>\n" + atoms_xml(inputs) + " <calculation>\n")
    parts += [f"  <scstep>\n{energy_xml(energies, 3)}  </scstep>\n" for energies in result.iterations()]
    parts.append("  <structure>\n   <crystal>\n" + varray("basis", inputs.atoms.cell.array, 4) + "   </crystal>\n")
    parts.append(varray("positions", inputs.atoms.get_scaled_positions(wrap=False), 3) + "  </structure>\n")
    parts.append(varray("forces", result.forces) + varray("stress", result.stress))
    parts.append(energy_xml(result.iterations()[-1], 2) + " </calculation>\n</modeling>\n")
    return "".join(parts)


def atoms_xml(inputs: Inputs) -> str:
    """The elements of all atoms and the number of their POTCAR data set."""
    rows = [
        f"    <rc><c>{symbol:2s}</c><c>{kind:4d}</c></rc>\n"
        for kind, (symbol, count) in enumerate(inputs.groups, 1)
        for _ in range(count)
    ]
    head = f' <atominfo>\n  <atoms>{len(rows):8d} </atoms>\n  <array name="atoms" >\n   <set>\n'
    return head + "".join(rows) + "   </set>\n  </array>\n </atominfo>\n"


def contcar_text(result: Result) -> str:
    """CONTCAR: the structure as it was read, since nothing moves."""
    inputs = result.inputs
    names, counts = zip(*inputs.groups, strict=True)
    lines = [result.notice, "1.0", *(row(vector) for vector in inputs.atoms.cell.array)]
    lines += [" ".join(names), " ".join(str(count) for count in counts), "Direct"]
    lines += [row(position) for position in inputs.atoms.get_scaled_positions(wrap=False)]
    return "\n".join(lines) + "\n"


def oszicar_text(result: Result) -> str:
    """OSZICAR: a line per iteration and the summary."""
    lines = ["       N       E                     dE             d eps       ncg     rms          rms(c)"]
    previous = 0.0
    for number, energies in enumerate(result.iterations(), 1):
        change = energies.free - previous
        lines.append(
            f"{result.cycle.label}: {number:3d} {energies.free:20.12E} {change:14.5E} {change:14.5E}     0   0.0"
        )
        previous = energies.free
    last = result.iterations()[-1]
    entropy = last.free - last.without_entropy
    lines.append(f"   1 F= {last.free:.8E} E0= {last.extrapolated:.8E}  d E ={entropy:.6E}")
    return "\n".join(lines) + "\n"


def outcar_text(result: Result) -> str:
    """OUTCAR: parameters, iterations, stress, forces, energies and the timing block that tells a complete run."""
    return (
        outcar_head(result)
        + outcar_iterations(result)
        + outcar_stress(result)
        + outcar_forces(result)
        + outcar_energies(result)
        + outcar_timing(result.seconds)
    )


def outcar_head(result: Result) -> str:
    """Version, data sets and the INCAR tags that readers look for."""
    inputs = result.inputs
    incar = inputs.incar
    lines = [f" vasp.{STANDIN_VERSION}-standin {result.notice} (variant {result.variant})"]
    lines += [f" POTCAR:    {potcar.title}" for potcar in inputs.potcars * 2]  # VASP lists them twice
    lines += [
        f"   number of ions     NIONS = {len(inputs.atoms):6d}",
        "   ions per type =          " + " ".join(f"{count:4d}" for _, count in inputs.groups),
        f"   ISPIN  = {incar.integer('ISPIN', 1):6d}    spin polarized calculation?",
        f"   NELM   = {incar.integer('NELM', DEFAULT_NELM):6d};   NELMIN=  2; NELMDL= -5     # of ELM steps",
        f"   EDIFF  = {incar.number('EDIFF', 1e-4):.1E}   stopping-criterion for ELM",
        f"   NSW    = {0:6d}    number of steps for IOM",
        f"   IBRION = {-1:6d}    ionic relax: 0-MD 1-quasi-New 2-CG",
        f"   PSTRESS= {incar.number('PSTRESS', 0.0):6.1f} pullay stress",
    ]
    return "\n".join(lines) + "\n"


def outcar_iterations(result: Result) -> str:
    """A header per iteration, and how VASP says that they ended."""
    bar = "-" * 40
    lines = [f"{bar} Iteration {1:6d}({number:4d})  {bar}" for number in range(1, len(result.cycle.errors) + 1)]
    electrons = sum(
        potcar.valence * count for potcar, (_, count) in zip(result.inputs.potcars, result.inputs.groups, strict=True)
    )
    moment = f"{0.0:14.7f}" if result.inputs.incar.integer("ISPIN", 1) == 2 else ""
    lines.append(f" number of electron {electrons:15.7f} magnetization {moment}")
    return "\n".join(lines) + f"\n{bar} {CONVERGED if result.says_converged else UNCONVERGED} {bar}\n"


def outcar_stress(result: Result) -> str:
    """The stress (kB) and the volume (Å³)."""
    (xx, xy, zx), (_, yy, yz), (_, _, zz) = result.stress
    applied = result.inputs.incar.number("PSTRESS", 0.0)
    return (
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
        "  Direction    XX          YY          ZZ          XY          YZ          ZX\n"
        "  in kB  " + " ".join(f"{x:16.8f}" for x in (xx, yy, zz, xy, yz, zx)) + "\n"
        f"  external pressure = {(xx + yy + zz) / 3:16.8f} kB  Pullay stress = {applied:12.4f} kB\n"
        f"  volume of cell : {result.inputs.atoms.get_volume():20.10f}\n"
    )


def outcar_forces(result: Result) -> str:
    """The cell (Å) and the table of positions (Å) and forces (eV/Å)."""
    bar = " " + "-" * 83
    atoms = result.inputs.atoms
    vectors = np.hstack((atoms.cell.array, atoms.cell.reciprocal()))
    lattice = ["      direct lattice vectors                 reciprocal lattice vectors"]
    lattice += [" " + " ".join(f"{x:18.12f}" for x in vector) for vector in vectors]
    rows = np.hstack((atoms.positions, result.forces))
    lines = [*lattice, "", " POSITION                                       TOTAL-FORCE (eV/Angst)", bar]
    lines += [" " + " ".join(f"{x:18.12f}" for x in numbers) for numbers in rows]
    return "\n".join([*lines, bar]) + "\n\n"


def outcar_energies(result: Result) -> str:
    """The three energies (eV)."""
    last = result.iterations()[-1]
    return (
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
        f"  {'-' * 51}\n"
        f"  free  energy   TOTEN  = {last.free:24.12f} eV\n\n"
        f"  energy  without entropy= {last.without_entropy:24.12f}  energy(sigma->0) = {last.extrapolated:24.12f}\n\n"
    )


def outcar_timing(seconds: float) -> str:
    """The last block of a VASP that came to its end; VASP spells it ``informations``."""
    return (
        " General timing and accounting informations for this job:\n"
        " ========================================================\n\n"
        f"                  Total CPU time used (sec): {seconds:12.3f}\n"
        f"                         Elapsed time (sec): {seconds:12.3f}\n"
        "                   Maximum memory used (kb):           0.\n"
    )
