"""Plan hardware: core-hours, memory, disk and money for some volumes, from measured costs of a row and from prices.

    python -m benchmarks.planning [--core-hour 0.04 --memory-month 3.0 --disk-month 0.1]

Prints the tables of docs/sizing.md. Costs are measured: each says by what. Prices are assumptions, in any currency: give your own.
Replace a cost when it is measured again; nothing in the page is written by hand.
"""

from math import ceil
from typing import NamedTuple

from benchmarks.script import format_table, parse_options

YEAR_DAYS = 366
DAY_SECONDS, HOUR_SECONDS = 86_400, 3_600
GB = 1e9
MONTH_HOURS = 730.0
MONTH_DAYS = 30


class Costs(NamedTuple):
    """Measured costs; memory and disk in bytes. The comments say by what."""

    # Rows a CPU second, one machine: `benchmarks.features --rows 20000`, and `npsrisk score` of 10,000 rows.
    feature_rows: float = 4_200
    score_rows: float = 3_400
    # CPU time of `--dask local:2` in multiples of one machine, of 367,000 rows: `benchmarks.scale`, slope. The start of the workers is in it.
    dask_ratio: float = 1.33
    # A row in the process that plans and joins, and in a table of 550 features.
    plan_bytes: float = 130
    result_bytes: float = 238
    # New history keys a consignment within 30 days, and a batch's state for a key and a consignment: `benchmarks.scale`, state.
    keys: float = 6.0
    state_key_bytes: float = 67
    state_row_bytes: float = 145
    # Memory of the service: docs/service.md. While a snapshot is written, all arrays are copied.
    table_key_bytes: float = 150
    identifier_bytes: float = 25
    snapshot_ratio: float = 2
    process_bytes: float = 300e6
    # Single decisions a CPU second with 64 connections: `benchmarks.serving`. PostgreSQL: `benchmarks.databases` and `benchmarks.log`.
    decisions: float = 2_150
    postgres_ratio: float = 1.1
    database_us: float = 20
    log_bytes: float = 2_245
    # A row of a training's table, and a kept row: sums of types, docs/scale.md.
    training_row_bytes: float = 280
    training_kept_bytes: float = 4_200


class Prices(NamedTuple):
    """Assumed prices: of a core for an hour, and of a gigabyte of memory and of disk for a month."""

    core_hour: float = 0.04
    memory_month: float = 3.0
    disk_month: float = 0.1


class Volume(NamedTuple):
    """Consignments a day, in the busiest minute in multiples of the mean, and the share of a core that a service may use then."""

    name: str
    rows: float
    peak: float = 5.0
    use: float = 0.6


VOLUMES = (Volume("1 M a day", 1e6), Volume("12 M a day", 12e6), Volume("4.6 bn a year", 4.6e9 / 365))
DAY_MINUTES = 60
"""Minutes in which a day's batch has to be done."""
TRAINING_DAYS = 90
INSPECTED_SHARE, BACKGROUND_ROWS, TRAFFIC_ROWS = 0.003, 100_000, 500_000
"""Share of consignments that are inspected (assumed), and the most other rows that a training keeps."""
MACHINE_BYTES = 256e9
"""Memory of a machine that is easy to get. The history of a service must fit into it, twice while a snapshot is written."""


def count_keys(volume: Volume, costs: Costs) -> float:
    """Compute the most history keys of a year."""
    return volume.rows * YEAR_DAYS * costs.keys


