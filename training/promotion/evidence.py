"""Evidence for the gate, gathered once for `gate`, `promote`, the review of a comparison and the dossier; no metric of MLflow is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from consignments.errors import BundleRefused, PromotionRefused
from features.streams import FeatureInputs
from models.bundle import Bundle
from models.promotion_record import BROKEN, HOLDS, PromotionRecord
from models.registry import BUNDLE_TAG, CHAMPION, ModelVersion, Registry, require_recorded_champion
from models.signatures.key_holders import Approvers
from models.signatures.signed_record import SignedRecord, verify_signed_chain
from training.config import CONFIG_FILE, EvaluationConfig, hash_settings, parse_config_json
from training.evaluation.stored_scores import StoredScores
from training.gate.report import GateReport
from training.gate.rules import (
    ChampionComparison,
    GateEvidence,
    RuleResult,
    RunFigures,
    ScoreSource,
    compute_run_figures,
)
from training.gate.ways import Candidate
from training.promotion.compared_versions import NOBODY, ComparedVersions, fetch_training_evidence
from training.promotion.comparison import OTHER_RANK, ComparedTraffic, take_capacity
from training.promotion.refit import RefitOptions, describe_changes, read_run_config, refit_version
from training.reporting.tables import parse_table
from training.runs.artifacts import STORED_SCORES
from training.runs.evidence import RunEvidence, fetch_evidence
from training.runs.registered_run import REPRODUCED_TAG

COMPARED_SCORES = "scores/compared.parquet"
LOOKS = ("tables/leaks.json", "tables/name_swaps.json", "tables/split.json")
REPEATED = RuleResult(True, "computed again from the tables of the training run")


class EvidenceOptions(NamedTuple):
    """Options of the reviewer: whose signatures count, the comparison's run, and tables to repeat the training."""

    approvers: Approvers = NOBODY
    comparison: str | None = None
    refit: RefitOptions | None = None


DEFAULT_EVIDENCE = EvidenceOptions()


class VersionHistory(NamedTuple):
    """A version, all promotion records of its registered model, and the champion that it is to replace."""

    version: ModelVersion
    records: list[SignedRecord]
    champion: ModelVersion | None

    @classmethod
    def read(cls, registry: Registry, version: ModelVersion, approvers: Approvers) -> "VersionHistory":
        """Read the history; `PromotionRefused` if no approver signed a record, or the alias of the champion was moved or removed without one."""
        records = registry.list_signed_records(version.name)
        # Without any known approver no signature can be checked; then nothing can be promoted either.
        if approvers.approver_count:
            verify_signed_chain(records, approvers)
        champion = registry.find_version(CHAMPION, version.target)
        last = records[-1].record if records else None
        if last is None or last.version != version.number:
            require_recorded_champion(champion, records)
        elif champion is None or champion.number != version.number:
            # It lacks the alias, as after a crash between record and alias, and may be promoted again in place of what the record says.
            replaced = None if last.replaces == version.number else last.replaces
            champion = None if replaced is None else registry.resolve(f"models:/{version.name}/{replaced}")
        return cls(version, records, champion)

    def list_signed(self, bundle_sha256: str | None = None) -> list[PromotionRecord]:
        """List the signed records of this version, by which it goes back; or those of a bundle under any version."""
        signed = [each.record for each in self.records if each.signatures]
        if bundle_sha256 is not None:
            return [record for record in signed if record.bundle_sha256 == bundle_sha256]
        return [record for record in signed if record.version == self.version.number]


def review_version(
    registry: Registry, version: ModelVersion, options: EvidenceOptions = DEFAULT_EVIDENCE
) -> GateReport:
    """Run the gate on a version as `promote` does, recommend what to do, and change nothing."""
    history = VersionHistory.read(registry, version, options.approvers)
    return GateReport.from_evidence(gather_evidence(registry, history, options))


