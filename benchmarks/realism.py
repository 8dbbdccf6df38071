"""Realism checks: measurements of a simulated world, needed before the metrics of a model in it mean anything.

All of them use the truth and what was really sent. So they are for evaluating a world, and nothing
that trains or scores imports them.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.arrays import Bools, Floats, Ints
from training.simulation.context import SimulationContext
from training.simulation.operation import Progress, SimulatedTables, Simulation
from training.simulation.parameters import SimulationParameters
from training.simulation.parties import BOXES, HUMAN
from training.simulation.shipments import Contents, SimulatedDay

NEW_DAYS = REPEAT_DAYS = 30
OUT_OF_CLASS_SDS = 2.0
"""Distance in standard deviations from its class's median at which a value is out of class."""
PRIOR_ROWS = 20
"""Number of prior observations at the mean rate, for the rate of a text."""
MAX_PARTIES = 10**9
DRUG_RESULTS = ("nps", "controlled_drug")
DAYS_PER_WEEK = 7
SECONDS_PER_DAY = 86_400


@dataclass
class SimulationRecorder:
    """Recorder of what was really sent, day by day, with a flag for each sign of the spec; passed to `Simulation.run`."""

    context: SimulationContext
    days: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    _last: dict[int, int] = field(default_factory=dict)

    def record_day(self, arrivals: SimulatedDay) -> None:
        """Record the facts of a day."""
        sent, parties, catalogue = arrivals.shipments, self.context.parties, self.context.catalogue
        class_usd = catalogue.usd_per_kg[sent.ware] * sent.kg
        spread = OUT_OF_CLASS_SDS * self.context.world.declarations.value_spread
        signs, services = self.context.world.tells, list(self.context.world.services)
        premium = np.isin(services, signs.premium_services)[sent.service]
        pair = sent.sender * MAX_PARTIES + sent.consignee
        _, place, times = np.unique(pair, return_inverse=True, return_counts=True)
        self.days.append(
            {
                "day": np.full(len(sent), arrivals.since_start),
                "network": sent.network,
                "sender": sent.sender,
                "consignee": sent.consignee,
                "ware": sent.ware,
                "result": sent.result,
                "hs_description_mismatch": sent.hs_ware != sent.ware,
                "value_per_kg_out_of_class": np.abs(np.log(sent.usd / class_usd)) > spread,
                "powder_cover_to_private_person": catalogue.powder[sent.ware]
                & HUMAN[parties.kind[sent.consignee]],
                "new_shipper_lt_30d": arrivals.since_start - parties.born[sent.sender] < NEW_DAYS,
                "consignee_name_address_mismatch": sent.named != sent.consignee,
                "po_box_or_virtual_or_forwarder": BOXES[parties.kind[sent.consignee]],
                "repeat_same_shipper_cluster": self._is_repeated(pair, arrivals.since_start),
                "split_shipments_same_day": times[place] > 1,
                "origin_route_detour_via_hub": (sent.hub >= 0) & (sent.hub != sent.departure),
                "tracked_premium_for_low_value": premium & (sent.usd < signs.max_premium_usd),
            }
        )

    def _is_repeated(self, pairs: Ints, day: int) -> Bools:
        never = -REPEAT_DAYS - 1
        lately = [day - self._last.get(pair, never) <= REPEAT_DAYS for pair in pairs.tolist()]
        self._last.update(dict.fromkeys(pairs.tolist(), day))
        return np.array(lately, dtype=bool)

    def build_table(self) -> pd.DataFrame:
        """Build one table of all days, in the order of the consignments."""
        names = self.days[0]
        frame = pd.DataFrame({name: np.concatenate([day[name] for day in self.days]) for name in names})
        frame["shared_phone_or_address_across_names"] = self._shares_contacts()[frame["consignee"]]
        return frame

    def _shares_contacts(self) -> Bools:
        """Check which parties use an address or a phone that another name had before them."""
        parties, everyone = self.context.parties, np.arange(self.context.parties.size)
        name = pd.Series(parties.get_texts("name", everyone))
        place = pd.Series(parties.get_texts("address", everyone)) + parties.get_texts("postcode", everyone)
        phone = pd.Series(parties.get_texts("phone", everyone))
        by_place, by_phone = (
            (name.groupby(contact).transform("first") != name).to_numpy(dtype=bool)
            for contact in (place, phone)
        )
        return np.asarray(by_place | by_phone)


