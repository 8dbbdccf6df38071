"""The verbs of model promotion: compare, gate, promote."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.model.gate_table import format_gate_table, format_recommendation, summarize_recommendation
from cli.model.keys import evidence_key_option, find_key_file, key_file_option, load_key
from cli.options import (
    PeriodOptions,
    TableOptions,
    alerts_option,
    chain_decorators,
    collect_options,
    collect_tables,
    consignments_option,
    jobs_option,
    json_option,
    outcomes_option,
    period_options,
    reject_options,
    table_option,
    target_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import open_registry, read_settings
from cli.table_reader import TableReader
from consignments.errors import BadInput
from consignments.records import Target

if TYPE_CHECKING:
    from features.batch import Progress
    from features.streams import FeatureInputs
    from models.registry import ModelVersion
    from models.signatures.key_holders import Approvers
    from training.promotion.evidence import EvidenceOptions
    from training.promotion.promote import Approval, Promotion


class ComparedNames(NamedTuple):
    """The two versions to compare, each a number, alias or models:/NAME/VERSION. Version `b` may replace `a`."""

    a: str
    b: str
    target: Target
    jobs: int
    decisions: Path | None


class SignedApprovalOptions(NamedTuple):
    """Options of an approval: the person, the reason, and the key. Without a name the person is who holds the key."""

    approved_by: str | None
    why: str
    key_file: Path | None


class GateOptions(NamedTuple):
    """The version that the gate checks, the run of the comparison (None: the latest), and the processes that repeat the training."""

    version: str
    target: Target
    comparison: str | None
    jobs: int

    def resolve(self) -> "ModelVersion":
        """Find the version in the registry."""
        return open_registry().resolve(self.version, target=self.target)


gate_options = chain_decorators(
    collect_tables,
    collect_options(GateOptions, "gated"),
    click.argument("version"),
    table_option(
        "--consignments",
        "Consignment table of the training run. With it, the run is repeated and the fits are compared.",
    ),
    table_option("--outcomes", "Outcome table of the training run."),
    table_option("--alerts", "Alert table of the training run. Needed if the run used one."),
    click.option(
        "--comparison",
        default=None,
        metavar="RUN",
        help="MLflow run of the comparison with the champion. Default: the latest.",
    ),
    target_option,
    jobs_option,
    reject_options,
)
"""The options that `gate` and `promote` share."""


@click.command()
@collect_tables
@collect_options(ComparedNames, "compared")
@click.argument("a")
@click.argument("b")
@consignments_option
@outcomes_option
@alerts_option
@table_option("--truth", "Truth of a simulated world. Its figures are shown apart and decide nothing.")
@table_option("--decisions", "Table `decisions` of npsrisk export. Take the scores of A from it.")
@period_options(
    "Compare arrivals from this time on. Default: the first day of the later of the two test periods.",
    "Compare arrivals before this time. Default: three weeks before the last result.",
)
@target_option
@evidence_key_option
@jobs_option
@reject_options
@json_option
def compare(
    tables: TableOptions,
    compared: ComparedNames,
    period: PeriodOptions,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Compare two model versions on the same consignments.

    A and B are version numbers, aliases, models:/NAME/VERSION or models:/NAME@ALIAS. B is the version that may replace A.
    Both must have the same target.

    The verb uses only fits that were not trained on the compared period: the final fit of a version if possible, else its
    evaluation fit. Known finds are counted first. Differences are paired and have 95 % intervals. Without --until, the verb leaves
    out the last three weeks before the last result, because most results of their arrivals are not known yet.

    If A has other features than this installation, its scores come from --decisions, else from the stored scores of both training
    runs, else from its recipe fitted again on the features of today. The output says which.

    First run "npsrisk train --register". Logs a comparison run in MLflow. With --key, its tables are signed: then the gate
    believes them. Next, run "npsrisk gate" and "npsrisk promote",
    which read this run.

    \b
    Example:
    npsrisk compare champion challenger --consignments later.parquet --outcomes outcomes.parquet
    """
    from training.data.splits import ArrivalWindow
    from training.promotion.compared_versions import ComparedVersions
    from training.promotion.comparison import ComparedTraffic
    from training.promotion.comparison_report import describe_basis, log_comparison, summarize_comparison
    from training.promotion.version_scores import LoggedDecision
    from training.reporting.mlflow_tracking import build_addresses

    registry, key = open_registry(), load_key(key_file)
    a, b = (registry.resolve(name, target=compared.target) for name in (compared.a, compared.b))
    registry.find_champion(compared.target)  # refuses an alias without a record before the work, not after it
    versions, reader = ComparedVersions.fetch(registry, a, b), TableReader(tables, compared.jobs)
    with show_progress_bar() as progress:
        traffic = ComparedTraffic(
            reader.open_sources(versions.bundle.config.build_record_type(), progress),
            truth=reader.read_truth(),
            window=ArrivalWindow(period.parse_begin(), period.parse_end()),
        )
        decisions = reader.read_table(compared.decisions, LoggedDecision)
        found = versions.compare(traffic, decisions, compared.jobs, progress)
    run_id, review = log_comparison(registry, found, a, b, key, read_approvers())
    addresses = build_addresses(registry.tracking_uri, run_id)
    result = {"run_id": run_id, "verdict": found.verdict, "metrics": found.flatten_metrics()}
    result["differences"] = {name: gain.to_row() for name, gain in found.pair.gains.items()}
    lines = [
        summarize_comparison(found, a.title, b.title),
        describe_basis(found, a.title, b.title),
        *found.notes,
        f"run {run_id}",
        *(f"{what} in MLflow: {address}" for what, address in addresses.items()),
    ]
    if review is not None:
        result["recommendation"] = format_recommendation(review.recommendation)
        lines.append(summarize_recommendation(review.recommendation))
    print_result(result, as_json, "\n".join(lines))


