"""The verbs of model promotion: compare, gate, promote."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.model.keys import EVIDENCE_KEY, KEY, find_key_file, load_key, read_approvers
from cli.model.text_tables import format_gate_table, format_recommendation, summarize_recommendation
from cli.options import JOBS, TARGET, Count, Table
from cli.stores import open_registry
from cli.tables import PAST, GivenTables, table_options
from cli.verb import Progress, Result, argument, option, verb
from consignments.errors import BadInput
from consignments.records import Target, Truth
from models.signatures.keys import SigningKey

if TYPE_CHECKING:
    from models.registry import ModelVersion
    from training.promotion.evidence import EvidenceOptions

TRAINING_TABLES = table_options(
    consignments=option("Consignment table of the training run. With it, the run is repeated."),
    outcomes=option("Outcome table of the training run."),
    alerts=option("Alert table of the training run. Needed if the run used one."),
)
COMPARISON = option("MLflow run of the comparison with the champion. Default: the latest.", metavar="RUN")


@verb
def compare(
    progress: Progress,
    a: str = argument(),
    b: str = argument(),
    tables: GivenTables = table_options(
        PAST, truth=option("Truth of a simulated world. Its figures are shown apart and decide nothing.")
    ),
    decisions: Table | None = option("Table `decisions` of npsrisk export. Take the scores of A from it."),
    from_: datetime | None = option("Compare arrivals from then on. Default: the later test period."),
    until: datetime | None = option("Compare arrivals before. Default: three weeks before the last result."),
    target: Target = TARGET,
    key: Path | None = EVIDENCE_KEY,
    jobs: Count = JOBS,
) -> Result:
    """Compare two model versions on the same consignments.

    A and B are version numbers, aliases, models:/NAME/VERSION or models:/NAME@ALIAS, of one target. B may replace A.

    The verb uses only fits that were not trained on the compared period: the final fit of a version if possible, else its
    evaluation fit. Known finds are counted first. Differences are paired and have 95 % intervals. Without --until, the verb leaves
    out the last three weeks before the last result, because most results of their arrivals are not known yet.

    If A has other features than this installation, its scores come from --decisions, else from the stored scores of both training
    runs, else from its recipe fitted again on the features of today. The output says which.
    First run "npsrisk train --register". Logs a comparison run in MLflow. With --key, its tables are signed: then the gate
    believes them. Next, run "npsrisk gate" and "npsrisk promote", which read this run.

    \b
    Example:
    npsrisk compare champion challenger --consignments later.parquet --outcomes outcomes.parquet
    """
    from training.data.splits import ArrivalWindow
    from training.promotion import comparison_report
    from training.promotion.compared_versions import ComparedVersions
    from training.promotion.comparison import ComparedTraffic, LoggedDecision
    from training.promotion.evidence import VersionHistory
    from training.reporting.mlflow_tracking import build_addresses

    registry, signer = open_registry(), load_key(key)
    first, second = (registry.resolve(name, target=target) for name in (a, b))
    approvers = read_approvers()
    # A champion without a signed record is refused before the work, not after it.
    VersionHistory.read(registry, second, approvers)
    versions = ComparedVersions.fetch(registry, first, second)
    traffic = ComparedTraffic(
        tables.open_sources(versions.bundle.config.build_record_type(), progress),
        truth=tables.read_table(tables.truth, Truth),
        window=ArrivalWindow(from_, until),
    )
    found = versions.compare(traffic, tables.read_table(decisions, LoggedDecision), jobs, progress)
    run_id, review = comparison_report.log_comparison(registry, found, first, second, signer, approvers)
    differences = {name: gain.to_row() for name, gain in found.pair.gains.items()}
    values = {"run_id": run_id, "verdict": found.verdict, "differences": differences}
    values["metrics"] = found.flatten_metrics()
    summaries = (comparison_report.summarize_comparison, comparison_report.describe_scores)
    lines = [
        *(each(found, first.title, second.title) for each in summaries if review is None),
        comparison_report.describe_basis(found, second.title),
        *found.notes,
        f"run {run_id}",
        *(f"{what} in MLflow: {url}" for what, url in build_addresses(registry.tracking_uri, run_id).items()),
    ]
    if review is not None:
        values["recommendation"] = format_recommendation(review.recommendation)
        lines.append(summarize_recommendation(review.recommendation))
    return Result(values, "\n".join(lines))


@verb
def gate(
    progress: Progress,
    version: str = argument(),
    tables: GivenTables = TRAINING_TABLES,
    comparison: str | None = COMPARISON,
    target: Target = TARGET,
    jobs: Count = JOBS,
) -> Result:
    """Check a model version against every rule of the gate.

    VERSION is a number, an alias, models:/NAME/VERSION or models:/NAME@ALIAS. The verb prints each rule with its result, the
    observed value and the expected value. It then recommends to promote, to wait or to refuse. It writes this to the page of the
    version in MLflow, and changes nothing else.

    If you give the tables of the training run, the verb repeats that run, which takes as long as training. Both fits must then be
    equal byte for byte. Else this is not checked, and an approver or evaluator must have signed the stored scores of the run and
    of the comparison (train --key, compare --key). Metrics in MLflow count for nothing.

    If there is a champion, first run "npsrisk compare". Next, run "npsrisk promote". Exit code 1 if a rule stands against it.

    \b
    Examples:
    npsrisk gate challenger
    npsrisk gate 2 --consignments world/consignments.parquet --outcomes world/outcomes.parquet --alerts world/alerts.parquet
    npsrisk gate 2 --json
    """
    from training.promotion.evidence import review_version
    from training.runs.registered_run import write_review

    found = open_registry().resolve(version, target=target)
    evidence = _read_evidence(found, comparison, tables, jobs, progress)
    review = review_version(open_registry(), found, evidence)
    write_review(open_registry(), found, review)
    keys = ("held", "found", "expected")
    rules = {name: {key: getattr(rule, key) for key in keys} for name, rule in review.rules.items()}
    advice = format_recommendation(review.recommendation)
    values = {"version": found.number, "passes": review.passes, "rules": rules, "recommendation": advice}
    verdict = f"{found.uri} {'passes' if review.passes else 'does not pass'} the gate"
    parts = [format_gate_table(review.rules), summarize_recommendation(review.recommendation), verdict]
    return Result(values, "\n\n".join(parts), failed=not review.passes)


@verb
def promote(
    progress: Progress,
    version: str = argument(),
    approved_by: str | None = option("Person who decides. Default: the owner of the key.", metavar="WHO"),
    why: str = option("The reason, for the record.", metavar="TEXT"),
    key: Path | None = KEY,
    tables: GivenTables = TRAINING_TABLES,
    comparison: str | None = COMPARISON,
    target: Target = TARGET,
    force: bool = option("Promote even if a rule does not hold. The record says so."),
    jobs: Count = JOBS,
) -> Result:
    """Run the gate and make a model version the champion.

    VERSION is as in "npsrisk gate", which checks the same rules, and so are the tables of the training run: both fits must be
    equal also with --force, and without the tables the record says that this was not checked.

    Signs and writes the promotion record, and moves the aliases in MLflow: the old champion becomes `previous`. To roll back,
    promote `previous`. If several persons must sign, each runs the verb with their own key, and the aliases move with the last
    signature. Exit code 2 if a rule does not hold and --force is not given.
    First run "npsrisk keys create" once, and "npsrisk gate". Next, run "npsrisk publish".

    \b
    Example:
    npsrisk promote 1 --approved-by "duty reviewer" --why "first model of the operation" \\
        --consignments world/consignments.parquet --outcomes world/outcomes.parquet --alerts world/alerts.parquet
    """
    from training.promotion.promote import Approval
    from training.promotion.promote import promote as run

    found = open_registry().resolve(version, target=target)
    signer, approvers = SigningKey.load(find_key_file(key)), read_approvers()
    holder = approvers.find(signer.public.key_id)
    name = approved_by if approved_by is not None else holder.name if holder else ""
    approval = Approval(name or signer.public.key_id[:12], why, datetime.now(UTC), signer, approvers)
    evidence = _read_evidence(found, comparison, tables, jobs, progress)
    done = run(open_registry(), found, approval, evidence, force=force)
    record, signers = done.record, ", ".join(done.signers)
    if done.missing:
        text = (
            f"{record.name} version {record.version} is not champion yet: signed by {signers}; "
            f"{done.missing} more must sign, with npsrisk promote {record.version} --key FILE"
        )
    else:
        old = f"; version {record.replaces} is previous" if record.replaces else ""
        text = (
            f"{record.name} version {record.version} is champion{old}; record {record.number}, "
            f"{record.compute_sha256()[:12]}, signed by {signers}\n{record.sentence}"
        )
    values = {"signers": done.signers, "signatures_missing": done.missing}
    return Result(json.loads(record.to_json()) | values, text)


def _read_evidence(
    version: "ModelVersion", comparison: str | None, tables: GivenTables, jobs: int, progress: Progress
) -> "EvidenceOptions":
    """Read the comparison run, and the tables of the training run; raise `BadInput` if only some of them are given."""
    from training.config import TrainConfig
    from training.promotion.evidence import EvidenceOptions
    from training.promotion.refit import RefitOptions, read_run_config

    given = tables.list_sources()
    if not given:
        return EvidenceOptions(read_approvers(), comparison)
    if missing := [f"--{name}" for name in ("consignments", "outcomes") if name not in given]:
        what, got = "only some tables of the training run are given", ", ".join(f"--{name}" for name in given)
        expected = "all of them, --alerts if the model was trained with alerts, or none"
        raise BadInput(what, where=" and ".join(missing), got=got, expected=expected)
    config = read_run_config(open_registry(), version.run_id) or TrainConfig()
    past = tables.open_sources(config.features.build_record_type(), progress)
    return EvidenceOptions(read_approvers(), comparison, RefitOptions(past, jobs, progress))
