"""Which density functional VASP would use, and which potential plays its part."""

from __future__ import annotations

from aiida_slhmc.standin.inputs import InputError, Inputs

__all__ = ("choose_variant",)

KNOWN = "this stand-in knows only PBE, r2SCAN (METAGGA = R2SCAN) and HSE06 (LHFCALC = .TRUE., HFSCREEN = 0.2)"
HSE06_SCREENING = 0.2  # HFSCREEN in 1/Å
HSE06_EXCHANGE = 0.25  # AEXX
NON_SELF_CONSISTENT = 10  # ICHARG from here on keeps the density fixed


def choose_variant(inputs: Inputs) -> str:
    """Name of the potential for the functional that INCAR and POTCAR ask for: ``pbe``, ``r2scan`` or ``hse06``.

    :raises InputError: for any functional but these three, and for tags that ask for more than a single point.
    """
    refuse_unknown(inputs)
    incar = inputs.incar
    metagga = incar.get("METAGGA", "").upper().strip("-")
    hybrid = incar.flag("LHFCALC", False)
    exchange = incar.get("GGA", "").upper() or data_sets_exchange(inputs)
    if hybrid and metagga:
        raise InputError(f"METAGGA together with LHFCALC: {KNOWN}")
    if metagga:
        if metagga != "R2SCAN":
            raise InputError(f"METAGGA = {incar['METAGGA']}: {KNOWN}")
        return "r2scan"
    if exchange != "PE":
        raise InputError(f"GGA = {exchange}: {KNOWN}")
    if not hybrid:
        return "pbe"
    screening, fraction = incar.number("HFSCREEN", 0.0), incar.number("AEXX", HSE06_EXCHANGE)
    if (screening, fraction) != (HSE06_SCREENING, HSE06_EXCHANGE):
        raise InputError(f"LHFCALC with HFSCREEN = {screening}, AEXX = {fraction}: {KNOWN}")
    return "hse06"


def data_sets_exchange(inputs: Inputs) -> str:
    """POTCAR's LEXCH, which VASP takes where INCAR has no GGA tag."""
    found = sorted({potcar.exchange.upper() for potcar in inputs.potcars})
    if len(found) > 1:
        raise InputError(f"POTCAR mixes LEXCH {' and '.join(found)}")
    return found[0]


def refuse_unknown(inputs: Inputs) -> None:
    """Stop on tags that would change energy or task in VASP and that the stand-in cannot honour.

    :raises InputError: naming the first such tag.
    """
    incar = inputs.incar
    refused = {
        "NSW": incar.integer("NSW", 0) > 0,
        "IVDW": incar.integer("IVDW", 0) != 0,
        "ICHARG": incar.integer("ICHARG", 0) >= NON_SELF_CONSISTENT,
        "LDAU": incar.flag("LDAU", False),
        "LUSE_VDW": incar.flag("LUSE_VDW", False),
        "ML_LMLFF": incar.flag("ML_LMLFF", False),
    }
    for tag, is_set in refused.items():
        if is_set:
            raise InputError(f"{tag} = {incar[tag]}: this stand-in does single points of {KNOWN.split('only ')[1]}")
