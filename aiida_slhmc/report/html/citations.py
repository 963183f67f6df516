"""What to cite: the method, the software, the engine and the functional that a run used."""

from __future__ import annotations

from typing import Any

import aiida_slhmc

__all__ = ("ALWAYS", "ENGINES", "citations_for")

# (what for, reference, DOI or other address)
Citation = tuple[str, str, str]

# docs/cite.md and CITATION.cff have the same ones; a test compares them
ALWAYS: tuple[Citation, ...] = (
    (
        "Method",
        "B. Thomsen, M. Shiga and Y. Nagai, Target-Distribution-Guided Cross-Functional Fine-Tuning of Machine-"
        "Learning Interatomic Potentials (2026)",
        "",
    ),
    (
        "Self-learning hybrid Monte Carlo",
        "Y. Nagai, M. Okumura, K. Kobayashi and M. Shiga, Self-learning hybrid Monte Carlo: A first-principles "
        "approach, Physical Review B 102, 041124(R) (2020)",
        "10.1103/PhysRevB.102.041124",
    ),
    (
        "AiiDA",
        "S. P. Huber et al., AiiDA 1.0, a scalable computational infrastructure for automated reproducible workflows "
        "and data provenance, Scientific Data 7, 300 (2020)",
        "10.1038/s41597-020-00638-4",
    ),
    (
        "AiiDA's engine",
        "M. Uhrin et al., Workflows in AiiDA: Engineering a high-throughput, event-based engine for robust and modular "
        "computational workflows, Computational Materials Science 187, 110086 (2021)",
        "10.1016/j.commatsci.2020.110086",
    ),
    (
        "MACE",
        "I. Batatia et al., MACE: Higher Order Equivariant Message Passing Neural Networks for Fast and Accurate Force "
        "Fields, Advances in Neural Information Processing Systems 35, 11423 (2022)",
        "10.48550/arXiv.2206.07697",
    ),
    (
        "MACE-MP-0, where it is the foundation",
        "I. Batatia et al., A foundation model for atomistic materials chemistry, arXiv:2401.00096 (2023)",
        "10.48550/arXiv.2401.00096",
    ),
)
# the engine, and what drives it
ENGINES: dict[str, tuple[Citation, ...]] = {
    "vasp": (
        (
            "VASP",
            "G. Kresse and J. Furthmüller, Physical Review B 54, 11169 (1996)",
            "10.1103/PhysRevB.54.11169",
        ),
        ("aiida-vasp", "The aiida-vasp developers, aiida-vasp, https://github.com/aiida-vasp/aiida-vasp", ""),
    ),
    "quantum_espresso": (
        (
            "Quantum ESPRESSO",
            "P. Giannozzi et al., Journal of Physics: Condensed Matter 29, 465901 (2017)",
            "10.1088/1361-648X/aa8f79",
        ),
    ),
    "cp2k": (
        (
            "CP2K",
            "T. D. Kühne et al., The Journal of Chemical Physics 152, 194103 (2020)",
            "10.1063/5.0007045",
        ),
    ),
    "ase": (
        (
            "ASE",
            "A. H. Larsen et al., Journal of Physics: Condensed Matter 29, 273002 (2017)",
            "10.1088/1361-648X/aa680e",
        ),
    ),
}
FUNCTIONALS: dict[str, Citation] = {
    "pbe": (
        "PBE",
        "J. P. Perdew, K. Burke and M. Ernzerhof, Physical Review Letters 77, 3865 (1996)",
        "10.1103/PhysRevLett.77.3865",
    ),
    "r2scan": (
        "r²SCAN",
        "J. W. Furness et al., The Journal of Physical Chemistry Letters 11, 8208 (2020)",
        "10.1021/acs.jpclett.0c02405",
    ),
    "hse06": (
        "HSE06",
        "A. V. Krukau et al., The Journal of Chemical Physics 125, 224106 (2006)",
        "10.1063/1.2404663",
    ),
}


def citations_for(about: dict[str, Any]) -> list[Citation]:
    """References for a run.

    :param about: ``target`` (its engine as the input names it), ``functional`` and ``stand_in``; a stand-in computes no
        density functional, and neither engine nor functional is cited then.
    """
    ours = ("This package", f"The aiida-slhmc developers, aiida-slhmc, version {aiida_slhmc.__version__}", "")
    found = [*ALWAYS, ours]
    if about.get("stand_in"):
        return found
    found += ENGINES.get(str(about.get("target") or "").lower(), ())
    functional = FUNCTIONALS.get(str(about.get("functional") or "").lower())
    return found if functional is None else [*found, functional]