def gather_evidence(registry: Registry, history: VersionHistory, options: EvidenceOptions) -> GateEvidence:
    """Gather the evidence for the rules; `PromotionRefused` if the comparison is of other versions or the bundle is the champion's."""
    version, champion, own = history.version, history.champion, history.list_signed()
    folders, fits, refusal = registry.download_fits(version), None, ""
    try:
        fits = registry.load_fits(version, folders)
    except BundleRefused as error:
        refusal = str(error)
    # Who writes to the registry can change the tag. The record is signed.
    sha256, served = own[-1].bundle_sha256 if own else version.tags.get(BUNDLE_TAG, ""), fits and fits.served
    is_champion = bool(own) and champion is not None and champion.number == version.number
    about = version.target, served, refusal, sha256
    evidence = GateEvidence(*about, goes_back=bool(own), is_champion=is_champion)
    # An altered bundle is refused for that alone.
    if fits is None or fits.served.sha256 != evidence.registered_sha256:
        return evidence
    if options.refit is not None:
        # A table of a file is read once, and both the training and the comparison need it.
        tables = FeatureInputs.to_repeatable(options.refit.tables)
        options = options._replace(refit=options.refit._replace(tables=tables))
    elif not own and (earlier := registry.get_run_tags(version.run_id).get(REPRODUCED_TAG)):
        text = f"not repeated now. The gate of {earlier} repeated it byte for byte, says a tag that nobody signed"
        evidence = replace(evidence, refit=RuleResult(None, text))
    if champion is not None and not own:
        # What is refused here needs no training. That comes later, because it takes minutes.
        _require_another_bundle(history, champion, fits.served.sha256)
        try:
            both = registry.fetch_fits(champion), fits
        except BundleRefused:
            evidence = replace(evidence, candidate=Candidate(champion.number))
        else:
            compared = ComparedVersions(registry, champion, version, both)
            evidence = replace(evidence, candidate=_describe_candidate(compared, history))
            evidence = replace(evidence, comparison=_gather_comparison(compared, options))
    if options.refit is not None:
        refit = refit_version(registry, version, fits.served.card, folders, options.refit)
        evidence = replace(evidence, refit=refit.result)
        if (run := refit.repeated) is not None:
            looks = run.leaks, run.name_swaps, run.data.split.to_rows()
            figures = compute_run_figures(run.deployed.stored, run.settings, *looks)
            evidence = replace(evidence, figures=figures, verified=REPEATED)
    # One that goes back was checked when it became champion.
    if evidence.figures is None and not own:
        found = fetch_training_evidence(registry, version, fits.served, options.approvers)
        verified = _describe_signer(found, "the training run")
        evidence = replace(evidence, figures=compute_figures(found, fits.served), verified=verified)
    return evidence


def _require_another_bundle(history: VersionHistory, champion: ModelVersion, sha256: str) -> None:
    """Raise `PromotionRefused` if a version has the bundle of the champion and is not the champion."""
    same = [each for each in history.list_signed(sha256) if each.version == champion.number]
    if history.version.number != champion.number and (same or sha256 == champion.tags.get(BUNDLE_TAG)):
        raise PromotionRefused(
            "the version holds the same bundle as the champion, byte for byte",
            where=history.version.uri,
            got=f"bundle {sha256[:12]}, of {champion.title} too",
            expected="another model than the champion",
            todo="train a challenger with npsrisk train --register; the champion needs no second version",
        )


def compute_figures(found: RunEvidence, served: Bundle) -> RunFigures | None:
    """Compute the figures of a training run from its verified files; None if it has no stored scores."""
    if any(name not in found.files for name in (STORED_SCORES, CONFIG_FILE, *LOOKS)):
        return None
    leaks, swaps, split = (parse_table(found.files[name]) for name in LOOKS)
    config = parse_config_json(found.files[CONFIG_FILE], where=CONFIG_FILE)
    stored = StoredScores.from_bytes(found.files[STORED_SCORES], where=STORED_SCORES)
    return compute_run_figures(stored, take_capacity(config.evaluation, served), leaks, swaps, split)


def compute_recipe_sha256(registry: Registry, version: ModelVersion, bundle: Bundle) -> str:
    """Compute the SHA-256 of settings and features of a version; empty if its run recorded no settings."""
    config = read_run_config(registry, version.run_id)
    if config is None:
        return ""
    return hashlib.sha256(f"{hash_settings(config)} {bundle.card.feature_spec_sha256}".encode()).hexdigest()


def _describe_signer(found: RunEvidence, what: str) -> RuleResult:
    if found.signer is not None:
        return RuleResult(True, f"{what} is signed by {found.signer}")
    return RuleResult(None, f"{what} has no valid signature: {found.doubt}")


