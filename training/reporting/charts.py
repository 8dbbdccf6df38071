"""One way to draw a chart of a page, in the colours of Okabe and Ito (2008); the same values give the same bytes."""

import io
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from models.arrays import Floats
from models.formats import format_number

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, INK = "#8A8F98", "#1F2933"
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 2)))
LINE_STYLES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE, SKY, GREY), DASHES, strict=True))
WIDTH, HEIGHT = 4.9, 3.9  # in inches; the font is readable when a chart fills a screen of 390 pixels
ROW_MARGIN = 0.8  # room above the first and below the last row, which are 1 apart
TITLE_CHARACTERS, LABEL_CHARACTERS, LEGEND_CHARACTERS = 48, 30, 26
STYLE_FILE = Path(__file__).with_name("charts.mplstyle")

AxisFormat = Callable[[float], str]


def format_share_tick(value: float) -> str:
    """Format a tick of an axis of shares, such as `0.05 %`."""
    return f"{100 * value:.3g} %"


@dataclass
class Chart:
    """A chart; `label` says what it shows, for screen readers, `caption` how to read it, and `draw` opens its axis."""

    label: str
    caption: str
    title: str = ""
    x: str = ""
    y: str = ""
    x_format: AxisFormat | None = None
    y_format: AxisFormat | None = None
    height: float = HEIGHT
    width: float = WIDTH
    grid: Literal["both", "x", "y"] = "both"
    svg: str = field(default="", init=False)

    @contextmanager
    def draw(self) -> Iterator[Axes]:
        """Yield the axis to draw on; at the end the chart gets its titles, formats and legend."""
        with mpl.rc_context(fname=STYLE_FILE):
            figure = Figure(figsize=(self.width, self.height), layout="constrained")
            axes = figure.subplots()
            yield axes
            self._finish(figure, axes)
            canvas: Any = FigureCanvasSVG(figure)
            text = io.StringIO()
            canvas.print_svg(text, metadata={"Date": None, "Creator": None})  # savefig draws twice
        drawn = text.getvalue()
        self.svg = drawn[drawn.index("<svg") :]

    def render(self) -> Markup:
        """Render the chart with its caption as HTML; only the SVG is not escaped."""
        picture = self.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self.label)}" ', 1)
        return Markup(f"<figure>{picture}<figcaption>{escape(self.caption)}</figcaption></figure>")

    def _finish(self, figure: Figure, axes: Axes) -> None:
        # Names of rows leave little room for the axis below them.
        room = LABEL_CHARACTERS if self.grid == "x" else int(TITLE_CHARACTERS * self.width / WIDTH)
        axes.set(xlabel=fill(self.x, room), ylabel=fill(self.y, LABEL_CHARACTERS))
        if self.title:
            title = fill(self.title, TITLE_CHARACTERS)
            figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        for axis, write in ((axes.xaxis, self.x_format), (axes.yaxis, self.y_format)):
            if write is not None:
                axis.set_major_formatter(FuncFormatter(lambda value, _, write=write: write(value)))
                axis.set_minor_formatter(NullFormatter())
        if self.grid != "both":
            axes.grid(axis="y" if self.grid == "x" else "x", visible=False)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            named = [fill(label, LEGEND_CHARACTERS) for label in labels]
            figure.legend(handles, named, loc="outside lower left", ncols=2)


FORMATS: dict[str, AxisFormat] = {"share": format_share_tick}
FORMATS["signed"] = lambda value: format_number(value, "+")
CHARTS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def open_chart(name: str, rows: int = 0, **values: str) -> Chart:
    """Return a chart of `charts.toml` with its title, caption and size; `values` are those in its texts."""
    found = dict(CHARTS[name])
    for key, value in found.items():
        if isinstance(value, str):
            found[key] = FORMATS[value] if key.endswith("_format") else value.format(**values)
    height = found.pop("height", HEIGHT) + rows * found.pop("row_height", 0.0)
    return Chart(height=height, **found)


def set_rows(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Name the rows of a chart with horizontal bars or points; long names are wrapped."""
    axes.set_yticks(places, [fill(name, LABEL_CHARACTERS, max_lines=2, placeholder=" …") for name in names])
    axes.tick_params(axis="y", length=0)


def draw_rows(
    chart: Chart,
    names: Sequence[str],
    ends: Sequence[Floats],
    line: float,
    colors: str | Sequence[str] = BLUE,
) -> Chart:
    """Draw a point and its 95 % interval in each named row, and a vertical line; `ends` are the values, the lower and the upper ends."""
    (value, low, high), places = ends, -np.arange(len(names), dtype=np.float64)
    with chart.draw() as axes:
        axes.update_datalim([(0.0, 0.0)])
        axes.axvline(line, color=INK, linewidth=1)
        axes.hlines(places, low, high, color=colors, linewidth=2.2, alpha=0.45)
        axes.scatter(value, places, s=25, color=colors, zorder=3)
        axes.set_ylim(places.min() - ROW_MARGIN, ROW_MARGIN)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        set_rows(axes, places.tolist(), names)
    return chart


def set_columns(axes: Axes, names: Sequence[str], most: int = 6) -> None:
    """Name the columns of a chart at 0, 1, 2, …; of many only some."""
    step = max(1, -(-len(names) // most))
    axes.set_xticks(range(0, len(names), step), names[::step])
    axes.tick_params(axis="x", length=0, pad=8)


def set_whole_numbers(axis: Axis) -> None:
    """Set the ticks of an axis to whole numbers."""
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
