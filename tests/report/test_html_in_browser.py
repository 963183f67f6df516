"""The page in a real browser, without a network: every figure is drawn, and nothing is complained of."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from html_examples import MadeUpRun, Recipe

from aiida_slhmc.report.html.follow import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here: sudo apt-get install chromium"),
]
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    # nothing answers there
    "--proxy-server=127.0.0.1:9",
    # of the page's own clock, which does not run while there is work
    "--virtual-time-budget=20000",
)
WIDTH, HEIGHT = 1240, 7000


class Elements(HTMLParser):
    """All elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(BROWSER), *OPTIONS, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)


def complaints(log: str) -> list[str]:
    """What the page wrote on the browser's console: errors of scripts, refused and failed requests."""
    return [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module", params=["nvt", "npt"])
def page(request, computer, tmp_path_factory) -> Path:
    recipe = Recipe(ensemble=request.param, problems=True, committee=True, n_epochs=3, n_cycles=4)
    path = tmp_path_factory.mktemp("page") / f"{request.param}.html"
    write_report(MadeUpRun(recipe, computer).node, path)
    return path


def test_every_figure_is_drawn(page: Path, tmp_path: Path) -> None:
    """Fails where a script of the page fails, a figure stays empty, or a string of the graph becomes an element."""
    done = browse(page, tmp_path, "--dump-dom")
    assert complaints(done.stderr) == []
    elements = Elements(done.stdout).found
    (root,) = [attributes for tag, attributes in elements if tag == "html"]
    plots = [a for tag, a in elements if tag == "div" and "plot" in (a.get("class") or "").split()]
    assert len(plots) == (10 if page.stem == "npt" else 8)
    assert root.get("data-failure") is None
    assert root.get("data-figures") == str(len(plots))
    assert all(int(a.get("data-drawn") or 0) > 0 for a in plots)
    # what plotly makes of a trace with points
    assert len(re.findall(r'class="scatterlayer', done.stdout)) >= len(plots)
    assert len(re.findall(r'class="trace scatter', done.stdout)) > 2 * len(plots)
    assert not [a for tag, a in elements if tag == "img" and a.get("src") == "x"]


def test_it_is_to_be_seen(page: Path, tmp_path: Path) -> None:
    """Fails where the page is blank, or is as empty where its figures are."""
    picture = tmp_path / "page.png"
    browse(page, tmp_path, f"--screenshot={picture}", f"--window-size={WIDTH},{HEIGHT}")
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (HEIGHT, WIDTH)
    # the figures' blue, Okabe and Ito's: no text and no border has it
    blue = np.all(np.abs(pixels - np.array([0, 0x72, 0xB2]) / 255) < 0.02, axis=2)
    rows = np.flatnonzero(blue.any(axis=1))
    assert np.ptp(rows) > 1500
    assert blue.sum() > 2000


def test_control_a_broken_page_is_seen(page: Path, tmp_path: Path) -> None:
    """Fails where the tests above would not notice an error in a script, or a request to the network."""
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace('"use strict";', 'Plotly = undefined; "use strict";')
    broken.write_text(text.replace("</main>", '<img src="https://example.org/x.png"></main>'), encoding="utf-8")
    done = browse(broken, tmp_path, "--dump-dom")
    assert any("undefined" in line for line in complaints(done.stderr))
    assert any("example.org" in line for line in complaints(done.stderr))
    assert "data-figures=" not in done.stdout
