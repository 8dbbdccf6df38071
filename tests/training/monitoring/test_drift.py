"""Watching without labels: each planted change has its own verdict, and none has none."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from string import ascii_lowercase
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pytest
from support.pages import list_fetched

import features.streams
from consignments.errors import BadInput
from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import stream_table
from features.batch import Tables
from features.streams import FeatureInputs, InMemoryTable
from models.arrays import Row
from models.bundle import Bundle, load_bundle
from models.formats import format_number
from models.registry import ModelVersion
from models.traffic_profile import SourceActivity
from training.config import EvaluationConfig, parse_config
from training.data.splits import ALL_ARRIVALS, ArrivalWindow
from training.evaluation.estimate import Estimate
from training.monitoring.drift import (
    Drift,
    MonitoredTraffic,
    build_metric_name,
    describe_overlap,
    detect_drift,
)
from training.monitoring.drift_measures import (
    BEYOND,
    LIMITS,
    MIN_EXPECTED_POSITIVES,
    MIN_ROWS,
    NOT_EVALUATED,
    DriftVerdict,
    build_row,
    compute_psi,
)
from training.monitoring.drift_report import (
    MAX_DRAWN,
    build_drift_record,
    render_drift,
    select_nearest,
    summarize_drift,
)
from training.monitoring.traffic_profile import count_lasting
from training.runs.artifacts import write_run_bundles
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import SimulatedTables, simulate

QUICK = EvaluationConfig()
CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 7},
        "model": {"trees": 25},
        "evaluation": {"name_rows": 60, "smallest_slice": 10, "origins": 0},
    }
)
WATCHED_DAYS = 14


class Watched:
    """A model of a simulated world, and the two weeks after it."""

    def __init__(self, world: SimulatedTables, bundle: Bundle, as_of: pd.Timestamp) -> None:
        self.world, self.bundle, self.as_of = world, bundle, as_of
        later = world.consignments["received_at"] >= as_of
        self.past, self.later = world.consignments[~later], world.consignments[later].reset_index(drop=True)
        self.recent = self.past[self.past["received_at"] >= as_of - pd.Timedelta(days=12)]
        """History enough for what does not depend on the verdict."""

    def watch(
        self,
        frame: pd.DataFrame,
        *,
        history: pd.DataFrame | Literal["past", "recent"] | None = "past",
        outcomes: pd.DataFrame | Literal["all"] | None = "all",
        reference: pd.DataFrame | None = None,
        window: ArrivalWindow = ALL_ARRIVALS,
        config: EvaluationConfig = QUICK,
    ) -> Drift:
        known = self.world.outcomes if isinstance(outcomes, str) else outcomes
        tables = Tables(frame, known, self.world.alerts)
        past = history if not isinstance(history, str) else self.past if history == "past" else self.recent
        source = None if reference is None else InMemoryTable(reference)
        traffic = MonitoredTraffic(FeatureInputs.from_tables(tables, past), source, window)
        return detect_drift(self.bundle, traffic, config)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    # A seed without a wave of parcels in its last weeks, for the claim that nothing moved.
    world = simulate(days=94, per_day=120, prevalence="operation", seed=1)
    end = world.consignments["received_at"].max().ceil("D")
    as_of = end - pd.Timedelta(days=WATCHED_DAYS)
    earlier = world.consignments["received_at"] < as_of
    tables = Tables(world.consignments[earlier].reset_index(drop=True), world.outcomes, world.alerts)
    trained = train_model(TrainingTask(tables, as_of.to_pydatetime(), "any_offence", CONFIG))
    folder = tmp_path_factory.mktemp("watched")
    write_run_bundles(trained, folder)
    return Watched(world, load_bundle(folder / "bundle"), as_of)


@pytest.fixture(scope="module")
def calm(watched: Watched) -> Drift:
    return watched.watch(watched.later)


def build_run_texts(drift: Drift) -> dict[str, str]:
    version = ModelVersion("nps-risk", "1", "", {"target": "nps"}, ())
    return {name: table.to_json() for name, table in build_drift_record(drift, "", version).tables.items()}


def some(frame: pd.DataFrame, share: float = 0.4) -> Any:
    return np.random.default_rng(1).random(len(frame)) < share


def test_a_sample_of_the_traffic_finds_the_same_and_says_so(watched: Watched, calm: Drift) -> None:
    sampled = msgspec.structs.replace(QUICK, traffic_rows=len(watched.later) // 2)
    found = watched.watch(watched.later, config=sampled)
    assert found.verdict == "stable", summarize_drift(found)
    assert found.notes[0].startswith(f"A uniform sample of {len(watched.later) // 2:,} of ")
    assert not any(row["result"] == BEYOND for row in found.select_kind("source"))
    for office, days in calm.daily.items():
        assert sum(found.daily[office]) == pytest.approx(sum(days), rel=0.2)
    now, then = (each.select_kind("expected precision")[0]["now"] for each in (found, calm))
    assert now == pytest.approx(then, rel=0.4)


def test_where_nothing_changed_it_is_stable(calm: Drift) -> None:
    assert calm.verdict == "stable", summarize_drift(calm)
    assert calm.reasons == []
    assert replace(calm, is_later=False).verdict == "insufficient data"
    assert max(row["value"] for row in calm.select_kind("score")) < 0.25


def test_a_stable_verdict_says_which_features_changed_and_how_far_the_level_is_off(
    watched: Watched, calm: Drift
) -> None:
    changed = [row for row in calm.features if row["psi"] >= LIMITS["score"].bound]
    assert changed[0]["psi"] > 1
    level = watched.bundle.card.level
    for text in (summarize_drift(calm), html.unescape(render_drift(calm, "models:/nps-risk/3"))):
        assert f"{len(changed)} of {len(calm.features):,} features, counted by channel, changed much" in text
        assert f"the largest {format_number(changed[0]['psi'])}." in text
        assert f"Its change counts, not its level. {level.to_sentence()}" in text


Change = Callable[[pd.DataFrame, datetime], pd.DataFrame]


def air_cargo_stops(frame: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    stopped = (frame["channel"] == "air_cargo") & (frame["received_at"] >= as_of + pd.Timedelta(days=6))
    return frame[~stopped]


def mail_is_weighed_in_grams(frame: pd.DataFrame, _: datetime) -> pd.DataFrame:
    weight = frame["gross_weight_kg"].where(frame["channel"] != "postal", 1000 * frame["gross_weight_kg"])
    return frame.assign(gross_weight_kg=weight)


def services_have_new_codes(frame: pd.DataFrame, _: datetime) -> pd.DataFrame:
    return frame.assign(service=frame["service"].where(~some(frame), "svc_" + frame["service"]))


def a_column_is_empty(frame: pd.DataFrame, _: datetime) -> pd.DataFrame:
    return frame.assign(hs_code=pd.Series(None, index=frame.index, dtype="str"))


def origins_shift(frame: pd.DataFrame, _: datetime) -> pd.DataFrame:
    changed = frame.copy()
    changed.loc[some(frame), ["departure_country", "sender_country", "origin_country"]] = "US"
    return changed


def senders_are_new(frame: pd.DataFrame, _: datetime) -> pd.DataFrame:
    new = [f"{first}{second}x Trader" for first in ascii_lowercase for second in ascii_lowercase]
    names = [new[n % len(new)] + "q" * (n // len(new)) for n in range(len(frame))]
    return frame.assign(sender_name=frame["sender_name"].where(~some(frame), pd.Series(names, frame.index)))


DATA_FAULTS: dict[Change, str] = {
    air_cargo_stops: "Arrivals from channel air cargo are 0 % of the expected number",
    lambda frame, _: frame[frame["office"] != "Busan"]: "Arrivals from office Busan are 0 % of the expected",
    mail_is_weighed_in_grams: "as if it were in grams instead of kilograms",
    services_have_new_codes: "share of traffic with a new code of service rose by",
    a_column_is_empty: "share of postal traffic without hs code rose by",
}
SHIFTS: dict[Change, str] = {
    origins_shift: "total variation of the mix of departure country is",
    senders_are_new: "traffic with a new sender changed by",
}
VERDICTS: dict[DriftVerdict, Any] = {"investigate data": DATA_FAULTS, "retrain": SHIFTS}


def assert_told(found: Drift, verdict: DriftVerdict, told: str) -> None:
    assert found.verdict == verdict, summarize_drift(found)
    assert any(told in reason["text"] for reason in found.reasons if reason["verdict"] == verdict)
    limit = r"\(\S+ to \S+( over five quantiles)?; limit: (above|below|factor|\S+ points in) "
    assert all(re.search(limit, reason["text"]) for reason in found.reasons)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_planted_changes_have_their_verdict_and_reasons(watched: Watched, verdict: DriftVerdict) -> None:
    changed = watched.later
    for change in VERDICTS[verdict]:
        changed = change(changed, watched.as_of)
    found = watched.watch(changed)
    for told in VERDICTS[verdict].values():
        assert_told(found, verdict, told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "change"), [(verdict, change) for verdict, changes in VERDICTS.items() for change in changes]
)
def test_a_planted_change_alone_has_its_verdict(watched: Watched, verdict: DriftVerdict, change: Any) -> None:
    assert_told(watched.watch(change(watched.later, watched.as_of)), verdict, VERDICTS[verdict][change])


def test_a_fall_of_precision_whose_interval_reaches_the_limit_is_no_reason() -> None:
    """Expected precision fell from 10.5 % to 6.48 % (4.19 % to 9.66 %): 62 % of the reference, but 40 % to 92 %."""
    fell = Estimate(6.48 / 10.5, 4.19 / 10.5, 9.66 / 10.5)
    row = build_row("expected precision", "precision", "capacity", fell, detail="6.48 %, reference 10.5 %")
    assert row["result"] == "not clearly beyond limit", "within limit stood beside a point beyond the line"
    assert judge(row).reasons == []
    assert judge(row, build_row("score", "score", "all", Estimate(0.1, 0.0, 0.2))).verdict == "stable"
    unknown = [build_row(kind, "name", "part", Estimate(9.0, np.nan, np.nan)) for kind in LIMITS]
    assert {each["result"] for each in unknown} == {NOT_EVALUATED}
    assert judge(*unknown).reasons == []
    clear = build_row("expected precision", "precision", "capacity", Estimate(0.4, 0.3, 0.6), detail="4 %")
    (reason,) = judge(clear).reasons
    ratio = "40.0 % of that of the reference (30.0 to 60.0; limit: below 66.7 %)"
    assert reason["text"] == f"The expected precision at capacity is {ratio}: 4 %"
    assert judge(clear).verdict == "retrain"


def judge(*measures: Row) -> Drift:
    return Drift(None, None, list(measures), [], [], {})


def test_one_day_shows_faults_of_the_data_and_asks_for_no_model(watched: Watched) -> None:
    days = watched.later.iloc[:400]
    day = days.assign(received_at=days["received_at"].min())
    changed = origins_shift(a_column_is_empty(day, watched.as_of), watched.as_of)
    found = watched.watch(changed, history="recent")
    assert {reason["verdict"] for reason in found.reasons} == {"investigate data"}, summarize_drift(found)
    assert any("One day has no interval" in note for note in found.notes)
    page = render_drift(found, "models:/nps-risk/3")
    assert "to –" not in page, "an interval has two ends or none"
    assert not any("_" in note for note in found.notes)


def test_too_little_traffic_is_not_called_stable_and_says_how_much_is_needed(watched: Watched) -> None:
    """One day of 60 consignments, and three days of 60: nothing changed, and nothing can be told."""
    first = watched.later["received_at"].min().floor("D")
    for days in (1, 3):
        arrived = watched.later[watched.later["received_at"] < first + pd.Timedelta(days=days)]
        few = arrived[arrived.groupby("channel").cumcount() % days == 0].groupby("channel").head(60)
        found = watched.watch(few.reset_index(drop=True), history="recent")
        assert found.verdict == "insufficient data", summarize_drift(found)
        text = summarize_drift(found)
        assert "Keep the model" not in text
        assert ("Give at least two days" in text) == (days == 1)
        assert re.search(r"channel postal \(60, enough after [12] more days?\)", text), text
        assert '<span class="word">insufficient data</span>' in render_drift(found, "models:/nps-risk/3")


def test_too_few_results_say_how_many_more_are_needed_for_precision(watched: Watched, calm: Drift) -> None:
    found = watched.watch(watched.later, outcomes=None)
    assert (found.verdict, "No outcomes were given" in found.notes[0]) == ("stable", True)
    said = "Whether its precision holds is not known yet: there are too few results."
    assert said in summarize_drift(found)
    (row,) = calm.select_kind("observed precision")
    pattern = r"of ([\d.]+) known.*, predicted ([\d.]+);.* so about ([\d,]+) more results? needed"
    told = re.search(pattern, row["detail"]).groups()
    known, predicted, more = (float(each.replace(",", "")) for each in told)
    # The weighted share that the scores promise stood beside counts that gave another one.
    assert np.isnan(row["then"])
    assert row["detail"].startswith("counted without weights: ")
    assert predicted < MIN_EXPECTED_POSITIVES
    assert more == pytest.approx(known * (MIN_EXPECTED_POSITIVES / predicted - 1), rel=0.05, abs=1)


def add_carriers(watched: Watched, **carriers: SourceActivity) -> Watched:
    """Let the reference of the model know carriers of which none was in its traffic."""
    known = {name.replace("_", " "): activity for name, activity in carriers.items()}
    sources = watched.bundle.reference.sources | {"carrier": known}
    reference = msgspec.structs.replace(watched.bundle.reference, sources=sources)
    return Watched(watched.world, replace(watched.bundle, reference=reference), watched.as_of)


def test_a_wave_that_came_and_went_is_no_source_that_fell_silent(watched: Watched) -> None:
    others = {"Wave_Post": SourceActivity(60, 9), "Seldom_Post": SourceActivity(10, 1)}
    given = add_carriers(watched, **others, Daily_Post=SourceActivity(60, 1))
    (reason,) = given.watch(given.later).reasons
    assert reason["text"].startswith("Arrivals from carrier Daily Post are 0 % of the expected number (")
    assert reason["text"].endswith(": 0 received, about 60 expected")


@pytest.mark.parametrize(
    ("days", "expected"), [([*range(10)] * 2, 20), ([0, 1, 2, 3] * 9 + [7], 2), ([9] * 5, 0), ([4], 0)]
)
def test_what_a_wave_brought_that_ended_in_the_reference_is_not_expected_again(
    days: list[int], expected: int
) -> None:
    """One firm had sent 66 of 73 parcels of a carrier, stopped, and the data were called faulty."""
    assert count_lasting(np.array(days), 0, 9) == expected


def test_a_gap_says_what_was_expected_in_it_next_to_its_ratio(watched: Watched) -> None:
    given = add_carriers(watched, Gap_Post=SourceActivity(60, 1), Rising_Post=SourceActivity(6, 1))
    begun = given.later["received_at"] < given.later["received_at"].min() + pd.Timedelta(hours=20)
    carrier = given.later["carrier"].mask(begun & (begun.cumsum() <= 22), "Gap Post")
    carrier.iloc[np.linspace(begun.sum(), len(carrier) - 1, 60).astype(int)] = "Rising Post"
    found = given.watch(given.later.assign(carrier=carrier), history="recent")
    (row,) = [row for row in found.select_kind("source") if row["part"] == "Gap Post"]
    gap = "none in a gap of 13 days, about 51 expected beyond the usual gap"
    assert row["detail"] == f"{gap}; in all days 22 received, about 60 expected"
    (row,) = [row for row in found.select_kind("source") if row["part"] == "Rising Post"]
    assert row["result"] == "within limit"
    assert re.fullmatch(r"[56]\d received, about 6 expected; a rise has no limit", row["detail"])
    assert not re.search(r"<td[^>]*>history\.", render_drift(found, "models:/nps-risk/3"))


def test_versions_after_the_inspection_and_withdrawn_consignments_are_not_watched(watched: Watched) -> None:
    past, later = watched.recent.assign(sequence=0), watched.later.assign(sequence=1)
    known = set(watched.world.outcomes["consignment_id"])
    inspected = past[past["consignment_id"].isin(known)].iloc[:15]
    after = inspected.assign(sequence=2, received_at=watched.world.consignments["received_at"].max())
    later["cancelled_at"] = later["received_at"].where(later.index == later.index[-1])
    found = watched.watch(pd.concat([later, after], ignore_index=True), history=past)
    opened = later["consignment_id"].iloc[-1] in known
    counted = sum(sum(days) for source, days in found.daily.items() if source.startswith("channel:"))
    assert counted == len(later) - (not opened)


def test_the_period_may_be_cut_from_a_table_that_begins_with_history(watched: Watched, calm: Drift) -> None:
    whole = watched.world.consignments
    found = watched.watch(whole, history=None, window=ArrivalWindow(watched.as_of.to_pydatetime()))
    assert found.now == calm.now
    with pytest.raises(BadInput, match="--until"):
        watched.watch(whole, window=ArrivalWindow(datetime(2050, 1, 1, tzinfo=watched.as_of.tz)))


def test_without_history_scores_and_senders_are_not_judged_and_it_says_so(watched: Watched) -> None:
    found = watched.watch(watched.later, history=None)
    assert found.verdict == "insufficient data", summarize_drift(found)
    assert "history is empty" in found.notes[0]


@pytest.mark.slow
def test_a_reference_and_a_history_in_chunks_give_the_numbers_of_tables_in_memory(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reference is a week of the history, which also has later consignments."""
    end = watched.as_of - pd.Timedelta(days=5)
    latest = watched.past[watched.past["received_at"] >= watched.as_of - pd.Timedelta(days=14)]
    inside = latest["received_at"].between(end - pd.Timedelta(days=7), end)
    now = watched.later.head(400)
    whole = watched.watch(now, history=latest, reference=latest[inside])
    monkeypatch.setattr("features.streams.MAX_BLOCK_ROWS", 400)
    monkeypatch.setattr(features.streams.stream_features, "__kwdefaults__", {**features.streams.stream_features.__kwdefaults__, "piece_rows": 150})  # fmt: skip
    monkeypatch.setattr("features.streams.LARGE_TABLE_ROWS", 0)  # a block beyond its limit would be told
    for name, rows in (("past", latest), ("reference", latest[inside]), ("later", now)):
        write_table(rows, tmp_path / f"{name}.parquet")
    files = (tmp_path / f"{name}.parquet" for name in ("past", "reference", "later"))
    past, reference, later = (stream_table(file, Consignment, piece_rows=64) for file in files)
    inputs = FeatureInputs(later, (past,), watched.world.outcomes, watched.world.alerts)
    found = detect_drift(watched.bundle, MonitoredTraffic(inputs, reference), QUICK)
    assert build_run_texts(found) == build_run_texts(whole)
    assert found.then == whole.then
    assert "not in the order of history" not in caplog.text


