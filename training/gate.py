"""The promotion gate: every rule in one table, each run on evidence, and a record of what each one found.

A version becomes champion where all rules hold. With a champion in place a paired comparison of the two is part of the
evidence; without one only the absolute rules apply. `force` promotes all the same, and the record says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np

from consignments.errors import BundleRefused, PromotionRefused
from models.bundle import Bundle
from models.promotion import PromotionRecord
from models.registry import CHAMPION, Registry, Version
from training.name_swaps import BOUND as NAME_SWAP_BOUND

MARGIN = 0.02
"""How much precision or recall at capacity may be lost to the champion, at the lower end of the 95 % interval."""
CALIBRATION_SHARE = 1.0
"""Largest calibration error, as a share of the rate of finds; refused where even the lower end of its 95 % interval
is above, since with few finds the error itself is known to a factor only."""


@dataclass(frozen=True)
class Evidence:
    """What the rules look at.

    Attributes
    ----------
    bundle : Bundle or None
        Verified; None where it was refused, with the reason in `refusal`.
    refusal : str
    metrics : mapping
        Of the training run.
    gains : mapping or None
        Metrics of the comparison run; None where there is no champion.
    """

    bundle: Bundle | None
    refusal: str
    metrics: Mapping[str, float]
    gains: Mapping[str, float] | None


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes
    ----------
    held : bool
    found, expected : str
    """

    held: bool
    found: str
    expected: str


def _sums_hold(evidence: Evidence) -> Finding:
    return Finding(
        evidence.bundle is not None, evidence.refusal or "all files as in the manifest", "an unaltered bundle"
    )


def _self_test_passes(evidence: Evidence) -> Finding:
    expected = "its examples scored bit for bit"
    if evidence.bundle is None:
        return Finding(False, "no bundle", expected)
    try:
        evidence.bundle.self_test()
    except BundleRefused as error:
        return Finding(False, str(error), expected)
    return Finding(True, "its examples scored bit for bit", expected)


def _reasons_are_given(evidence: Evidence) -> Finding:
    expected = "a reason for the highest score of the examples"
    if evidence.bundle is None:
        return Finding(False, "no bundle", expected)
    examples = evidence.bundle.examples
    best = int(np.argmax(examples.probability))
    reasons = evidence.bundle.model.explain(examples.X[best], 3)
    return Finding(len(reasons) > 0, f"{len(reasons)} reasons", expected)


def _ranks_better_than_chance(evidence: Evidence) -> Finding:
    low = evidence.metrics.get("test/roc_auc_low", float("nan"))
    return Finding(
        low > 0.5, f"lower end of the area under the ROC curve {low:.3f}", "above 0.5 on the test period"
    )


def _finds_more_than_rules(evidence: Evidence) -> Finding:
    mine = evidence.metrics.get("test/average_precision", float("nan"))
    rules = evidence.metrics.get("baseline/rules/average_precision", 0.0)
    return Finding(mine > rules, f"average precision {mine:.4f}", f"above that of the rules, {rules:.4f}")


def _is_calibrated(evidence: Evidence) -> Finding:
    low = evidence.metrics.get("test/calibration_error_low", float("nan"))
    bound = CALIBRATION_SHARE * rate_of_finds(evidence.metrics)
    return Finding(
        low <= bound,
        f"lower end of the calibration error {low:.5f}",
        f"at most {bound:.5f}, the rate of finds",
    )


def _minds_no_names(evidence: Evidence) -> Finding:
    move = evidence.metrics.get("test/name_swap_95pct", float("nan"))
    return Finding(
        move <= NAME_SWAP_BOUND,
        f"95 % of scores moved by up to {move:.4f} in log-odds",
        f"at most {NAME_SWAP_BOUND} where names are swapped for those of another language",
    )


def _keeps(metric: str, name: str) -> Callable[[Evidence], Finding]:
    def rule(evidence: Evidence) -> Finding:
        assert evidence.gains is not None
        low = evidence.gains.get(f"difference/{metric}_low", float("nan"))
        gain = evidence.gains.get(f"difference/{metric}", float("nan"))
        return Finding(
            low >= -MARGIN,
            f"{gain:+.4f}, lower end {low:+.4f}",
            f"no more than {MARGIN} of {name} lost to the champion",
        )

    return rule


ABSOLUTE: dict[str, Callable[[Evidence], Finding]] = {
    "sums verified": _sums_hold,
    "self-test passed": _self_test_passes,
    "reasons present": _reasons_are_given,
    "better than chance": _ranks_better_than_chance,
    "better than rules": _finds_more_than_rules,
    "calibrated": _is_calibrated,
    "names do not matter": _minds_no_names,
}
"""Rules for every version."""
AGAINST_CHAMPION: dict[str, Callable[[Evidence], Finding]] = {
    "precision at 1 % kept": _keeps("precision_at_1pct", "precision at 1 %"),
    "recall at 1 % kept": _keeps("recall_at_1pct", "recall at 1 %"),
    "precision at capacity kept": _keeps("precision_at_capacity", "precision at capacity"),
    "recall at capacity kept": _keeps("recall_at_capacity", "recall at capacity"),
}
"""Rules where there is a champion to replace."""


