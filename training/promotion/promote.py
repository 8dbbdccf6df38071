"""Promotion: gather the evidence, run the rules of the gate, and write the record; or refuse.

`force` promotes although a rule does not hold, and the record contains this. An altered bundle is refused even then, and so are
fits that a repeated training run does not reproduce. A version that was champion before needs no comparison.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from consignments.errors import BundleRefused, PromotionRefused
from models.promotion_record import PromotionRecord
from models.registry import CHAMPION, ModelVersion, Registry
from training.promotion.gate import (
    REFIT_RULE,
    UNFORCEABLE_RULES,
    ChampionComparison,
    GateEvidence,
    RuleResult,
    run_gate,
)
from training.promotion.refit import (
    WITHOUT_TABLES,
    RefitOptions,
    RefitResult,
    RegisteredFits,
    read_run_config,
    refit_version,
)

MAX_FOUND_CHARACTERS = 150
"""Maximum length of a rule's result in the record: MLflow on PostgreSQL stores 5,000 characters in all."""


class Approval(NamedTuple):
    """Approval of a promotion for the record: name, reason and time; the texts are not empty."""

    approved_by: str
    why: str
    approved_at: datetime


class EvidenceOptions(NamedTuple):
    """Evidence for the gate in addition to the version itself.

    Attributes
    ----------
    comparison : str, optional
        Run of the comparison with the champion; default: the latest one of these two versions.
    refit : RefitOptions, optional
        Training tables, on which the training run is repeated; without them that rule is not checked.
    """

    comparison: str | None = None
    refit: RefitOptions | None = None


DEFAULT_EVIDENCE = EvidenceOptions()


def promote(
    registry: Registry,
    version: ModelVersion,
    approval: Approval,
    options: EvidenceOptions = DEFAULT_EVIDENCE,
    *,
    force: bool = False,
) -> PromotionRecord:
    """Run the gate and, if it passes or is forced, write the record and move the aliases.

    Parameters
    ----------
    registry : Registry
    version : ModelVersion
        Version to become champion.
    approval : Approval
    options : EvidenceOptions
    force : bool
        Promote although a rule does not hold. A bundle that is altered, fails its self-test or is not reproduced by its
        training run is refused even then.

    Raises
    ------
    PromotionRefused
        With each rule that did not hold.
    """
    for name, text in (("approved-by", approval.approved_by), ("why", approval.why)):
        if not text.strip():
            raise PromotionRefused("a promotion needs a name and a reason", where=f"--{name}", got="''")
    champion = registry.find_version(CHAMPION, version.target)
    evidence = gather_evidence(registry, version, champion, options)
    findings = run_gate(evidence)
    broken = {name: finding for name, finding in findings.items() if finding.held is False}
    if broken and (not force or UNFORCEABLE_RULES & set(broken)):
        raise PromotionRefused(_explain_refusal(version, broken, len(findings)))
    assert evidence.bundle is not None
    number, previous = registry.get_next_link(version.name)
    record = PromotionRecord(
        number=number,
        name=version.name,
        version=version.number,
        replaces=None if champion is None else champion.number,
        bundle_sha256=evidence.bundle.sha256,
        approved_by=approval.approved_by,
        why=approval.why,
        approved_at=approval.approved_at,
        rules={
            name: {"held": each.held, "found": each.found[:MAX_FOUND_CHARACTERS]}
            for name, each in findings.items()
        },
        comparison=None if evidence.comparison is None else evidence.comparison.run_id,
        forced=bool(broken),
        previous_sha256=previous,
    )
    registry.append_record(record)
    return record


def check_version(
    registry: Registry, version: ModelVersion, options: EvidenceOptions = DEFAULT_EVIDENCE
) -> dict[str, RuleResult]:
    """Run the gate on a version as `promote` does, and change nothing.

    Parameters
    ----------
    registry : Registry
    version : ModelVersion
    options : EvidenceOptions

    Returns
    -------
    dict
        Each rule of the gate with its result.

    Raises
    ------
    PromotionRefused
        If the comparison is of other versions.
    """
    champion = registry.find_version(CHAMPION, version.target)
    return run_gate(gather_evidence(registry, version, champion, options))


