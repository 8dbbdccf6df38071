"""Figures of a page: an SVG with a role, a label for screen readers, and a caption that explains how to read it."""

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