def run_gate(evidence: Evidence) -> dict[str, Finding]:
    """Run every rule that applies."""
    rules = ABSOLUTE if evidence.gains is None else ABSOLUTE | AGAINST_CHAMPION
    return {name: rule(evidence) for name, rule in rules.items()}


def promote(
    registry: Registry,
    version: Version,
    *,
    approved_by: str,
    why: str,
    now: datetime,
    comparison: str | None = None,
    force: bool = False,
) -> PromotionRecord:
    """Run the gate and, where it holds or is forced, write the record and move the aliases.

    Parameters
    ----------
    registry : Registry
    version : Version
        What shall be champion.
    approved_by, why : str
        For the record; not empty.
    now : datetime
    comparison : str, optional
        Run of the comparison with the champion; default: the latest one of these two versions.
    force : bool
        Promote although a rule does not hold; a bundle that is altered or fails its self-test is refused even then.

    Raises
    ------
    PromotionRefused
        Naming each rule that did not hold.
    """
    for name, text in (("approved-by", approved_by), ("why", why)):
        if not text.strip():
            raise PromotionRefused(
                "a promotion is recorded with a name and a reason", where=f"--{name}", got="''"
            )
    champion = registry.find(CHAMPION, version.target)
    rolling_back = champion is not None and _was_champion(registry, version)
    compared = (
        None
        if champion is None or rolling_back
        else comparison or registry.latest_comparison(champion, version)
    )
    evidence = gather(registry, version, champion, compared, force=force, rolling_back=rolling_back)
    findings = run_gate(evidence)
    broken = {name: finding for name, finding in findings.items() if not finding.held}
    beyond_force = {"sums verified", "self-test passed"} & set(broken)
    if broken and (not force or beyond_force):
        raise PromotionRefused(_told(version, broken), todo=_next_step(bool(beyond_force)))
    assert evidence.bundle is not None
    number, previous = registry.next_link(version.name)
    record = PromotionRecord(
        number=number,
        name=version.name,
        version=version.number,
        replaces=None if champion is None else champion.number,
        bundle_sha256=evidence.bundle.sha256,
        approved_by=approved_by,
        why=why,
        approved_at=now,
        rules={name: asdict(finding) for name, finding in findings.items()},
        comparison=compared,
        forced=bool(broken) or (force and champion is not None and compared is None and not rolling_back),
        previous_sha256=previous,
    )
    registry.append(record)
    return record


def gather(
    registry: Registry,
    version: Version,
    champion: Version | None,
    comparison: str | None,
    *,
    force: bool,
    rolling_back: bool,
) -> Evidence:
    """Collect what the rules look at.

    Raises
    ------
    PromotionRefused
        Where there is a champion and no comparison with it, or the comparison is of other versions.
    """
    bundle, refusal = None, ""
    try:
        bundle = registry.bundle(version)
    except BundleRefused as error:
        refusal = str(error)
    gains: Mapping[str, float] | None = None
    if champion is not None and champion.number != version.number and not rolling_back:
        if comparison is None and not force:
            raise PromotionRefused(
                "there is a champion, and no comparison with it",
                where=f"version {version.number}",
                expected=f"a comparison run of {champion.number} and {version.number}",
                todo=f"run npsrisk compare {champion.number} {version.number} … first",
            )
        if comparison is not None:
            gains = _comparison_metrics(registry, comparison, champion, version)
    return Evidence(bundle, refusal, registry.run_metrics(version.run_id), gains)


def rate_of_finds(metrics: Mapping[str, float]) -> float:
    """Give the rate of finds in all traffic, which precision and recall at 10 % imply."""
    precision = metrics.get("test/precision_at_10pct", float("nan"))
    recall = metrics.get("test/recall_at_10pct", float("nan"))
    return 0.1 * precision / recall if recall > 0 else float("nan")


def _was_champion(registry: Registry, version: Version) -> bool:
    return any(record.version == version.number for record in registry.records(version.name))


def _comparison_metrics(
    registry: Registry, run_id: str, champion: Version, version: Version
) -> Mapping[str, float]:
    tags = registry.run_tags(run_id)
    compared = (tags.get("a"), tags.get("b"))
    if compared != (champion.uri, version.uri):
        raise PromotionRefused(
            "the comparison is not of these two versions",
            where=f"run {run_id}",
            got=f"{compared[0]} and {compared[1]}",
            expected=f"{champion.uri} and {version.uri}",
            todo=f"run npsrisk compare {champion.number} {version.number} …",
        )
    return registry.run_metrics(run_id)


def _told(version: Version, broken: Mapping[str, Finding]) -> str:
    rules = "; ".join(
        f"{name}: {finding.found} (expected {finding.expected})" for name, finding in broken.items()
    )
    return f"{version.uri} does not pass the gate: {rules}"


def _next_step(beyond_force: bool) -> str:
    if beyond_force:
        return "train again; an altered bundle is never promoted"
    return "improve the model, or use --force, which is recorded"
