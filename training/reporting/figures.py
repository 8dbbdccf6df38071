"""Figures of a page: an SVG with a role, a label for screen readers, and a caption that explains how to read it."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from training.evaluation.estimate import Estimate
from training.reporting.charts import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY
from training.reporting.charts import STYLE as CHART_STYLE

BASELINE_STYLES = (
    (ORANGE, "--"),
    (GREEN, "-."),
    (PURPLE, ":"),
    (SKY, (0, (5, 1, 1, 1))),
    (GREY, (0, (1, 2))),
)
STYLE: dict[Any, Any] = CHART_STYLE | {"axes.titlesize": 11.5, "axes.titleweight": "bold"}


class Figure(NamedTuple):
    """A picture with its explanation.

    Attributes
    ----------
    svg : str
        As `training.reporting.plots.render_svg` returns it.
    label : str
        What it shows, for screen readers.
    caption : str
        How to read it, in one or two sentences.
    is_wide : bool
        True if it takes the whole width of the page, and scrolls on a narrow screen.
    """

    svg: str
    label: str
    caption: str
    is_wide: bool = False

    def render(self) -> Markup:
        """Render the figure as HTML; only the SVG is not escaped."""
        label = escape(self.label)
        picture = self.svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        kind, scroll = (' class="full"', ' class="scroll wide" tabindex="0"') if self.is_wide else ("", "")
        caption = escape(self.caption)
        return Markup(
            f"<figure{kind}><div{scroll}>{picture}</div><figcaption>{caption}</figcaption></figure>"
        )


def build_figures(pictures: Mapping[str, str], texts: Mapping[str, tuple[str, str]]) -> dict[str, Markup]:
    """Render wide figures from pictures, and the label and caption of each.

    Parameters
    ----------
    pictures : mapping
        Name to SVG.
    texts : mapping
        Name to label and caption.

    Raises
    ------
    KeyError
        If a picture has no texts.
    """
    return {name: Figure(svg, *texts[name], is_wide=True).render() for name, svg in pictures.items()}


def draw_differences(panels: Mapping[str, Sequence[tuple[str, Estimate]]]) -> str:
    """Draw differences with their intervals around zero; significant ones are coloured.

    Parameters
    ----------
    panels : mapping
        Title to the named differences; at least one panel.
    """
    longest = max(map(len, panels.values()))
    with mpl.rc_context(STYLE):
        figure, axes = create_figure(1, len(panels), width=10.4, height=1.3 + 0.25 * longest)
        for ax, (title, differences) in zip(axes, panels.items(), strict=True):
            reach = 0.0
            for place, (_, gain) in enumerate(differences):
                significant = gain.sign != 0
                colour = BLUE if significant and gain.value > 0 else RED if significant else GREY
                ax.hlines(-place, gain.low, gain.high, color=colour, linewidth=2.2, alpha=0.6)
                ax.plot(gain.value, -place, "o", color=colour, markersize=5)
                ends = np.abs([gain.low, gain.value, gain.high])
                reach = max(reach, float(ends[np.isfinite(ends)].max(initial=0.0)))
            ax.axvline(0, color=INK, linewidth=0.8)
            ax.set(title=title, ylim=(0.7 - longest, 0.7), xlim=(-1.1 * reach or -1.0, 1.1 * reach or 1.0))
            ax.set_yticks([-place for place in range(len(differences))], [name for name, _ in differences])
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
        return render_svg(figure)


def create_figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Canvas, list[Axes]]:
    """Create a figure with panels, sizes in inches; to be used within `mpl.rc_context(STYLE)`."""
    figure = Canvas(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def render_svg(figure: Canvas) -> str:
    """Render a figure as SVG for a page; the same values give the same bytes."""
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
