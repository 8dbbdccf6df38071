"""Pages of brief, plan and debrief, and their summaries for a terminal."""

from consignments.records import TARGET_NAMES
from models.formats import format_percent
from operation.documents.brief import LABEL_DELAY, NO_CHANGE, Brief, Trend
from operation.documents.debrief import Debrief
from operation.documents.document import Document
from operation.documents.plan import InspectionPlan
from operation.documents.tallies import Tally
from training.reporting.charts import BLUE, GREY, ORANGE, Chart, set_rows, set_whole_numbers

MAX_ROWS = 20
MAX_PARTS = 12  # parts of a dimension that the page of a debrief shows; the JSON has all
PARTS = {
    "office": "office",
    "channel": "channel",
    "route": "route",
    "departure_country": "departure country",
    "hs_chapter": "HS chapter",
    "family": "substance family",
}
TITLES = {
    "by_office": "Offices",
    "by_channel": "Channels",
    "by_route": "Routes",
    "by_week": "Weeks",
    "by_selected_by": "Selectors",
}
VERDICTS = {"more": "more than expected", "fewer": "fewer than expected", "too few": "too few results"}
ROW_INCHES = 0.3


def build_brief_document(brief: Brief) -> Document:
    """Build the document of a brief."""
    return Document.render("brief", brief, summarize_brief(brief), titles=PARTS, most=MAX_ROWS)


def summarize_brief(brief: Brief) -> str:
    """Summarize a brief for a terminal: totals, then the clear trends, blind spots and data faults."""
    days = (brief.ends - brief.recent_from).days
    lines = [
        f"Detections of {TARGET_NAMES[brief.target]}: {brief.recent_positives:,} in {brief.recent_known:,} results of the last {days} days; "
        f"{brief.positives - brief.recent_positives:,} in {brief.known - brief.recent_known:,} before."
    ]
    clear = [each for each in brief.trends if each.verdict != NO_CHANGE]
    lines += [f"- {_describe_trend(each)}" for each in clear[:MAX_ROWS]] or ["- no trend is clear"]
    if brief.unsettled:
        lines.append(
            f"- results of arrivals in the last {LABEL_DELAY.days} days that trends leave out, because detections become known "
            f"later than other results: {brief.unsettled:,}"
        )
    if brief.blind:
        first = brief.blind[0]
        lines.append(
            f"- parts of the traffic that were not inspected: {len(brief.blind)}; the largest is {PARTS[first.dimension]} {first.part} "
            f"({format_percent(first.share)} of the arrivals)"
        )
    if brief.quality:
        lines.append(f"- columns that changed or are mostly empty in data of an office: {len(brief.quality)}")
    return "\n".join([*lines, f"- alerts in force: {len(brief.alerts)}"])


def _describe_trend(trend: Trend) -> str:
    before = f"{trend.earlier_positives} of {trend.earlier_known} before"
    return f"{trend.verdict}: {PARTS[trend.dimension]} {trend.part}, {trend.recent_positives} of {trend.recent_known}; {before}"


def build_plan_document(plan: InspectionPlan) -> Document:
    """Build the document of a plan."""
    return Document.render("plan", plan, summarize_plan(plan), picture=_draw_curve(plan).render())


def summarize_plan(plan: InspectionPlan) -> str:
    """Summarize a plan for a terminal."""
    capacity = sum(each.capacity for each in plan.offices)
    best = max(plan.offices, key=lambda each: each.one_more_a_day)
    return (
        f"{plan.operation}: {capacity:,} inspections a day in {len(plan.offices)} office{'s' if len(plan.offices) > 1 else ''}, "
        f"{100 * plan.explore:.0f} % of them random.\n"
        f"Expected detections: {plan.expected:.1f} ({plan.expected_low:.0f} to {plan.expected_high:.0f}), "
        f"from the scores of {plan.observed_days} days.\n"
        f"One more inspection a day brings most in office {best.office or 'not given'}: {best.one_more_a_day:.2g} detections a day."
    )


def _draw_curve(plan: InspectionPlan) -> Chart:
    """Draw the expected detections a day over the inspections a day, with the planned capacity."""
    chart = Chart(
        "Expected detections a day over inspections a day",
        "The curve is steep where one more inspection brings much. Dashed: the planned capacity.",
        x="inspections a day, all offices",
        y="expected detections a day",
        height=3.2,
    )
    with chart.draw() as axes:
        inspections = [each.inspections_a_day for each in plan.curve]
        axes.plot(inspections, [each.expected_a_day for each in plan.curve], "o-", color=BLUE)
        planned = sum(each.capacity for each in plan.offices)
        axes.axvline(planned, color=ORANGE, linestyle="--", label="planned")
        axes.set(xlim=(0, None), ylim=(0, None))
    return chart


def build_debrief_document(debrief: Debrief) -> Document:
    """Build the document of a debrief."""
    charts = _draw_expected(debrief.by_office[:MAX_PARTS], "office"), _draw_expected(debrief.by_week, "week")
    pictures = [chart.render() for chart in charts]
    return Document.render(
        "debrief",
        debrief,
        summarize_debrief(debrief),
        titles=TITLES,
        most=MAX_PARTS,
        verdicts=VERDICTS,
        pictures=pictures,
    )


def summarize_debrief(debrief: Debrief) -> str:
    """Summarize a debrief for a terminal: totals, then each suggestion with its numbers."""
    total, rate = debrief.total, "no result yet"
    if total.known:
        value, low, high = (
            format_percent(each) for each in (total.rate.value, total.rate.low, total.rate.high)
        )
        rate = f"{value}, {low} to {high}"
    lines = [
        f"{total.selected:,} of {debrief.arrivals:,} consignments were selected, {total.presented:,} inspected, {total.known:,} have a result.",
        f"Detections of {TARGET_NAMES[debrief.target]}: {total.positives:,} ({rate}); of any offence: {total.offences:,}.",
    ]
    if total.scored:
        lines.append(
            f"The scores expected {total.expected.value:.1f} detections ({total.expected.low:.0f} to {total.expected.high:.0f}) "
            f"in {total.scored:,} of these inspections; there were {total.scored_positives:,}: {VERDICTS.get(total.verdict, total.verdict)}."
        )
    if debrief.plan is not None:
        planned = debrief.plan.expected
        lines.append(
            f"The plan expected {planned.value:.1f} detections ({planned.low:.0f} to {planned.high:.0f})."
        )
    return "\n".join([*lines, *(f"- {each.what}: {each.because}." for each in debrief.suggestions)])


def _draw_expected(tallies: list[Tally], part: str) -> Chart:
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
