"""Measure what the hard worlds can show: the recall of NPS of simple models, by the columns that each may use.

    python -m benchmarks.hard_worlds [--sets sweden brazil --seeds 1 2 --days 240 --per-day 1500 --keep DIR] [--write]

For each set and seed a world is simulated and the features of npsrisk are computed once. Then gradient boosting is trained on
what was known 30 days before the end, and ranks the last 30 days, which the truth evaluates: recall of NPS at 1 % of the
traffic. The models differ only in the columns, except the last three lines. None is npsrisk's own model: the table shows
what a world requires. The held-out sets are run only by name, or with `--held-out`. `--quick` runs small worlds.
"""

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lightgbm
import numpy as np
import pandas as pd
from anyascii import anyascii
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from benchmarks.ordinary import PARAMS, KnownResults, compute_text_columns
from benchmarks.realism import SimulationRecorder
from benchmarks.skill import tables_of
from benchmarks.world import table, write_block
from consignments.records import Consignment
from consignments.tables import to_consignments
from features.normalization.normal_forms import normalize_consignment
from features.streams import compute_feature_matrix
from training.data.training_set import get_labels_as_of
from training.fitting.rolling_origin import TEXT_SCORE
from training.simulation.operation import Simulation
from training.simulation.parameters import list_hard_sets, load_parameters

TEST_DAYS, STALE_DAYS = 30, 98
AT = 0.01
BACKGROUND_ROWS = 20_000
ROUNDS = 150
TREES = {**PARAMS, "max_bin": 63, "seed": 1}
TEXT_ROWS = 30_000
SPELT = ("sender_name", "sender_address", "consignee_name", "consignee_address")
PARTY_KEYS = (
    "sender", "sender_address", "sender_phone", "sender_email", "account", "consignee", "consignee_address",
    "consignee_phone", "consignee_email", "pair", "address_pair", "either",
)  # fmt: skip
WRITTEN = (
    "sender_name", "sender_address", "sender_phone", "sender_email", "account_id",
    "consignee_name", "consignee_address", "consignee_phone", "consignee_email",
)  # fmt: skip
BLOCK_DIGITS = 3
DOUBLED = re.compile(r"(.)\1+")
SKELETON = str.maketrans("", "", "aeiouyhw'-.")

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

FORMS = {
    "no history of parties": (),
    "parties as written": ("written",),
    "parties in npsrisk's normal forms": ("normal",),
    "parties joined over spellings": ("joined", "clusters"),
    "the same, and coarser keys": ("joined", "clusters", "coarse"),
    "the same, and coarser and finer keys": ("joined", "clusters", "coarse", "fine"),
    "true parties": ("parties",),
    "all of these keys and the true network": ("joined", "clusters", "coarse", "fine", "network"),
    "npsrisk's own features of parties": ("own",),
}
"""Each model, and its columns in addition to those of goods, figures and route."""
BEST = ("joined", "clusters", "coarse", "fine")
TRUE_LABELS, STALE = "all keys, every label of the past known", f"all keys, learnt {STALE_DAYS} days before"


class WorldFacts(NamedTuple):
    """Facts of a world before training."""

    consignments: int
    prevalence: float
    known_finds: int
    test_nps: int


class Measured(NamedTuple):
    """Facts of a world, and the recall of each model."""

    facts: WorldFacts
    recall: dict[str, float]


class World(NamedTuple):
    """A simulated world with its columns.

    Attributes
    ----------
    day : int64 array, (n,)
        From the start.
    positive : bool array, (n,)
        The truth.
    columns : dict of float32 arrays, (n, ...)
        By the names of `FORMS`; `plain` are those that every model has.
    outcomes : DataFrame
    frame : DataFrame
    """

    day: Rows
    positive: Flags
    columns: dict[str, Floats]
    outcomes: pd.DataFrame
    frame: pd.DataFrame


