"""Figures of a study: they show the samples' numbers, say what they are not, and are the same each time."""

from __future__ import annotations

import dataclasses
import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from study_examples import EXPERIMENT, LABELS, whole_study

from aiida_slhmc.analysis.study.figures import FIGURES, draw_figures
from aiida_slhmc.analysis.study.samples import Study
from aiida_slhmc.analysis.study.style import colour, style


@pytest.fixture(scope="module")
def study() -> Study:
    return whole_study()


@pytest.fixture(scope="module")
def figures(study) -> dict[str, Figure]:
    with style():
        return {name: draw(study) for name, draw in FIGURES.items()}


def lines(panel, tint: str) -> list[np.ndarray]:
    """Data of the lines of this colour."""
    return [line.get_xydata() for line in panel.get_lines() if line.get_color() == tint]


def test_all_are_drawn(study, figures) -> None:
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert list(FIGURES) == ["fig_2", "fig_3", "fig_4", "fig_5", "fig_6", "fig_a1", "fig_a2", "fig_a3"]


def test_cells_are_those_of_the_samples(study, figures) -> None:
    """Fails where a panel shows another quantity, another functional's line, or another order of the labels."""
    for panel, name in zip(figures["fig_6"].axes, ("a", "b", "c", "volume"), strict=True):
        for functional in study.functionals:
            shown = lines(panel, colour(functional, study.functionals))
            evolution = study.evolution("npt", functional)
            expected = [(sample.labels, sample.metrics["cell"][name][0]) for sample in evolution]
            assert [labels for labels, _ in expected] == [0, *LABELS]
            assert any(len(line) == 4 and np.array_equal(line, expected) for line in shown)
            reference = study.reference("npt", functional).metrics["cell"][name][0]
            assert any(len(line) == 2 and set(line[:, 1]) == {reference} for line in shown)
        measured = [line.get_ydata()[0] for line in panel.get_lines() if line.get_label() == "experiment"]
        assert measured == [EXPERIMENT["a" if name == "b" else name]]


def test_control_is_at_its_labels(study, figures) -> None:
    control = study.control("npt", "hse06")
    expected = [[600, control.metrics["cell"]["volume"][0]]]
    tint = colour("hse06", study.functionals)
    assert any(np.array_equal(line, expected) for line in lines(figures["fig_6"].axes[3], tint))


def test_control_of_unknown_labels_is_a_line(study) -> None:
    """Fails where it is drawn at zero labels, the foundation's place."""
    samples = [
        dataclasses.replace(s, metrics=s.metrics | {"sample": s.about | {"labels": None}})
        if s.role == "control_md"
        else s
        for s in study.samples
    ]
    figure = FIGURES["fig_6"](dataclasses.replace(study, samples=samples))
    found = [line for line in figure.axes[3].get_lines() if line.get_label() == "HSE06 relabelled control"]
    assert [line.get_linestyle() for line in found] == ["-."]


def test_forward_errors(study, figures) -> None:
    rows = study.forward[0]["updates"]
    shown = lines(figures["fig_2"].axes[0], colour("pbe", study.functionals))[0]
    assert np.array_equal(shown[:, 0], [row["labels_before"] for row in rows])
    assert np.array_equal(shown[:, 1], [row["force_rmse_mev_per_angstrom"] for row in rows])


def test_last_functional_and_the_others(figures) -> None:
    titles = {name: [panel.get_title() for panel in figures[name].axes] for name in ("fig_4", "fig_a1")}
    assert titles["fig_4"] == ["HSE06", "first shell"]
    assert titles["fig_a1"] == ["PBE", "first shell", "r²SCAN", "first shell"]


