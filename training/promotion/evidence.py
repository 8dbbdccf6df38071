"""Evidence for the gate, gathered once for `gate`, `promote` and `review`.

Every figure is computed here, from the stored scores and tables of a run, or from a repeated training. No metric of MLflow is
read: a user who can write to MLflow can write any of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from consignments.errors import BundleRefused, PromotionRefused
from models.bundle import Bundle
from models.promotion_record import PromotionRecord
from models.registry import BUNDLE_TAG, ModelVersion, Registry, VersionFits, VersionFolders
from models.signatures.key_holders import Approvers
from training.config import CONFIG_FILE, EvaluationConfig, hash_settings, parse_config_json
from training.data.splits import ArrivalWindow
from training.evaluation.stored_scores import StoredScores
from training.gate.figures import RunFigures, compute_run_figures, count_finds_per_week
from training.gate.rules import ChampionComparison, CheckResult, GateEvidence
from training.gate.ways import Candidate
from training.promotion.compared_versions import ComparedVersions
from training.promotion.comparison import OTHER_RANK, ComparedTraffic
from training.promotion.refit import RefitOptions, RegisteredFits, read_run_config, refit_version
from training.reporting.tables import parse_table
from training.runs.evidence import RunEvidence, fetch_evidence
from training.runs.result import PROCESSOR_TAG

SCORES_FILE, COMPARED_FILE = "scores/deployed.parquet", "scores/compared.parquet"
LOOKS = ("tables/leaks.json", "tables/name_swaps.json")
REPEATED = CheckResult(True, "computed again from the tables of the training run")


NOBODY = Approvers(())


class EvidenceOptions(NamedTuple):
    """Options of the reviewer: whose signatures count, the comparison's run, tables to repeat the training, a comparison not logged yet."""

    approvers: Approvers = NOBODY
    comparison: str | None = None
    refit: RefitOptions | None = None
    measured: ChampionComparison | None = None


DEFAULT_EVIDENCE = EvidenceOptions()


def gather_evidence(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    records: Sequence[PromotionRecord],
    options: EvidenceOptions,
) -> GateEvidence:
    """Gather the evidence for the rules; `PromotionRefused` if the comparison is of other versions or the bundle is the champion's."""
    fits, refusal = None, ""
    folders = registry.download_fits(version)
    try:
        fits = registry.load_fits(version, folders)
    except BundleRefused as error:
        refusal = str(error)
    own = [record for record in records if record.version == version.number]
    # Who writes to the registry can change the tag. The record is signed.
    registered = own[-1].bundle_sha256 if own else version.tags.get(BUNDLE_TAG, "")
    evidence = GateEvidence(
        target=version.target,
        bundle=None if fits is None else fits.served,
        evaluation=None if fits is None else fits.evaluation,
        refusal=refusal,
        registered_sha256=registered,
        goes_back=bool(own),
    )
    # An altered bundle is refused for that alone; a version that was champion before was checked then.
    if fits is None or fits.served.sha256 != registered or own:
        return evidence
    evidence = _add_run(evidence, registry, version, fits, folders, options)
    if champion is None:
        return evidence
    _require_another_bundle(version, champion, fits.served.sha256, records)
    try:
        replaced = registry.fetch_fits(champion)
    except BundleRefused:
        return replace(evidence, candidate=Candidate(champion.number))
    return replace(
        evidence,
        candidate=_describe_candidate(registry, version, champion, fits, replaced, records),
        comparison=_gather_comparison(registry, version, champion, fits, replaced, options),
    )


def compute_recipe_sha256(registry: Registry, version: ModelVersion, bundle: Bundle) -> str:
    """Compute the SHA-256 of settings and features of a version; empty if its run recorded no settings."""
    config = read_run_config(registry, version.run_id)
    if config is None:
        return ""
    return hashlib.sha256(f"{hash_settings(config)} {bundle.card.feature_spec_sha256}".encode()).hexdigest()


def _add_run(
    evidence: GateEvidence,
    registry: Registry,
    version: ModelVersion,
    fits: VersionFits,
    folders: VersionFolders,
    options: EvidenceOptions,
) -> GateEvidence:
    """Add what the training run says, repeated from its tables if they are given."""
    if options.refit is not None:
        processor = registry.get_run_tags(version.run_id).get(PROCESSOR_TAG, "")
        config = read_run_config(registry, version.run_id)
        refit = refit_version(RegisteredFits(fits.served.card, folders, processor), config, options.refit)
        evidence = replace(evidence, refit=refit.result)
        if refit.repeated is not None:
            trained = refit.repeated
            figures = compute_run_figures(
                trained.deployed.stored, trained.config.evaluation, trained.leaks, trained.name_swaps
            )
            return replace(evidence, figures=figures, verified=REPEATED)
    found = fetch_evidence(
        registry,
        version.run_id,
        {"bundle": fits.served.sha256},
        kind="training",
        approvers=options.approvers,
        at=datetime.now(UTC),
    )
    return replace(
        evidence, figures=_read_figures(found), verified=_describe_signer(found, "the training run")
    )