def main() -> None:
    sets = list_hard_sets()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=sets, default=None)
    parser.add_argument("--held-out", action="store_true", help="run only the held-out sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--per-day", type=int, default=1500)
    parser.add_argument("--quick", action="store_true", help="150 days of 600 consignments")
    parser.add_argument("--keep", type=Path, help="folder for the results; existing results are reused")
    parser.add_argument("--write", action="store_true", help="write the table into docs/simulator.md")
    arguments = parser.parse_args()
    days, per_day = (150, 600) if arguments.quick else (arguments.days, arguments.per_day)
    wanted = arguments.sets or [name for name in sets if is_held_out(name) == arguments.held_out]
    found: dict[str, list[Measured]] = {}
    for name in wanted:
        found[name] = [measure_or_read(name, seed, days, per_day, arguments.keep) for seed in arguments.seeds]
        print(render(found), flush=True)
    if arguments.write and not arguments.held_out:
        said = f"{days} days of {per_day:,}, seeds {' and '.join(map(str, arguments.seeds))}."
        write_block("hard worlds", f"{said}\n\n{render(found)}")


def is_held_out(name: str) -> bool:
    """Check whether a set is held out from development."""
    return bool(load_parameters(preset=f"hard:{name}").hard.held_out)


def measure_or_read(name: str, seed: int, days: int, per_day: int, folder: Path | None) -> Measured:
    """Measure a world, or read the result of an earlier run."""
    path = None if folder is None else folder / f"hard-{name}-{seed}-{days}-{per_day}.json"
    if path is not None and path.exists():
        held = pd.read_json(path, typ="series")
        return Measured(WorldFacts(*held["facts"]), held["recall"])
    start = time.monotonic()
    measured = measure(name, seed, days, per_day)
    print(f"{name}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.Series({"facts": list(measured.facts), "recall": measured.recall}).to_json(path)
    return measured


def measure(name: str, seed: int, days: int, per_day: int) -> Measured:
    """Simulate a world, train every model and rank the last days."""
    world = build_world(name, seed, days, per_day)
    begins = days - TEST_DAYS
    known, positive = read_known(world, begins)
    test = np.flatnonzero(world.day >= begins)
    facts = WorldFacts(
        len(world.day),
        float(world.positive.mean()),
        int((known & positive).sum()),
        int(world.positive[test].sum()),
    )
    past = world.day < begins
    background = draw_background(past & ~known)
    rows = np.concatenate([np.flatnonzero(known), background])
    recall = {form: fit_and_rank(world, parts, rows, positive, test) for form, parts in FORMS.items()}
    every = np.union1d(np.flatnonzero(past & world.positive), rows)
    recall[TRUE_LABELS] = fit_and_rank(world, BEST, every, world.positive, test)
    early, found_early = read_known(world, begins - STALE_DAYS)
    old = np.concatenate([np.flatnonzero(early), background[world.day[background] < begins - STALE_DAYS]])
    recall[STALE] = fit_and_rank(world, BEST, old, found_early, test)
    return Measured(facts, recall)


def read_known(world: World, day: int) -> tuple[Flags, Flags]:
    """Return which results were known on a day, and which of them were NPS; bool arrays, (n,)."""
    as_of = world.frame["received_at"].min().floor("D") + pd.Timedelta(days=day)
    labels = get_labels_as_of(world.frame["consignment_id"], world.outcomes, as_of.to_pydatetime(), "nps")
    return labels.known & (world.day < day), labels.positive & labels.known


def draw_background(rows: Flags) -> Rows:
    """Draw consignments without a result, which count as negatives."""
    unopened = np.flatnonzero(rows)
    count = min(BACKGROUND_ROWS, len(unopened))
    return np.sort(np.random.default_rng(1).choice(unopened, count, replace=False))


def fit_and_rank(world: World, parts: tuple[str, ...], rows: Rows, positive: Flags, test: Rows) -> float:
    """Train on some rows with some columns, and return the recall at 1 % of the test days' traffic."""
    X = np.hstack([world.columns[part] for part in ("plain", *parts)])
    data = lightgbm.Dataset(
        X[rows], positive[rows].astype(np.float64), params={"max_bin": 63, "verbosity": -1}
    )
    booster = lightgbm.train(TREES, data, num_boost_round=ROUNDS)
    score = np.asarray(booster.predict(X[test], num_threads=1))
    best = np.argsort(-score, kind="stable")[: round(AT * len(test))]
    return float(world.positive[test][best].sum() / max(world.positive[test].sum(), 1))


def build_world(name: str, seed: int, days: int, per_day: int) -> World:
    """Simulate a world, and compute all its columns once."""
    parameters = load_parameters(preset=f"hard:{name}")
    simulation = Simulation(parameters, days=days, per_day=per_day, prevalence="hard", seed=seed)
    recorder = SimulationRecorder(simulation.context)
    made = simulation.run(days, watch=recorder.record_day)
    sent = recorder.build_table()
    tables = tables_of(made)
    frame, outcomes = tables.consignments, made.outcomes
    matrix = compute_feature_matrix(tables)
    names = np.array(matrix.spec.names)
    own = np.array([column.startswith(tuple(f"history.{key}." for key in PARTY_KEYS)) for column in names])
    results = KnownResults.read(frame, outcomes)
    texts = np.sort(np.random.default_rng(1).choice(len(frame), min(TEXT_ROWS, len(frame)), replace=False))
    texts = texts[sent["day"].to_numpy()[texts] < days - TEST_DAYS - STALE_DAYS]
    columns = {
        "plain": np.hstack(
            [matrix.X[:, ~own & (names != TEXT_SCORE)], compute_text_columns(frame["description"], texts)]
        ),
        "own": matrix.X[:, own],
    }
    for part, keys in list_keys(frame.reset_index(drop=True), sent):
        columns[part] = summarize_keys([results.count_by_key(key) for key in keys])
    return World(
        sent["day"].to_numpy(),
        (made.truth["result"] == "nps").to_numpy(dtype=bool),
        columns,
        outcomes,
        frame,
    )


def summarize_keys(counts: list[Floats]) -> Floats:
    """Combine the counts of all keys with the most positives, the highest rate and the most arrivals of any."""
    every = np.stack(counts)
    filled = np.nan_to_num(every, nan=0.0)
    most = filled[:, :, 2:].max(axis=0)
    finds_per_arrival = (filled[:, :, 2] / (filled[:, :, 0] + 1.0)).max(axis=0)
    return np.column_stack([*counts, most, finds_per_arrival, filled[:, :, 0].max(axis=0)])


def list_keys(frame: pd.DataFrame, sent: pd.DataFrame) -> Iterator[tuple[str, list["pd.Series"]]]:
    """List the keys of each kind of columns; missing keys are missing."""
    written = [frame[name].astype(object).where(frame[name].notna(), None) for name in WRITTEN]
    yield "written", written
    forms = [normalize_consignment(record) for record in to_consignments(frame, Consignment)]
    places = dict(zip(WRITTEN, range(len(WRITTEN)), strict=True))
    normal = {
        name: pd.Series([getattr(form, name) or None for form in forms], dtype=object)
        for name in WRITTEN
        if name != "account_id"
    }
    account = written[places["account_id"]].reset_index(drop=True)
    yield "normal", [*normal.values(), account]
    skeletons = {name: build_skeletons(written[places[name]]) for name in SPELT}
    yield "joined", [*(skeletons.get(name, key) for name, key in normal.items()), account]
    yield "clusters", [join_parties(frame, role, normal, skeletons) for role in ("sender", "consignee")]
    yield "coarse", list_coarse_keys(frame, normal)
    yield "fine", list_fine_keys(frame, normal)
    yield "parties", [sent["sender"].astype(object), sent["consignee"].astype(object)]
    alone = -1 - sent["sender"]  # an honest sender is linked to nobody else
    yield "network", [sent["network"].where(sent["network"] >= 0, alone)]


def build_skeletons(texts: "pd.Series") -> "pd.Series":
    """Convert names and addresses to their consonants and digits, with the words in alphabetical order."""
    memory: dict[str, str | None] = {}
    return pd.Series([None if text is None else build_skeleton(text, memory) for text in texts], dtype=object)


def build_skeleton(text: str, memory: dict[str, str | None]) -> str | None:
    """Convert one text to its skeleton.

    Examples
    --------
    >>> build_skeleton("Göran Håkansson", {}) == build_skeleton("HAAKANSSON, Goeran", {})
    True
    """
    if text not in memory:
        words = re.findall(r"[a-z0-9]+", anyascii(text).lower().translate(SKELETON))
        memory[text] = " ".join(sorted(DOUBLED.sub(r"\1", word) for word in words)) or None
    return memory[text]


def join_parties(
    frame: pd.DataFrame, role: str, normal: dict[str, "pd.Series"], skeletons: dict[str, "pd.Series"]
) -> "pd.Series":
    """Join parties that share a phone, a mailbox, an account, a whole address, or a name with its house number.

    The whole table is used, including the last days; joining as mail arrives would have slightly less information.
    """
    plain = frame.reset_index(drop=True)
    figures = plain[f"{role}_address"].astype(object).fillna("").astype(str).str.findall(r"\d+")
    name, address = skeletons[f"{role}_name"], skeletons[f"{role}_address"]
    keys = [normal[f"{role}_phone"], normal[f"{role}_email"], address.where(figures.str.len() >= 2)]
    keys.append(name + "|" + figures.str[0])
    if role == "sender":
        keys.append(plain["account_id"])
    rows, nodes, count = [], [], len(plain)
    for key in keys:
        code = pd.factorize(key)[0]
        held = np.flatnonzero(code >= 0)
        rows.append(held)
        nodes.append(code[held] + count)
        count += int(code.max(initial=-1)) + 1
    pairs = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_matrix((np.ones(len(pairs[0])), pairs), shape=(count, count))
    return pd.Series(connected_components(graph, directed=False)[1][: len(plain)])


def list_coarse_keys(frame: pd.DataFrame, normal: dict[str, "pd.Series"]) -> list["pd.Series"]:
    """List keys that join more than one party: domains, blocks of numbers, buildings, own wordings."""
    domains = [
        normal[f"{role}_email"].str.partition("@")[2].replace("", None) for role in ("sender", "consignee")
    ]
    blocks = [normal[f"{role}_phone"].str[:-BLOCK_DIGITS] for role in ("sender", "consignee")]
    addresses = frame["consignee_address"].reset_index(drop=True)
    first_number = addresses.str.extract(r"(\d+)")[0]
    building = first_number + "|" + frame["consignee_postcode"].reset_index(drop=True).str.replace(" ", "")
    words = frame["description"].reset_index(drop=True).str.lower().str.split()
    return [
        *domains,
        *blocks,
        building,
        words.str[-2:].str.join(" "),
        addresses.str.extract(r"(\d+)\D*$")[0] + "|" + first_number,
    ]


def list_fine_keys(frame: pd.DataFrame, normal: dict[str, "pd.Series"]) -> list["pd.Series"]:
    """List keys that join less than one party: figures, whole texts by country, consignees at one address."""
    plain = frame.reset_index(drop=True)
    weight, value = plain["gross_weight_kg"].round(2).astype(str), plain["declared_value"].astype(str)
    figures = (weight + "|" + value).where(plain["declared_value"].notna() & plain["gross_weight_kg"].notna())
    return [
        figures,
        value.where(plain["declared_value"].notna()) + "|" + plain["currency"],
        plain["description"].str.lower() + "|" + plain["departure_country"],
        normal["consignee_name"] + "|" + normal["consignee_address"],
        normal["sender_name"] + "|" + normal["sender_address"],
    ]


def render(found: dict[str, list[Measured]]) -> str:
    """Return the table: one line for each model, one column for each set, the mean over its seeds."""
    names = list(found)
    facts = {name: [each.facts for each in found[name]] for name in names}
    lines = [
        ["NPS among all", *(f"{np.mean([f.prevalence for f in facts[name]]):.2%}" for name in names)],
        ["NPS detections known", *(" / ".join(str(f.known_finds) for f in facts[name]) for name in names)],
        ["NPS in the last 30 days", *(" / ".join(str(f.test_nps) for f in facts[name]) for name in names)],
    ]
    recall = {
        form: [float(np.mean([each.recall[form] for each in found[name]])) for name in names]
        for form in [*FORMS, TRUE_LABELS, STALE]
    }
    lines += [[form, *(f"{value:.2f}" for value in values)] for form, values in recall.items()]
    means = ["", "", "", *(f"{np.mean(values):.2f}" for values in recall.values())]
    rows = [f"| {' | '.join([*line, mean])} |" for line, mean in zip(lines, means, strict=True)]
    return table(["recall of NPS at 1 %", *names, "mean"], rows)


if __name__ == "__main__":
    main()