def plan_batch(volume: Volume, costs: Costs, prices: Prices) -> dict[str, str]:
    """Plan the features and scores of a day, and a training."""
    features, scores = (volume.rows / rate / HOUR_SECONDS for rate in (costs.feature_rows, costs.score_rows))
    on_dask = features * costs.dask_ratio
    trained = volume.rows * TRAINING_DAYS
    kept = min(trained, trained * INSPECTED_SHARE + BACKGROUND_ROWS + TRAFFIC_ROWS)
    training = (trained * costs.training_row_bytes + kept * costs.training_kept_bytes) / GB
    result = volume.rows * costs.result_bytes / GB
    state = (
        volume.rows * YEAR_DAYS * costs.state_row_bytes + count_keys(volume, costs) * costs.state_key_bytes
    ) / GB
    money = (
        MONTH_DAYS * (on_dask + scores) * prices.core_hour + (state + MONTH_DAYS * result) * prices.disk_month
    )
    return {
        "core-minutes of a day's scores, one machine": f"{scores * 60:,.1f}",
        "core-minutes of a day's features, one machine": f"{features * 60:,.1f}",
        "core-minutes of a day's features, Dask": f"{on_dask * 60:,.1f}",
        f"cores for the features of a day in {DAY_MINUTES} minutes": f"{max(1, on_dask * 60 / DAY_MINUTES):,.1f}",
        "core-hours of the features of a year, once": f"{on_dask * YEAR_DAYS:,.0f}",
        "memory of the command for a whole year, GB": f"{volume.rows * YEAR_DAYS * costs.plan_bytes / GB:,.0f}",
        "features of a day, GB": f"{result:,.1f}",
        "state of a year on disk, GB, at most": f"{state:,.0f}",
        "table of keys in memory, GB, at most": f"{count_keys(volume, costs) * costs.table_key_bytes / GB:,.0f}",
        f"memory of a training on {TRAINING_DAYS} days, GB": f"{training:,.0f}",
        "money a month, features of 30 days kept": f"{money:,.0f}",
    }


def plan_service(volume: Volume, costs: Costs, prices: Prices) -> dict[str, str]:
    """Plan services with their logs in PostgreSQL; each has a standby."""
    mean = volume.rows / DAY_SECONDS
    limit = costs.decisions / costs.postgres_ratio
    table = count_keys(volume, costs) * costs.table_key_bytes
    identifiers = volume.rows * YEAR_DAYS * costs.identifier_bytes
    history = costs.snapshot_ratio * (table + identifiers) / GB
    by_time = max(1, ceil(mean * volume.peak / (limit * volume.use)))
    by_memory = ceil(history * GB / MACHINE_BYTES)
    services = max(by_time, by_memory)
    memory = 2 * (history + services * costs.process_bytes / GB)
    log = volume.rows * costs.log_bytes / GB
    database_cores = max(1.0, mean * volume.peak * costs.database_us / 1e6 / volume.use)
    cores = 2 * services + database_cores
    money = (
        cores * MONTH_HOURS * prices.core_hour
        + memory * prices.memory_month
        + log * YEAR_DAYS * prices.disk_month
    )
    return {
        "consignments a second, mean": f"{mean:,.0f}",
        f"the same in the busiest minute ({volume.peak:g} times)": f"{mean * volume.peak:,.0f}",
        f"services by time, each at most {volume.use:.0%} of {limit:,.0f} a second": f"{by_time:,.0f}",
        f"services by memory, each at most {MACHINE_BYTES / GB:,.0f} GB of history with its copy for a snapshot": f"{by_memory:,.0f}",
        "cores with standbys and PostgreSQL": f"{cores:,.1f}",
        "memory of active services and standbys, GB, at most": f"{memory:,.0f}",
        "log, GB a day": f"{log:,.1f}",
        "log of a year, GB": f"{log * YEAR_DAYS:,.0f}",
        "money a month, log of a year kept": f"{money:,.0f}",
    }


def format_tables(costs: Costs, prices: Prices) -> str:
    """Format both plans as tables of Markdown."""
    parts = []
    for title, plan in (("batch", plan_batch), ("service", plan_service)):
        columns = [plan(volume, costs, prices) for volume in VOLUMES]
        rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
        parts.append(format_table([title, *(volume.name for volume in VOLUMES)], rows))
    return "\n\n".join(parts)


def main() -> None:
    given = vars(parse_options(__doc__, **Prices()._asdict(), **Costs()._asdict()))
    prices, costs = ({name: given[name] for name in kind._fields} for kind in (Prices, Costs))
    print(format_tables(Costs(**costs), Prices(**prices)))


if __name__ == "__main__":
    main()