@click.command()
@gate_options
@json_option
@click.pass_context
def gate(context: click.Context, tables: TableOptions, gated: GateOptions, as_json: bool) -> None:
    """Check a model version against every rule of the gate.

    VERSION is a number, an alias, models:/NAME/VERSION or models:/NAME@ALIAS. The verb prints each rule with its result, the
    observed value and the expected value. It then recommends to promote, to wait or to refuse. It changes nothing.

    If you give the tables of the training run, the verb repeats that run. Both fits must then be equal byte for byte. This
    takes as long as training. Without the tables this rule is not checked.

    The figures are computed from the stored scores of the run and of the comparison. An approver or evaluator must have signed
    these (train --key, compare --key), or the tables must be given. Metrics in MLflow count for nothing.

    If there is a champion, first run "npsrisk compare". Next, run "npsrisk promote".

    Exit code 0 if the version may be promoted, 1 if a rule stands against it.

    \b
    Examples:
    npsrisk gate challenger
    npsrisk gate 2 --consignments world/consignments.parquet --outcomes world/outcomes.parquet --alerts world/alerts.parquet
    npsrisk gate 2 --json
    """
    from training.promotion.evidence import review_version

    version = gated.resolve()
    with show_progress_bar() as progress:
        evidence = _read_evidence(gated, version, tables, progress)
        review = review_version(open_registry(), version, evidence)
    result = {
        "version": version.number,
        "passes": review.passes,
        "rules": {
            name: {"held": rule.held, "found": rule.found, "expected": rule.expected}
            for name, rule in review.rules.items()
        },
        "recommendation": format_recommendation(review.recommendation),
    }
    verdict = f"{version.uri} {'passes' if review.passes else 'does not pass'} the gate"
    parts = [format_gate_table(review.rules), summarize_recommendation(review.recommendation), verdict]
    print_result(result, as_json, "\n\n".join(parts))
    context.exit(0 if review.passes else 1)