def _gather_comparison(compared: ComparedVersions, options: EvidenceOptions) -> ChampionComparison | None:
    """Gather the comparison with the champion: the chosen one, else the latest that is signed, else the latest; None without one."""
    found: list[ChampionComparison] = []
    named = [options.comparison] if options.comparison else None
    for run_id in named or compared.registry.list_runs(a=compared.a.uri, b=compared.b.uri):
        if (read := _read_comparison(compared, options, run_id)) is not None:
            found.append(read)
            if read.verified.held:
                break
    if not found:
        return None
    chosen = next((each for each in found if each.verified.held), found[0])
    if not chosen.verified.held and options.refit is not None:
        # Who wrote the run may have chosen its first day, so the arrivals are those that neither version has learnt of.
        refit = options.refit
        again = compared.compare(ComparedTraffic(refit.tables), None, refit.jobs, refit.progress)
        about = again.pair, again.begins, again.sources, REPEATED
        return ChampionComparison(chosen.run_id, *about, deployed=again.deployed, level=again.level)
    return replace(chosen, later_unsigned=found.index(chosen))


def _read_comparison(
    compared: ComparedVersions, options: EvidenceOptions, run_id: str
) -> ChampionComparison | None:
    """Read a comparison with the champion; None if its evidence does not hold, or does not say which scores it has."""
    registry, champion, version = compared.registry, compared.a, compared.b
    tags = registry.get_run_tags(run_id)
    named = (tags.get("a"), tags.get("b"))
    if named != (champion.uri, version.uri):
        raise PromotionRefused(
            "the comparison is not between these two versions",
            where=f"run {run_id}",
            got=f"{named[0]} and {named[1]}",
            expected=f"{champion.uri} and {version.uri}",
            todo=f"run npsrisk compare {champion.number} {version.number} …",
        )
    about = {name: fits.served.sha256 for name, fits in zip("ab", compared.fits, strict=True)}
    now = datetime.now(UTC)
    found = fetch_evidence(registry, run_id, about, kind="comparison", approvers=options.approvers, at=now)
    evidence = found.evidence
    if evidence is None or not evidence.begins or not evidence.sources or COMPARED_SCORES not in found.files:
        return None
    verified = _describe_signer(found, "the comparison")
    sources = []
    for kind, fits in zip(evidence.sources, compared.fits, strict=True):
        # What a fit has learnt from is read from the verified fit.
        learnt = {"final": fits.served, "evaluation": fits.evaluation or fits.served}
        source = ScoreSource.from_fit(learnt[kind]) if kind in learnt else ScoreSource(kind)
        sources.append(source._replace(kind=kind))
    stored = StoredScores.from_bytes(found.files[COMPARED_SCORES], COMPARED_SCORES)
    config, both = take_capacity(EvaluationConfig(), compared.bundle), (sources[0], sources[1])
    pair, deployed = stored.compare(config, base=OTHER_RANK), compared.evaluate_deployed(both, config)
    read = pair, evidence.begins, both, verified
    return ChampionComparison(run_id, *read, deployed=deployed, level=compared.level)


def _describe_candidate(compared: ComparedVersions, history: VersionHistory) -> Candidate:
    """Describe how a version differs from the champion, by the champion's signed record and its latest drift run."""
    registry, champion, (replaced, fits) = compared.registry, compared.a, compared.fits
    runs = registry.list_runs(kind="drift", model=champion.uri)
    verdict = registry.get_run_tags(runs[0]).get("verdict", "") if runs else ""
    recipe = compute_recipe_sha256(registry, compared.b, fits.served)
    approved = history.list_signed(replaced.served.sha256)
    new, old = (each.served.card.as_of[:10] for each in (fits, replaced))
    known = approved[-1].recipe_sha256 if approved else ""
    # What nobody vouched for cannot show that two recipes are the same, but that they differ.
    same = (known or compute_recipe_sha256(registry, champion, replaced.served)) == recipe
    same_recipe = same if known or not same else None
    results = approved[-1].name_results() if approved else {}
    broken = frozenset(name for name, result in results.items() if result == BROKEN)
    overruled = list_overruled([each.record for each in history.records if each.signatures])
    lasting = overruled.get(champion.number, frozenset())
    old_config, new_config = compared.configs
    changed = describe_changes(new_config, old_config)
    repeated = registry.get_run_tags(compared.b.run_id).get(REPRODUCED_TAG, "")
    return Candidate(champion.number, new, old, same_recipe, verdict, broken, changed, lasting, repeated)


def list_overruled(records: Sequence[PromotionRecord]) -> dict[str, frozenset[str]]:
    """List by version the rules against which it, or the version that it is a refit of, was forced, and that have not held since."""
    found: dict[str, frozenset[str]] = {}
    for record in records:
        before = {"routine refit": record.replaces, "goes back": record.version}.get(record.way) or ""
        rules = {name for name, rule in record.rules.items() if record.forced and rule["held"] is False}
        held = {name for name, result in record.name_results().items() if result == HOLDS}
        found[record.version] = (found.get(before, frozenset()) | rules) - held
    return found
