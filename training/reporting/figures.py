"""Figures of a page: an SVG with a role, a label for screen readers, and a caption that explains how to read it."""

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup, escape


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
