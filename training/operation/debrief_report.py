"""Page of a debrief."""

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from consignments.records import TARGET_NAMES
from models.formats import format_percent
from training.operation.debrief import Debrief
from training.operation.tallies import Tally
from training.reporting.html import create_environment
from training.reporting.plots import BLUE, GREY, ORANGE, STYLE, create_figure, render_svg

PAGE_FILE = "debrief.html"
MAX_PARTS = 12
"""Parts of a dimension that the page shows; the JSON has all."""
TITLES = {
    "office": "Offices",
    "channel": "Channels",
    "route": "Routes",
    "week": "Weeks",
    "selected_by": "Selectors",
}
ROW_INCHES = 0.3


def summarize_debrief(debrief: Debrief) -> str:
    """Summarize a debrief for a terminal: totals, then each suggestion with its numbers."""
    total = debrief.total
    rate = (
        f"{format_percent(total.rate.value)}, {format_percent(total.rate.low)} to {format_percent(total.rate.high)}"
        if total.known
        else "no result yet"
    )
    lines = [
        f"{total.selected:,} of {debrief.arrivals:,} consignments were selected, {total.presented:,} inspected, {total.known:,} have a result.",
        f"Detections of {TARGET_NAMES[debrief.target]}: {total.positives:,} ({rate}); of any offence: {total.offences:,}.",
    ]
    if total.scored:
        lines.append(
            f"The scores expected {total.expected.value:.1f} detections ({total.expected.low:.0f} to {total.expected.high:.0f}) "
            f"in {total.scored:,} of these inspections; there were {total.scored_positives:,}: {describe_verdict(total)}."
        )
    if debrief.plan is not None:
        plan = debrief.plan
        lines.append(
            f"The plan expected {plan.expected:.1f} detections ({plan.expected_low:.0f} to {plan.expected_high:.0f})."
        )
    lines += [f"- {each.what}: {each.because}." for each in debrief.suggestions]
    return "\n".join(lines)


def describe_verdict(tally: Tally) -> str:
    """Describe the verdict of a tally for people."""
    words = {
        "more": "more than expected",
        "fewer": "fewer than expected",
        "too few": "too few results",
    }
    return words.get(tally.verdict, tally.verdict)


def render_debrief(debrief: Debrief) -> str:
    """Render the page as self-contained HTML; it prints."""
    return (
        create_environment()
        .get_template(PAGE_FILE)
        .render(
            debrief=debrief,
            summary=summarize_debrief(debrief).partition("\n- ")[0].split("\n"),
            titles=TITLES,
            most=MAX_PARTS,
            describe=describe_verdict,
            picture=Markup(draw_expected(debrief.tallies["office"], debrief.tallies["week"])),
        )
    )


def draw_expected(offices: list[Tally], weeks: list[Tally]) -> str:
    """Draw detections next to the interval that the scores expected, by office and by week."""
    offices = offices[:MAX_PARTS]
    with mpl.rc_context(STYLE):
        height = 1.2 + ROW_INCHES * max(len(offices), len(weeks), 1)
        figure, panels = create_figure(1, 2, width=10.0, height=height)
        for ax, tallies, title in zip(panels, (offices, weeks), ("by office", "by week"), strict=True):
            places = range(len(tallies))
            shown = [place for place in places if tallies[place].scored]
            ax.hlines(
                shown,
                [tallies[place].expected.low for place in shown],
                [tallies[place].expected.high for place in shown],
                color=BLUE,
                alpha=0.35,
                linewidth=7,
                label="expected by the scores, 95 %",
            )
            ax.plot(
                [tallies[place].scored_positives for place in shown],
                shown,
                "o",
                color=ORANGE,
                label="detected",
            )
            ax.set_yticks(list(places), [each.part for each in tallies])
            ax.set_ylim(len(tallies) - 0.5, -0.5)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_xlabel("detections")
            ax.set_title(title)
            ax.axvline(0, color=GREY, linewidth=0.8)
        if any(each.scored for each in (*offices, *weeks)):
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return render_svg(figure)
