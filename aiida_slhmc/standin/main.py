"""The program ``vasp-standin``: run it where VASP would be run, in a folder with POSCAR, INCAR, KPOINTS and POTCAR."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from aiida_slhmc.standin import analytic, functional, misbehave, outputs, scf
from aiida_slhmc.standin.inputs import InputError, Inputs, read_inputs
from aiida_slhmc.standin.outputs import Result
from aiida_slhmc.standin.potential import VARIANTS, Evaluation, evaluate

__all__ = ("main", "run")

KB_PER_EV_PER_CUBIC_ANGSTROM = 1602.176634

REFUSAL = """\
 -----------------------------------------------------------------------------
|                                                                             |
|     EEEEEEE  R     R  R     R  OOOOOOO  R     R     ###     ###     ###     |
|                                                                             |
| {message:75} |
|                                                                             |
|       ---->  I REFUSE TO CONTINUE WITH THIS SICK JOB ... BYE!!! <----       |
 -----------------------------------------------------------------------------
"""


def main() -> int:
    """Compute the single point of the current folder; return VASP's exit status, 1 for an input it stops on."""
    print(outputs.banner(notice(os.environ)), end="", flush=True)
    try:
        run(Path(), os.environ)
    except InputError as error:
        print(REFUSAL.format(message=str(error)), end="", flush=True)
        return 1
    return 0


def run(folder: Path, environment: Mapping[str, str]) -> None:
    """Read *folder*, compute, write the output files there and print; misbehave as *environment* wants.

    :raises InputError: if VASP, or the stand-in, would stop on these inputs.
    """
    started = time.perf_counter()
    inputs = read_inputs(folder)
    potential = analytic.read_potential(environment)
    variant = functional.choose_variant(inputs)  # also in front of an analytic potential: refuses what VASP would do
    reads_wavecar = scf.reads_wavecar(folder, inputs.incar)
    failure = misbehave.applying(misbehave.failure_of(environment, inputs.atoms), inputs.incar, reads_wavecar)
    never = failure == "not_converged"
    cycle = scf.converge(inputs.incar, scf.starts_warm(folder, inputs.incar), never)
    if failure == "slow":
        time.sleep(misbehave.delay(environment))
    if potential is not None:
        variant, evaluation = str(potential), potential.evaluate(inputs.atoms)
    else:
        evaluation = evaluate_rigid_ions(inputs, variant)
    # a cycle that was made to fail claims success, the one that merely ran out of NELM says so
    says_converged = never or cycle.converged
    source = (notice(environment), variant)
    result = assemble(inputs, source, cycle, says_converged, evaluation, time.perf_counter() - started)
    files = outputs.render(result)
    misbehave.spoil(failure, files)
    write(folder, files)
    if failure == "killed":
        misbehave.stop_by_kill()


def notice(environment: Mapping[str, str]) -> str:
    """What every output says of the potential in the place of DFT."""
    return outputs.ANALYTIC_NOTICE if environment.get(analytic.POTENTIAL) else outputs.NOTICE


def evaluate_rigid_ions(inputs: Inputs, variant: str) -> Evaluation:
    """Energy, forces and stress of a rigid-ion *variant*.

    :raises InputError: if there are other elements than titanium and oxygen.
    """
    try:
        return evaluate(inputs.atoms, VARIANTS[variant])
    except ValueError as error:
        raise InputError(str(error)) from error


def assemble(
    inputs: Inputs,
    source: tuple[str, str],
    cycle: scf.Cycle,
    says_converged: bool,
    evaluation: Evaluation,
    seconds: float,
) -> Result:
    """Put the potential's numbers into VASP's units and conventions.

    As in VASP, PSTRESS (kB) adds PSTRESS·Ω to the energies and is subtracted from the diagonal of the stress, so
    that both belong to the enthalpy. *source* is the notice and the variant.
    """
    pstress = inputs.incar.number("PSTRESS", 0.0)
    stress = -evaluation.stress * KB_PER_EV_PER_CUBIC_ANGSTROM
    stress[range(3), range(3)] -= pstress
    work = pstress / KB_PER_EV_PER_CUBIC_ANGSTROM * inputs.atoms.get_volume()
    energies = scf.final_energies(evaluation.energy, len(inputs.atoms), inputs.incar).shifted(work)
    return Result(inputs, *source, cycle, says_converged, energies, evaluation.forces, stress, seconds)


def write(folder: Path, files: dict[str, str]) -> None:
    """Write *files* (contents by name) to *folder*, except ``stdout``, which is printed."""
    for name, text in files.items():
        if name == "stdout":
            print(text, end="", flush=True)
        else:
            (folder / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