def gather_evidence(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    options: EvidenceOptions = DEFAULT_EVIDENCE,
) -> GateEvidence:
    """Gather the evidence for the rules.

    Parameters
    ----------
    registry : Registry
    version : ModelVersion
    champion : ModelVersion or None
    options : EvidenceOptions

    Raises
    ------
    PromotionRefused
        If the comparison is of other versions.
    """
    fits, refusal = None, ""
    folders = registry.download_fits(version)
    try:
        fits = registry.load_fits(version, folders)
    except BundleRefused as error:
        refusal = str(error)
    goes_back = any(record.version == version.number for record in registry.list_records(version.name))
    compared: ChampionComparison | None = None
    if champion is not None and not goes_back:
        run_id = options.comparison or registry.find_latest_comparison(champion, version)
        compared = None if run_id is None else _load_comparison(registry, run_id, champion, version)
    registered_sha256, refit = version.tags.get("bundle_sha256", ""), WITHOUT_TABLES
    # An altered bundle is refused for that alone; a version that was champion before was checked then.
    if fits is not None and fits.served.sha256 == registered_sha256 and not goes_back:
        refit = _check_refit(registry, version, RegisteredFits(fits.served.card, folders), options.refit)
    return GateEvidence(
        bundle=None if fits is None else fits.served,
        evaluation=None if fits is None else fits.evaluation,
        refusal=refusal,
        registered_sha256=registered_sha256,
        metrics=registry.get_run_metrics(version.run_id),
        looks={str(row["look"]): row for row in registry.read_run_table(version.run_id, "leaks")},
        slices=registry.read_run_table(version.run_id, "slices"),
        goes_back=goes_back,
        champion=None if champion is None else champion.number,
        comparison=compared,
        refit=refit,
    )


def _check_refit(
    registry: Registry, version: ModelVersion, registered: RegisteredFits, options: RefitOptions | None
) -> RefitResult:
    if options is None:
        return WITHOUT_TABLES
    return refit_version(registered, read_run_config(registry, version.run_id), options)


def _load_comparison(
    registry: Registry, run_id: str, champion: ModelVersion, version: ModelVersion
) -> ChampionComparison:
    tags = registry.get_run_tags(run_id)
    compared = (tags.get("a"), tags.get("b"))
    if compared != (champion.uri, version.uri):
        raise PromotionRefused(
            "the comparison is not between these two versions",
            where=f"run {run_id}",
            got=f"{compared[0]} and {compared[1]}",
            expected=f"{champion.uri} and {version.uri}",
            todo=f"run npsrisk compare {champion.number} {version.number} …",
        )
    begins = datetime.fromisoformat(tags["begins"]) if "begins" in tags else datetime.min.replace(tzinfo=UTC)
    return ChampionComparison(
        run_id, registry.get_run_metrics(run_id), begins, registry.read_run_table(run_id, "slices")
    )


def _explain_refusal(version: ModelVersion, broken: Mapping[str, RuleResult], rules: int) -> str:
    lines = [f"  {name}: {each.found}\n    expected: {each.expected}" for name, each in broken.items()]
    count = f"{len(broken)} of {rules} rules {'does' if len(broken) == 1 else 'do'} not hold"
    return "\n".join([f"{version.uri} does not pass the gate: {count}", *lines, _suggest_next_step(broken)])


def _suggest_next_step(broken: Mapping[str, RuleResult]) -> str:
    if REFIT_RULE in broken:
        return (
            "provide the tables that it was trained on, or train again; a version that its own tables do not reproduce is never "
            "promoted, even with --force"
        )
    if UNFORCEABLE_RULES & set(broken):
        return "train again; such a bundle is never promoted, even with --force"
    return "improve the model or its data; --force promotes it anyway, and the record contains this"
