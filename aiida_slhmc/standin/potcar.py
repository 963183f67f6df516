"""Header-only dummies of POTCAR, because VASP's own are licensed and cannot be shipped."""

from __future__ import annotations

from pathlib import Path

__all__ = ("DATA_SETS", "write_potcar_family")

TEMPLATE = """  {titel}
   {valence:.15f}
 parameters from PSCTR are:
   VRHFIN ={element}: dummy
   LEXCH  = PE
   EATOM  =     0.0000 eV,    0.0000 Ry

   TITEL  = {titel}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        0    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =     .000    partial core radius
   POMASS =  {mass:7.3f}; ZVAL   =  {valence:7.3f}    mass and valenz
   RCORE  =    {radius:.3f}    outmost cutoff radius
   RWIGS  =    {radius:.3f}; RWIGS  =    {radius:.3f}    wigner-seitz radius (au A)
   ENMAX  =  {cutoff:.3f}; ENMIN  =  {minimum:.3f} eV
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
 END of PSCTR-controll parameters
 THIS IS A DUMMY of aiida-slhmc's stand-in for VASP: no potential follows, VASP cannot use it.
 End of Dataset
"""

DATA_SETS: dict[str, dict[str, float]] = {
    "Ti_pv": {"valence": 10.0, "mass": 47.88, "radius": 2.5, "cutoff": 222.335, "minimum": 166.751},
    "O": {"valence": 6.0, "mass": 16.0, "radius": 1.52, "cutoff": 400.0, "minimum": 300.0},
}
"""Valence electrons, mass (u), core radius (bohr) and the plane-wave cut-offs (eV) of the dummies."""


def write_potcar_family(folder: Path) -> None:
    """Write ``Ti_pv/POTCAR`` and ``O/POTCAR`` into *folder*, for ``PotcarData.upload_potcar_family``."""
    for symbol, numbers in DATA_SETS.items():
        path = folder / symbol / "POTCAR"
        path.parent.mkdir(parents=True, exist_ok=True)
        titel = f"PAW_PBE {symbol} 00dummy0000"
        path.write_text(TEMPLATE.format(titel=titel, element=symbol.split("_")[0], **numbers))