@dataclass(frozen=True)
class SimulatedPeriod:
    """A simulated world, and what was really sent, in the order of the consignments."""

    tables: SimulatedTables
    sent: pd.DataFrame
    context: SimulationContext

    @property
    def nps(self) -> Bools:
        """Mask of the consignments that contain NPS."""
        return (self.tables.truth["result"] == "nps").to_numpy(dtype=bool)


def simulate_period(
    world: SimulationParameters,
    *,
    days: int,
    per_day: int,
    prevalence: str,
    seed: int,
    progress: Progress | None = None,
) -> SimulatedPeriod:
    """Simulate a world with a recorder; the parameters are those of `simulate`."""
    simulation = Simulation(world, days=days, per_day=per_day, prevalence=prevalence, seed=seed)
    witness = SimulationRecorder(simulation.context)
    tables = simulation.run(days, watch=witness.record_day, progress=progress)
    return SimulatedPeriod(tables, witness.build_table(), simulation.context)


class SignStrength(NamedTuple):
    """Frequency of a sign among positives and negatives, and their likelihood ratio."""

    positives: float
    negatives: float

    @property
    def ratio(self) -> float:
        """The likelihood ratio."""
        return self.positives / self.negatives


def measure_signs(sent: pd.DataFrame, *, from_day: int = REPEAT_DAYS) -> dict[str, SignStrength]:
    """Measure each sign, from the day on which there is a past to repeat; negatives contain no drugs."""
    later = sent[sent["day"] >= from_day]
    positive = later["result"] == Contents.NPS
    negative = later["result"].isin([Contents.CLEAR, Contents.OTHER])
    return {
        name: SignStrength(float(later.loc[positive, name].mean()), float(later.loc[negative, name].mean()))
        for name in map(str, sent.select_dtypes(bool))
    }


def compute_look_alike_ratio(world: SimulatedPeriod) -> float:
    """Compute the number of legitimate look-alikes for each consignment that contains NPS."""
    hard = world.context.catalogue.hard[world.sent["ware"]] & (world.sent["network"] < 0).to_numpy()
    return float(hard.sum() / max(1, world.nps.sum()))


def measure_field_aucs(consignments: pd.DataFrame, positive: Bools) -> dict[str, float]:
    """Measure how well each raw field alone separates positives, best first; a text or time has its rate in the first half."""
    aucs = {
        name: _measure_field_auc(consignments[name], positive)
        for name in consignments.columns
        if name != "consignment_id"
    }
    return dict(sorted(aucs.items(), key=lambda item: -item[1]))


def _measure_field_auc(values: pd.Series, positive: Bools) -> float:
    if pd.api.types.is_numeric_dtype(values):
        return _compute_undirected_auc(positive, values.fillna(-1.0).to_numpy())
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.dt.hour
    half, texts, prior = len(values) // 2, values.astype("str").fillna(""), positive.mean()
    seen = pd.Series(positive[:half]).groupby(texts[:half].to_numpy())
    rates = (seen.sum() + PRIOR_ROWS * prior) / (seen.count() + PRIOR_ROWS)
    return float(roc_auc_score(positive[half:], texts[half:].map(rates).fillna(prior)))


def _compute_undirected_auc(positive: Bools, values: NDArray[Any]) -> float:
    auc = float(roc_auc_score(positive, values))
    return max(auc, 1.0 - auc)


def match_descriptions(lived_in: SimulatedPeriod, names: tuple[str, ...]) -> Bools:
    """Check which descriptions contain one of some names, character by character, ignoring case."""
    texts = lived_in.tables.consignments["description"].fillna("").str.casefold()
    folded = [name.casefold() for name in names]
    return np.array([any(name in text for name in folded) for text in texts], dtype=bool)


