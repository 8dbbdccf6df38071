"""Page of a plan."""

import matplotlib as mpl
from markupsafe import Markup

from training.operation.plan import InspectionPlan
from training.reporting.html import create_environment
from training.reporting.plots import BLUE, ORANGE, STYLE, create_figure, render_svg

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


def render_plan(plan: InspectionPlan) -> str:
    """Render the page as self-contained HTML; it prints."""
    return (
        create_environment()
        .get_template(PAGE_FILE)
        .render(plan=plan, summary=summarize_plan(plan).split("\n"), picture=Markup(draw_curve(plan)))
    )


def draw_curve(plan: InspectionPlan) -> str:
    """Draw the expected detections a day over the inspections a day, with the planned capacity."""
    with mpl.rc_context(STYLE):
        figure, (ax,) = create_figure(1, 1, width=7.0, height=3.2)
        ax.plot(
            [each.inspections_a_day for each in plan.curve],
            [each.expected_a_day for each in plan.curve],
            "o-",
            color=BLUE,
        )
        ax.axvline(sum(each.capacity for each in plan.offices), color=ORANGE, linestyle="--", label="planned")
        ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        ax.set_xlabel("inspections a day, all offices")
        ax.set_ylabel("expected detections a day")
        ax.legend(loc="lower right")
        return render_svg(figure)