def test_a_reference_without_rows_is_refused(watched: Watched) -> None:
    with pytest.raises(BadInput, match="the reference is empty"):
        watched.watch(watched.later, reference=watched.later.head(0))


def test_the_page_needs_nothing_from_elsewhere_and_names_no_person(watched: Watched, calm: Drift) -> None:
    page = render_drift(calm, "models:/nps-risk/3")
    assert list_fetched(page) == []
    assert page.index("<svg") < page.index("Precision at capacity")
    assert page.count("<figure>") == page.count("<figcaption>") == page.count('role="img" aria-label=') == 4
    assert ">false<" not in page
    assert ">true<" not in page
    for column in ("sender_name", "consignee_name", "consignee_address"):
        assert not [value for value in watched.later[column].dropna() if f">{value}<" in page]


def test_of_many_measures_those_nearest_to_their_limits_are_drawn() -> None:
    changes = {f"office {n}": Estimate(n / 10_000, 0.0, 0.2) for n in range(1450)}
    rows = [build_row("score", "score", office, change, rows=500) for office, change in changes.items()]
    few = build_row("score", "score", "office few", Estimate(3.0, 2.0, 4.0), rows=MIN_ROWS - 1)
    clear = build_row("mix", "nature", "all", Estimate(0.19, 0.15, 0.23))
    fell = build_row("new key", "sender", "postal", Estimate(-0.149, -0.17, -0.12), rows=500)
    assert select_nearest([clear, fell])[0] is fell
    drawn = select_nearest([*rows, few, clear])
    nearest = (f"office {n}" for n in range(1449, 1450 - MAX_DRAWN, -1))
    assert [row["part"] for row in drawn] == ["all", *nearest]


