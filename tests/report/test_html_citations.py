"""The report, the documentation and CITATION.cff ask for the same references."""

from __future__ import annotations

from pathlib import Path

import yaml

import aiida_slhmc
from aiida_slhmc.report.html.citations import ALWAYS, ENGINES, citations_for

ROOT = Path(__file__).parents[2]


def plain(text: str) -> str:
    """Without emphasis and line ends."""
    return " ".join(text.replace("*", "").split())


def test_three_lists_are_one() -> None:
    """Fails where a reference is asked for in one place only."""
    page = plain((ROOT / "docs" / "cite.md").read_text())
    entries = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert [entry.get("doi", "") for entry in entries] == [doi for _, _, doi in ALWAYS]
    for (_, reference, doi), entry in zip(ALWAYS, entries, strict=True):
        assert entry["title"].strip() in reference
        assert str(entry["year"]) in reference
        assert doi in page if doi else reference in page
    for group in ENGINES.values():
        for _, reference, doi in group:
            assert (doi or reference.rpartition(" ")[2]) in page


def test_of_a_run() -> None:
    """Fails where the engine, what drives it, the functional or the package is not cited, or a stand-in is as VASP."""
    about = {"target": "vasp", "functional": "r2scan"}
    parts = [part for part, _, _ in citations_for(about)]
    assert parts[-4:] == ["This package", "VASP", "aiida-vasp", "r²SCAN"]
    assert any(aiida_slhmc.__version__ in reference for _, reference, _ in citations_for(about))
    assert [part for part, _, _ in citations_for(about | {"stand_in": True})][-1] == "This package"
    assert "Quantum ESPRESSO" in [part for part, _, _ in citations_for({"target": "quantum_espresso"})]