@click.command()
@collect_options(SignedApprovalOptions, "approval")
@click.option(
    "--approved-by",
    default=None,
    metavar="WHO",
    help="Person who decides. It must be the owner of the key. Default: the owner of the key.",
)
@click.option("--why", required=True, metavar="TEXT", help="The reason, for the record.")
@key_file_option
@gate_options
@click.option("--force", is_flag=True, help="Promote even if a rule does not hold. The record says so.")
@json_option
def promote(
    tables: TableOptions, gated: GateOptions, approval: SignedApprovalOptions, force: bool, as_json: bool
) -> None:
    """Run the gate and make a model version the champion.

    VERSION is a number, an alias, models:/NAME/VERSION or models:/NAME@ALIAS. The old champion gets the alias `previous`. To
    roll back, promote `previous`.

    If you give the tables of the training run, the verb repeats that run. Both fits must then be equal byte for byte, also
    with --force. Without the tables the record says that this was not checked.

    First run "npsrisk keys create" once, and "npsrisk gate", which checks the same rules. Next, run "npsrisk publish".

    Signs and writes the promotion record, and moves the aliases in MLflow. If several persons must sign, each runs the verb
    with their own key, and the aliases move with the last signature. Exit code 2 if a rule does not hold and --force is
    not given.

    \b
    Example:
    npsrisk promote 1 --approved-by "duty reviewer" --why "first model of the operation" \\
        --consignments world/consignments.parquet --outcomes world/outcomes.parquet --alerts world/alerts.parquet
    """
    from training.promotion.promote import promote as run

    version, signed = gated.resolve(), _read_approval(approval)
    with show_progress_bar() as progress:
        done = run(
            open_registry(),
            version,
            signed,
            _read_evidence(gated, version, tables, progress),
            force=force,
        )
    result = json.loads(done.record.to_json()) | {"signers": done.signers, "signatures_missing": done.missing}
    print_result(result, as_json, _summarize_promotion(done))


def _read_approval(approval: SignedApprovalOptions) -> "Approval":
    """Read the key and the approvers; the person who decides is who holds the key, if no name is given."""
    from models.signatures.keys import SigningKey
    from training.promotion.promote import Approval

    key, approvers = SigningKey.load(find_key_file(approval.key_file)), read_approvers()
    holder = approvers.find(key.public.key_id)
    name = approval.approved_by if approval.approved_by is not None else holder.name if holder else ""
    return Approval(name or key.public.key_id[:12], approval.why, datetime.now(UTC), key, approvers)


def read_approvers() -> "Approvers":
    """Read who may approve, and whose signature vouches for the figures of a run."""
    from models.signatures.key_holders import Approvers

    return Approvers.read(read_settings().approvers_file)


def _read_evidence(
    gated: GateOptions, version: "ModelVersion", tables: TableOptions, progress: "Progress"
) -> "EvidenceOptions":
    """Read the evidence of the gate: the comparison run, and the tables of the training run if they are given."""
    from training.promotion.evidence import EvidenceOptions
    from training.promotion.refit import RefitOptions

    past = _open_training_tables(version, tables, progress)
    refit = None if past is None else RefitOptions(past, gated.jobs, progress)
    return EvidenceOptions(read_approvers(), gated.comparison, refit)


def _open_training_tables(
    version: "ModelVersion", tables: TableOptions, progress: "Progress"
) -> "FeatureInputs | None":
    """Open the tables of the training run with the columns of its configuration; None if none is given, `BadInput` if only some are."""
    given = {
        f"--{name}": getattr(tables, name) is not None for name in ("consignments", "outcomes", "alerts")
    }
    if not any(given.values()):
        return None
    missing = [name for name in ("--consignments", "--outcomes") if not given[name]]
    if missing:
        raise BadInput(
            "only some tables of the training run are given",
            where=" and ".join(missing),
            got=", ".join(name for name, is_given in given.items() if is_given),
            expected="--consignments and --outcomes, and --alerts if the model was trained with alerts",
            todo="give all tables of the training run, or none",
        )
    from training.config import TrainConfig
    from training.promotion.refit import read_run_config

    config = read_run_config(open_registry(), version.run_id) or TrainConfig()
    return TableReader(tables).open_sources(config.features.build_record_type(), progress)


def _summarize_promotion(done: "Promotion") -> str:
    record = done.record
    if done.missing:
        return (
            f"{record.name} version {record.version} is not champion yet: signed by {', '.join(done.signers)}; "
            f"{done.missing} more must sign, with npsrisk promote {record.version} --key FILE"
        )
    return (
        f"{record.name} version {record.version} is champion"
        + (f"; version {record.replaces} is previous" if record.replaces else "")
        + f"; record {record.number}, {record.compute_sha256()[:12]}, signed by {', '.join(done.signers)}\n{record.sentence}"
    )