def list_substance_names(world: SimulationParameters) -> tuple[str, ...]:
    """List the names of all NPS in use from the start."""
    return tuple(name for family in world.goods.substances.values() for name in family.names)


@dataclass(frozen=True)
class InspectionResults:
    """Results of inspections: all once, with the truth in `held`; those that are final; those that the laboratory examined."""

    opened: pd.DataFrame
    final: pd.DataFrame
    submitted: pd.DataFrame

    @classmethod
    def from_tables(cls, tables: SimulatedTables, *, until_day: int | None = None) -> "InspectionResults":
        """Build the results from the outcomes of consignments that arrived before a day from the start."""
        arrived = tables.consignments["received_at"]
        facts = tables.truth[["consignment_id", "result"]].rename(columns={"result": "held"})
        facts["day"] = (arrived - arrived.min().floor("D")).dt.days
        outcomes = tables.outcomes.merge(facts, on="consignment_id")
        if until_day is not None:
            outcomes = outcomes[outcomes["day"] < until_day]
        opened = outcomes[outcomes["status"] == "inspected"]
        last = opened[opened["known_at"].notna()].sort_values("known_at", kind="stable")
        final = last.drop_duplicates("consignment_id", keep="last")
        pending = opened.loc[opened["result"] == "pending", "consignment_id"]
        return cls(
            opened.drop_duplicates("consignment_id"), final, final[final["consignment_id"].isin(pending)]
        )

    def compute_share(self, result: str) -> float:
        """Compute the share of a result among the final results."""
        return float((self.final["result"] == result).mean())

    @property
    def hits(self) -> float:
        """Share of the final results with anything prohibited."""
        return 1.0 - self.compute_share("clear")

    def compute_laboratory_days(self) -> Floats:
        """Compute the days from inspection to result."""
        delay = self.submitted["known_at"] - self.submitted["inspected_at"]
        return np.asarray(delay.dt.total_seconds() / SECONDS_PER_DAY, dtype=np.float64)


def compute_shares_by_period(day: Ints, part: Bools, whole: Bools, days: int) -> Floats:
    """Compute for each period of `days` days the share of `part` in `whole`; NaN if the whole is empty."""
    period = day // days
    count = np.bincount(period[whole], minlength=period.max() + 1)
    among = np.bincount(period[whole & part], minlength=len(count))
    shares: Floats = np.divide(among, count, out=np.full(len(count), np.nan), where=count > 0)
    return shares


def measure_kept_senders(world: SimulatedPeriod, weeks: range) -> dict[int, float]:
    """Measure the share of a network's parcels under names of the 30 days before a seizure, by weeks since it; seizures are frequent."""
    sent = world.sent[world.sent["network"] >= 0]
    used = {
        number: (own["day"].to_numpy(), own["sender"].to_numpy()) for number, own in sent.groupby("network")
    }
    shares: dict[int, list[float]] = {week: [] for week in weeks}
    for number, day in _list_seizures(world):
        days, senders = used[number]
        before = np.unique(senders[(days >= day - REPEAT_DAYS) & (days < day)])
        for week in weeks:
            mine = (days >= day + week * DAYS_PER_WEEK) & (days < day + (week + 1) * DAYS_PER_WEEK)
            if mine.any() and len(before):
                shares[week].append(float(np.isin(senders[mine], before).mean()))
    return {week: float(np.mean(values)) if values else np.nan for week, values in shares.items()}


def _list_seizures(world: SimulatedPeriod) -> list[tuple[int, int]]:
    """List the detections of drugs as (network, day of inspection from the start)."""
    final = InspectionResults.from_tables(world.tables).final
    found = final[final["result"].isin(DRUG_RESULTS)]
    numbers = pd.Series(world.sent["network"].to_numpy(), world.tables.consignments["consignment_id"])
    start = world.tables.consignments["received_at"].min().floor("D")
    days = (found["inspected_at"] - start).dt.days
    mine = numbers.reindex(found["consignment_id"]).to_numpy()
    return [(int(n), int(d)) for n, d in zip(mine, days, strict=True) if n >= 0]
