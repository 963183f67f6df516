"""The table of what was validated: each row is a number that an assert used, with the negative control beside it."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

COLUMNS = ("system", "statistic", "value", "asked for", "negative control", "value of the control", "asked for")


@dataclass(frozen=True)
class Row:
    """One number and its bound, as in ``value > bound``; *control* names what was spoilt, None for a claim."""

    system: str
    statistic: str
    value: float
    relation: str
    bound: float
    control: str | None = None

    @property
    def holds(self):
        return self.value > self.bound if self.relation == ">" else self.value < self.bound

    @property
    def cells(self):
        shown = f"{self.value:.2g}" if self.holds else f"{self.value:.2g} FAILED"
        return shown, f"{self.relation} {self.bound:.2g}"


@dataclass
class Validation:
    """Collects rows; each method asserts what it records."""

    rows: list[Row] = field(default_factory=list)

    def claim(self, system, statistic, value, *, above=None, below=None):
        """The sampler's *statistic* is on the right side of its bound."""
        self._record(system, statistic, value, above, below)

    def control(self, system, statistic, spoilt, value, *, above=None, below=None):
        """With one thing *spoilt*, the same statistic is on the other side."""
        self._record(system, statistic, value, above, below, spoilt)

    def _record(self, system, statistic, value, above, below, control=None):
        relation, bound = (">", above) if above is not None else ("<", below)
        row = Row(system, statistic, float(value), relation, bound, control)
        self.rows.append(row)
        assert row.holds, f"{system}, {statistic}, {control or 'claim'}: {value:.3g}, not {relation} {bound:.3g}"

    def lines(self):
        """Claims, each with its controls; a control without a claim of its own statistic has a line of its own."""
        claims, controls = defaultdict(list), defaultdict(list)
        for row in self.rows:
            (controls if row.control else claims)[row.system, row.statistic].append(row)
        systems = list(dict.fromkeys(row.system for row in self.rows))
        for key in sorted(claims | controls, key=lambda key: systems.index(key[0])):
            left, right = claims[key], controls[key]
            for k in range(max(len(left), len(right))):
                claim = left[k].cells if k < len(left) else ("", "")
                control = (right[k].control, *right[k].cells) if k < len(right) else ("", "", "")
                yield (*(key if k == 0 else ("", "")), *claim, *control)

    def write_markdown(self, path):
        """The table as Markdown."""
        rows = [COLUMNS, ["---"] * len(COLUMNS), *self.lines()]
        text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def show(self):
        """The table on the terminal."""
        table = Table(*COLUMNS, title="Physical validation", show_lines=False)
        for line in self.lines():
            table.add_row(*line)
        Console(width=180).print(table)