def _read_figures(found: RunEvidence) -> RunFigures | None:
    """Compute the figures of a run from its stored scores; None if it has none."""
    if any(name not in found.files for name in (SCORES_FILE, CONFIG_FILE, *LOOKS)):
        return None
    leaks, name_swaps = (parse_table(found.files[name]) for name in LOOKS)
    config = parse_config_json(found.files[CONFIG_FILE], where=CONFIG_FILE)
    stored = StoredScores.from_bytes(found.files[SCORES_FILE], where=SCORES_FILE)
    return compute_run_figures(stored, config.evaluation, leaks, name_swaps)


def _describe_signer(found: RunEvidence, what: str) -> CheckResult:
    if found.signer is not None:
        return CheckResult(True, f"{what} is signed by {found.signer}")
    return CheckResult(None, f"not checked: nobody vouches for {what}: {found.doubt}")


def _gather_comparison(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion,
    fits: VersionFits,
    replaced: VersionFits,
    options: EvidenceOptions,
) -> ChampionComparison | None:
    """Gather the comparison with the champion; None if there is none, or it holds no scores."""
    if options.measured is not None:
        return options.measured
    run_id = options.comparison or registry.find_latest_run(a=champion.uri, b=version.uri)
    if run_id is None:
        return None
    _require_same_versions(registry, run_id, champion, version)
    found = fetch_evidence(
        registry,
        run_id,
        {"a": replaced.served.sha256, "b": fits.served.sha256},
        kind="comparison",
        approvers=options.approvers,
        at=datetime.now(UTC),
    )
    if found.evidence is None or found.evidence.begins is None or COMPARED_FILE not in found.files:
        return None
    stored, begins = StoredScores.from_bytes(found.files[COMPARED_FILE], COMPARED_FILE), found.evidence.begins
    verified = _describe_signer(found, "the comparison")
    if options.refit is not None and not verified.held:
        traffic = ComparedTraffic(options.refit.tables, window=ArrivalWindow(begins))
        versions = ComparedVersions(registry, champion, version)
        found_again = versions.compare(traffic, None, options.refit.jobs, options.refit.progress)
        stored, verified = found_again.stored, REPEATED
    return ChampionComparison(
        run_id,
        stored.compare(EvaluationConfig(), base=OTHER_RANK),
        begins,
        count_finds_per_week(stored),
        verified,
    )


def _describe_candidate(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion,
    fits: VersionFits,
    replaced: VersionFits,
    records: Sequence[PromotionRecord],
) -> Candidate:
    """Describe how a version differs from the champion, by the champion's signed record and its latest drift run."""
    drift = registry.find_latest_run(kind="drift", model=champion.uri)
    verdict = "" if drift is None else registry.get_run_tags(drift).get("verdict", "")
    recipe = compute_recipe_sha256(registry, version, fits.served)
    approved = [each for each in records if each.bundle_sha256 == replaced.served.sha256]
    new, old = (datetime.fromisoformat(each.served.card.as_of) for each in (fits, replaced))
    same_recipe = bool(recipe) and bool(approved) and approved[-1].recipe_sha256 == recipe
    return Candidate(champion.number, max((new - old).days, 0), same_recipe, verdict)


def _require_another_bundle(
    version: ModelVersion, champion: ModelVersion, sha256: str, records: Sequence[PromotionRecord]
) -> None:
    """Refuse a version that holds the bundle of the champion: there is nothing to compare or to promote."""
    approved = [each.bundle_sha256 for each in records if each.version == champion.number][-1:]
    if version.number != champion.number and sha256 in (*approved, champion.tags.get(BUNDLE_TAG)):
        raise PromotionRefused(
            "the version holds the same bundle as the champion, byte for byte",
            where=version.uri,
            got=f"bundle {sha256[:12]}, of {champion.title} too",
            expected="another model than the champion",
            todo="train a challenger with npsrisk train --register; the champion needs no second version",
        )


def _require_same_versions(
    registry: Registry, run_id: str, champion: ModelVersion, version: ModelVersion
) -> None:
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