def test_the_stability_index_is_the_one_of_its_formula_less_chance() -> None:
    then, now = np.array([600.0, 400.0]), np.array([300.0, 700.0])
    by_hand = 0.3 * np.log(0.6 / 0.3) + 0.3 * np.log(0.7 / 0.4) - (1 / 1000 + 1 / 1000)
    assert compute_psi(then, now) == pytest.approx(by_hand, abs=1e-3)
    assert compute_psi(then, then) == 0


def test_quick_results_of_young_arrivals_are_no_loss_of_precision(watched: Watched, calm: Drift) -> None:
    outcomes = watched.world.outcomes
    quick = outcomes[outcomes["known_at"] < watched.later["received_at"].max()]
    found = watched.watch(watched.later, history="recent", outcomes=quick)
    known = [each.select_kind("observed precision")[0]["detail"] for each in (calm, found)]
    assert "of 0 known results" not in known[0]
    assert "0 positives of 0 known results" in known[1]
    assert "are not used for the observed precision" in found.notes[0]


def test_scores_that_promise_more_than_is_found_ask_for_a_new_model(watched: Watched, calm: Drift) -> None:
    """The outcomes of all that was inspected in the watched weeks turn to clear."""
    outcomes = watched.world.outcomes
    later = outcomes["consignment_id"].isin(set(watched.later["consignment_id"]))
    empty = outcomes.assign(result=outcomes["result"].where(~later | outcomes["known_at"].isna(), "clear"))
    found = watched.watch(watched.later, history="recent", outcomes=empty)
    (row,) = found.select_kind("observed precision")
    assert "0 positives of " in row["detail"]
    predicted = float(re.search(r"predicted ([\d.]+)", row["detail"])[1])
    assert (row["result"] == NOT_EVALUATED) == (predicted < MIN_EXPECTED_POSITIVES)
    assert calm.select_kind("observed precision")[0]["result"] != BEYOND


