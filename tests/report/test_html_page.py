"""The page of a run: complete, without anything from outside, and with every string of the graph escaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from html_examples import HOSTILE, MadeUpRun, Recipe

from aiida_slhmc.report.html.collect import read_report
from aiida_slhmc.report.html.page import figures_of, render

NAMES = [
    "forward-errors",
    "acceptance",
    "delta-h",
    "delta-h-parts",
    "energies",
    "nearest-neighbours",
    "radial-distributions",
]


class Page(HTMLParser):
    """Tags with their attributes, the text of scripts, and all text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.shown = ""
        self._script: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._script = dict(attrs).get("id") or f"{tag}-{len(self.tags)}"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.shown += data
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(computer) -> Page:
    return Page(render(read_report(MadeUpRun(Recipe(problems=True, committee=True), computer).node)))


def test_every_figure_has_its_data(page) -> None:
    """Fails where a figure has no place, no data or no trace."""
    places = [attributes["id"] for attributes in page.of("div") if "plot" in (attributes.get("class") or "").split()]
    assert places == [NAMES[0], "committee", *NAMES[1:]]
    for name in places:
        figure = json.loads(page.scripts[f"{name}-data"])
        assert figure["data"], name
        assert all(len(trace["x"]) == len(trace["y"]) for trace in figure["data"]), name
        assert any(len(trace["x"]) for trace in figure["data"]), name


def test_npt_has_figures_of_the_cell(computer) -> None:
    """Fails where a run at constant pressure does not show its cell, or shows one that does not move."""
    report = read_report(MadeUpRun(Recipe(ensemble="npt"), computer).node)
    figures = {item.name: item.figure for item in figures_of(report)}
    assert set(figures) == {*NAMES, "volumes", "cell-lengths"}
    assert [trace.name for trace in figures["cell-lengths"].data] == ["a", "b", "c"]
    assert len(set(figures["volumes"].data[0].y)) > 1


def test_numbers_in_figures_are_those_of_the_chains(computer) -> None:
    """Fails where a value is drawn at another cycle, or an accepted proposal as a rejected one."""
    run = MadeUpRun(Recipe(), computer)
    report = read_report(run.node)
    figures = {item.name: item.figure for item in figures_of(report)}
    drawn = {
        (trace.name, x, walker): y
        for trace in figures["delta-h"].data[:2]
        for x, walker, y in zip(trace.x, trace.customdata, trace.y, strict=True)
    }
    assert len(drawn) == 12
    for (words, cycle, walker), value in drawn.items():
        decisions = [node for node in run.epochs[cycle // 3].called if node.process_label == "metropolis"]
        decision = decisions[cycle % 3].outputs.result
        assert value == pytest.approx(1000 * decision["delta_h"][walker])
        assert (words == "accepted") == decision["accepted"][walker]
    force = figures["forward-errors"].data[0]
    assert list(force.x) == [0, 6]
    expected = [epoch.summary["force_rmse_mev_per_angstrom"] for epoch in report.epochs]
    assert list(force.y) == pytest.approx(expected)


def test_strings_of_the_graph_do_no_harm(page) -> None:
    """Fails where a label, a message or a reason that holds HTML becomes a part of the page."""
    assert not page.of("img")
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert not [text for text in page.scripts.values() if "window.harmed" in text]
    assert page.shown.count(HOSTILE) >= 4, "label of the run, exit messages, reasons"


def test_nothing_is_loaded_from_anywhere(page) -> None:
    """Fails where the page asks the network for a script, a style, a font or a picture."""
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "action", "background", "poster"):
            assert name not in attributes, (tag, attributes)
        address = attributes.get("href")
        if address and not address.startswith(("#", "data:")):
            assert tag == "a", (tag, attributes)
    styles = " ".join(text for name, text in page.scripts.items() if name.startswith("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    (policy,) = [a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_every_anchor_has_its_section(page) -> None:
    """Fails where a link of the navigation leads nowhere."""
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [a["href"][1:] for a in page.of("a") if (a.get("href") or "").startswith("#")]
    assert len(anchors) >= 13
    assert set(anchors) <= set(ids)


def test_the_stand_in_is_named(page) -> None:
    """Fails where numbers of a stand-in may pass for those of a functional."""
    assert "stand-in, not from density functional theory" in page.shown


@pytest.mark.parametrize(("status", "refresh", "expected"), [(None, 7.0, ["7"]), (None, None, []), (402, None, [])])
def test_only_a_living_page_loads_itself_anew(computer, status: int | None, refresh: float | None, expected) -> None:
    """Fails where the page of a finished run goes on loading itself."""
    report = read_report(MadeUpRun(Recipe(n_epochs=1, n_cycles=1, status=status), computer).node)
    found = [a["content"] for a in Page(render(report, refresh=refresh)).of("meta") if a.get("http-equiv") == "refresh"]
    assert found == expected


@pytest.mark.parametrize("status", [None, 401])
def test_a_run_without_a_decision_has_a_page(computer, status: int | None) -> None:
    """Fails where a run that has just begun, or never came to decide, has no page, or an empty figure."""
    text = render(read_report(MadeUpRun(Recipe(n_epochs=0, status=status), computer).node))
    page = Page(text)
    assert not [a for a in page.of("div") if "plot" in (a.get("class") or "").split()]
    assert "Nothing has been decided yet" in page.shown
    assert ("failed with exit code 401" in page.shown) == (status is not None)
    assert len(text) < 200_000, "plotly's script is of no use there"


def test_tables_have_every_row(page) -> None:
    """Fails where an epoch, a checkpoint or a process type is missing from its table."""
    text = re.sub(r"\s+", " ", page.shown)
    for words in ("member_1", "VaspLabelWorkChain", "no label", "diverged", "recovered", "aiida-core", "2.99.0"):
        assert words in text, words


def test_a_summary_without_errors_is_shown_with_dashes(computer) -> None:
    """Fails where an epoch in which no label succeeded makes the page impossible."""
    recipe = Recipe(n_epochs=1, n_cycles=1, n_walkers=2, problems=True)
    report = read_report(MadeUpRun(recipe, computer).node)
    assert report.epochs[0].summary["force_rmse_mev_per_angstrom"] is None
    page: Any = Page(render(report))
    assert "0 + 1 failed" in re.sub(r"\s+", " ", page.shown)