def test_distributions_keep_their_integral(study, figures) -> None:
    """Fails where averaging bins for the page changes what a peak holds, or moves it."""
    panel = figures["fig_5"].axes[2]
    assert panel.get_title() == "Ti–O"
    shown = lines(panel, colour("hse06", study.functionals))[0]
    curves = study.adapted("nvt", "hse06").curves
    distance, density = (curves[name][: 2 * len(shown)] for name in ("rdf_distance", "rdf_Ti_O"))
    assert len(shown) == len(curves["rdf_distance"]) // 2
    assert 2 * shown[:, 1].sum() == pytest.approx(density.sum(), rel=1e-12)
    means = [np.average(shown[:, 0], weights=shown[:, 1]), np.average(distance, weights=density)]
    assert means[0] == pytest.approx(means[1], abs=1e-3)


@pytest.mark.parametrize("name", list(FIGURES))
def test_legends_cover_nothing(figures, name) -> None:
    """Fails where a legend lies over a panel, or reaches out of the picture."""
    figure = figures[name]
    with style():
        figure.canvas.draw()
    legends = [*figure.legends, *(panel.get_legend() for panel in figure.axes)]
    boxes = [legend.get_window_extent() for legend in legends if legend]
    assert boxes
    for box in boxes:
        assert not any(box.overlaps(panel.get_window_extent()) for panel in figure.axes)
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height


def test_stand_in_is_said(study, figures) -> None:
    """Positive and negative control."""
    words = "stand-in, not DFT"
    assert all(words in figure.get_suptitle() for figure in figures.values())
    real = [dataclasses.replace(s, metrics=s.metrics | {"stand_in": False}) for s in study.samples]
    with style():
        drawn = [draw(dataclasses.replace(study, samples=real)) for draw in FIGURES.values()]
    assert not any(words in figure.get_suptitle() for figure in drawn)


def test_same_bytes_whatever_the_settings(study) -> None:
    """Fails where a date, or what the user has set, is in a picture. Control: another number changes it."""
    small = dataclasses.replace(
        study, samples=[s for s in study.samples if s.ensemble == "npt"], forward=[], histories=[]
    )
    first = draw_figures(small)
    with mpl.rc_context({"font.size": 17, "lines.linewidth": 7, "savefig.facecolor": "red"}):
        second = draw_figures(small)
    assert first == second
    assert set(first) == {"fig_6", "fig_a2"}
    other = draw_figures(dataclasses.replace(small, experiment=EXPERIMENT | {"volume": 31.2}))
    assert other["fig_6"] != first["fig_6"]
    assert other["fig_a2"] == first["fig_a2"]
    assert imread(io.BytesIO(first["fig_6"])).std() > 0.05


@pytest.mark.parametrize("role", ["foundation_md", "adapted_md", "control_md", "slhmc_chain"])
def test_missing_samples(study, role) -> None:
    """Fails where a figure needs a sample that a study need not have."""
    kept = dataclasses.replace(study, samples=[s for s in study.samples if s.role != role], forward=[], histories=[])
    drawn = {name: draw(kept) is not None for name, draw in FIGURES.items()}
    # without models there is nothing to compare a reference with, and without references no agreement to show
    gone = {"adapted_md": {"fig_3", "fig_4", "fig_5", "fig_a1"}, "slhmc_chain": {"fig_5", "fig_a2"}}.get(role, set())
    assert {name for name, is_there in drawn.items() if not is_there} == {"fig_2", "fig_a3"} | gone


def test_samples_without_curves(study) -> None:
    samples = [dataclasses.replace(sample, curves={}) for sample in study.samples]
    bare = dataclasses.replace(study, samples=samples)
    assert {name for name, draw in FIGURES.items() if draw(bare)} == {"fig_2", "fig_6", "fig_a3"}


def test_one_functional_that_nobody_knows() -> None:
    """One functional has nothing left for figure A1; it has a colour and a name of its own."""
    study = whole_study(("hse06",))
    renamed = []
    for sample in study.samples:
        about = sample.about | {"functional": "lda"} if sample.functional else sample.about
        renamed.append(dataclasses.replace(sample, metrics=sample.metrics | {"sample": about}))
    drawn = {name for name, draw in FIGURES.items() if draw(Study(samples=renamed))}
    assert drawn == {"fig_3", "fig_4", "fig_5", "fig_6", "fig_a2"}


def test_nothing_at_all() -> None:
    assert draw_figures(Study()) == {}
