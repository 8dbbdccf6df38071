"""Page of a plan."""

from operation.documents.document import Document, to_plain
from operation.documents.plan import InspectionPlan
from training.reporting.charts import BLUE, ORANGE, Chart
from training.reporting.html import render_page

PAGE_FILE = "plan.html"


def summarize_plan(plan: InspectionPlan) -> str:
    """Summarize a plan for a terminal."""
    capacity = sum(each.capacity for each in plan.offices)
    best = max(plan.offices, key=lambda each: each.one_more_a_day)
    return "\n".join(
        [
            f"{plan.operation}: {capacity:,} inspections a day in {len(plan.offices)} office{'s' if len(plan.offices) > 1 else ''}, "
            f"{100 * plan.explore:.0f} % of them random.",
            f"Expected detections: {plan.expected:.1f} ({plan.expected_low:.0f} to {plan.expected_high:.0f}), "
            f"from the scores of {plan.observed_days} days.",
            f"One more inspection a day brings most in office {best.office or 'not given'}: "
            f"{best.one_more_a_day:.2g} detections a day.",
        ]
    )


def build_plan_document(plan: InspectionPlan) -> Document:
    """Build the document; its page is self-contained HTML and prints."""
    summary = summarize_plan(plan)
    page = render_page(PAGE_FILE, plan=plan, summary=summary.split("\n"), picture=draw_curve(plan).render())
    return Document("plan", page, to_plain(plan), summary)


def draw_curve(plan: InspectionPlan) -> Chart:
    """Draw the expected detections a day over the inspections a day, with the planned capacity."""
    chart = Chart(
        "Expected detections a day over inspections a day",
        "The curve is steep where one more inspection brings much. Dashed: the planned capacity.",
        x="inspections a day, all offices",
        y="expected detections a day",
        height=3.2,
    )
    with chart.draw() as axes:
        axes.plot(
            [each.inspections_a_day for each in plan.curve],
            [each.expected_a_day for each in plan.curve],
            "o-",
            color=BLUE,
        )
        planned = sum(each.capacity for each in plan.offices)
        axes.axvline(planned, color=ORANGE, linestyle="--", label="planned")
        axes.set(xlim=(0, None), ylim=(0, None))
    return chart
