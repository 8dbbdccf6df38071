"""Page of a brief."""

from consignments.records import TARGET_NAMES
from models.formats import format_percent
from operation.documents.brief import LABEL_DELAY, Brief
from operation.documents.document import Document, to_plain
from operation.documents.trends import NO_CHANGE, Trend
from training.reporting.html import render_page

PAGE_FILE = "brief.html"
MAX_ROWS = 20
TITLES = {
    "office": "office",
    "channel": "channel",
    "route": "route",
    "departure_country": "departure country",
    "hs_chapter": "HS chapter",
    "family": "substance family",
}


def summarize_brief(brief: Brief) -> str:
    """Summarize a brief for a terminal: totals, then the clear trends, blind spots and data faults."""
    days = (brief.ends - brief.recent_from).days
    lines = [
        f"Detections of {TARGET_NAMES[brief.target]}: {brief.recent_positives:,} in {brief.recent_known:,} results of the last {days} days; "
        f"{brief.positives - brief.recent_positives:,} in {brief.known - brief.recent_known:,} before."
    ]
    clear = [each for each in brief.trends if each.verdict != NO_CHANGE]
    lines += [f"- {describe_trend(each)}" for each in clear[:MAX_ROWS]]
    if not clear:
        lines.append("- no trend is clear")
    if brief.unsettled:
        lines.append(f"- {describe_unsettled(brief)}")
    if brief.blind:
        first = brief.blind[0]
        lines.append(
            f"- parts of the traffic that were not inspected: {len(brief.blind)}; the largest is {TITLES[first.dimension]} {first.part} "
            f"({format_percent(first.share)} of the arrivals)"
        )
    if brief.quality:
        lines.append(
            f"- columns that changed or are mostly empty in the data of an office: {len(brief.quality)}"
        )
    lines.append(f"- alerts in force: {len(brief.alerts)}")
    return "\n".join(lines)


def describe_trend(trend: Trend) -> str:
    """Describe a trend in a sentence without a full stop."""
    before = f"{trend.earlier_positives} of {trend.earlier_known} before"
    return f"{trend.verdict}: {TITLES[trend.dimension]} {trend.part}, {trend.recent_positives} of {trend.recent_known}; {before}"


def describe_unsettled(brief: Brief) -> str:
    """Describe what the trends leave out, in a sentence without a full stop."""
    return (
        f"results of arrivals in the last {LABEL_DELAY.days} days that trends leave out, because detections become known "
        f"later than other results: {brief.unsettled:,}"
    )


def build_brief_document(brief: Brief) -> Document:
    """Build the document; its page is self-contained HTML and prints."""
    summary = summarize_brief(brief)
    page = render_page(PAGE_FILE, brief=brief, summary=summary.split("\n"), titles=TITLES, most=MAX_ROWS)
    return Document("brief", page, to_plain(brief), summary)