LEARNT = [*zip((15, 26, 28), (5, 10, 7), ("",) * 3, (5, 2, 0), strict=True), (28, 7, "2024-08-30T00", 2)]


@pytest.mark.parametrize(("begins", "days", "learnt_until", "seen"), LEARNT)
def test_days_that_hide_drift_are_counted(begins: int, days: int, learnt_until: str, seen: int) -> None:
    reference = SimpleNamespace(first_day="2024-07-31", days=28)
    arrivals = pd.date_range(f"2024-08-{begins}", periods=days, tz="UTC").as_unit("us").asi8 + 1
    said = f"Warning: the model or its reference period has {seen} of the {days} monitored days"
    told = [f"{said}, and they hide drift. Use --from {max('2024-08-28', learnt_until[:10])} or later."]
    assert describe_overlap(reference, learnt_until, arrivals) == (seen < days, told * bool(seen))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "office",
    ["Busan (Mail Centre)", "a'&,b", "x//y", "../..", "a/./b", "한국", "x" * 500, "end/", "line\n", ""],
)
def test_mlflow_accepts_the_metrics_of_any_office(office: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    parts = (f"office {each}" for each in (office[:20], office + "("))
    name, other = (build_metric_name({"kind": "score", "part": part}) for part in parts)
    _validate_metric_name(name)
    _validate_metric_name(other)
    assert name != other
