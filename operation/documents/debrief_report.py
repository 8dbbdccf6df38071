"""Page of a debrief."""

from consignments.records import TARGET_NAMES
from models.formats import format_percent
from operation.documents.debrief import Debrief
from operation.documents.document import Document
from operation.documents.tallies import Tally
from training.reporting.charts import BLUE, GREY, ORANGE, Chart, set_rows, set_whole_numbers
from training.reporting.html import render_page

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
    words = {"more": "more than expected", "fewer": "fewer than expected", "too few": "too few results"}
    return words.get(tally.verdict, tally.verdict)


def build_debrief_document(debrief: Debrief) -> Document:
    """Build the document; its page is self-contained HTML and prints."""
    summary = summarize_debrief(debrief)
    page = render_page(
        PAGE_FILE,
        debrief=debrief,
        summary=summary.partition("\n- ")[0].split("\n"),
        titles=TITLES,
        most=MAX_PARTS,
        describe=describe_verdict,
        pictures=[
            draw_expected(debrief.tallies["office"][:MAX_PARTS], "office").render(),
            draw_expected(debrief.tallies["week"], "week").render(),
        ],
    )
    return Document("debrief", page, debrief.to_plain(), summary)


def draw_expected(tallies: list[Tally], part: str) -> Chart:
    """Draw detections next to the interval that the scores expected, by `part`: office or week."""
    chart = Chart(
        f"Detections and the expected interval, by {part}",
        "A point outside its bar: more or fewer detections than the scores expected.",
        title=f"Detections by {part}",
        x="detections",
        height=1.4 + ROW_INCHES * max(len(tallies), 1),
    )
    with chart.draw() as axes:
        scored = [(place, each) for place, each in enumerate(tallies) if each.scored]
        if scored:
            places = [place for place, _ in scored]
            low, high = ([getattr(each.expected, end) for _, each in scored] for end in ("low", "high"))
            bar = "expected by the scores, 95 %"
            axes.hlines(places, low, high, color=BLUE, alpha=0.35, linewidth=7, label=bar)
            found = [each.scored_positives for _, each in scored]
            axes.plot(found, places, "o", color=ORANGE, label="detected")
        set_rows(axes, range(len(tallies)), [each.part for each in tallies])
        set_whole_numbers(axes.xaxis)
        axes.set_ylim(len(tallies) - 0.5, -0.5)
        axes.axvline(0, color=GREY, linewidth=0.8)
    return chart
