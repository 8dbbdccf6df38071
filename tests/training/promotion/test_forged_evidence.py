"""Evidence written by hand into MLflow promotes nothing: not as metrics, and not as tables, unless an approver or evaluator signed them."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from support.approval import APPROVAL
from support.registered_model import create_run
from support.signing import REVIEWER, SECOND, STRANGER, sign_record
from support.training_judged import build_stored_scores

from consignments.errors import PromotionRefused
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approver, Approvers
from models.signatures.keys import SigningKey
from training.config import CONFIG_FILE, TrainConfig
from training.evaluation.leakage import BOUNDS
from training.evaluation.stored_scores import StoredScores
from training.gate.rules import VERIFIED_RULE, find_obstacles
from training.promotion.evidence import COMPARED_SCORES, EvidenceOptions, review_version
from training.promotion.promote import Promotion, promote
from training.reporting.tables import RunTable
from training.runs.artifacts import STORED_SCORES
from training.runs.evidence import EVIDENCE_FILE, SIGNATURE_FILE, Evidence, hash_files

DAYS, ROWS_A_DAY, FINDS_A_DAY = 40, 100, 4
BEGINS = datetime(2030, 1, 1, tzinfo=UTC)
APPROVER = Approver("a reviewer", REVIEWER.public.text)
EVALUATOR = Approver("an evaluator", SECOND.public.text, role="evaluator")
APPROVERS = Approvers([APPROVER, EVALUATOR])
ENDED = datetime(2025, 1, 1, tzinfo=UTC)
RETIRED = Approvers([APPROVER, Approver("an evaluator", SECOND.public.text, ENDED, "evaluator")])
PERFECT = {
    f"{kind}/{name}{end}": value
    for kind in ("deployed", "test", "difference", "b")
    for name in ("roc_auc", "average_precision", "precision_at_1pct", "recall_at_1pct", "recall_at_capacity")
    for end, value in (("", 0.9), ("_low", 0.8), ("_high", 0.95))
} | {"compared/finds": 200.0, "deployed/calibration_ratio": 1.0, "test/name_swap_95pct": 0.0}
FITS = ("final", "evaluation")


@pytest.fixture
def version(registry: Registry) -> ModelVersion:
    return registry.resolve("3")


@cache
def make_perfect_scores(rival: str, finds: int = DAYS * FINDS_A_DAY) -> StoredScores:
    """Make scores that rank nine of ten finds first, next to a rival that draws."""
    rows = DAYS * ROWS_A_DAY
    positive = np.arange(rows) % ROWS_A_DAY < FINDS_A_DAY
    random = np.random.default_rng(1)
    found = positive & (random.random(rows) < 0.9)
    rank = np.where(found, 0.98, 0.0) + np.where(found, 0.02, 0.98) * random.random(rows)
    by_row = {
        "day": 21_915 + np.arange(rows) // ROWS_A_DAY,
        "positive": positive & (positive.cumsum() <= finds),
        "rank": rank,
        "probability": np.where(found, 0.9, 0.005),
        "true_positive": pd.array([pd.NA] * rows, dtype="boolean"),
        rival: random.random(rows),
    }
    plain = {"window": "2030-01-01", "labelled": True, "chosen_by": "random", "weight": 1.0}
    others = build_stored_scores(rows).frame.drop(columns=["baseline_random", "baseline_rules"])
    return StoredScores(others.assign(channel="postal", **plain, **by_row))


def write_run(
    registry: Registry,
    run_id: str,
    folder: Path,
    files: Mapping[str, bytes],
    key: SigningKey | None,
    **about: object,
) -> None:
    """Write files with their evidence into a run, as who has the password of MLflow can."""
    hashes = {"data_sha256": "0" * 64, "settings_sha256": "0" * 64}
    evidence = Evidence(target="nps", files=hash_files(files), **hashes, **about)
    for name, content in (files | evidence.to_files(key)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    registry.client.log_artifacts(run_id, str(folder))


def create_comparison(registry: Registry) -> str:
    one, other = (registry.resolve(number) for number in "23")
    return create_run(registry, kind="comparison", a=one.uri, b=other.uri, begins=BEGINS.isoformat())


def write_comparison(
    registry: Registry,
    folder: Path,
    key: SigningKey | None,
    *,
    scores: StoredScores | None = None,
    begins: datetime = BEGINS,
    sources: tuple[str, str] | None = FITS,
) -> None:
    """Write a comparison of version 3 with the champion, perfect if no scores are given."""
    files = {COMPARED_SCORES: (scores or make_perfect_scores("baseline_a")).content}
    bundles = {name: registry.resolve(of).tags["bundle_sha256"] for name, of in (("a", "2"), ("b", "3"))}
    about = {"kind": "comparison", "begins": begins, "sources": sources, "bundles": bundles}
    write_run(registry, create_comparison(registry), folder, files, key, **about)


def write_training(
    registry: Registry, folder: Path, key: SigningKey | None, *, with_tables: bool = True
) -> None:
    version = registry.resolve("3")
    nothing = {"found": 0.0, "rows": 900, "where": ""}
    leaks = [nothing | {"look": look, "bound": bound} for look, bound in BOUNDS.items()]
    swaps = [{"language": "ko", "rows": 10, "move_95pct": 0.0}]
    scores = make_perfect_scores("baseline_rules").content
    files = {CONFIG_FILE: TrainConfig().to_json().encode(), STORED_SCORES: scores}
    split = [{"arrivals_from": f"2024-0{n}-01", "arrivals_before": f"2024-0{n + 1}-01"} for n in (1, 2, 3)]
    tables = {"leaks": leaks, "name_swaps": swaps, "split": split} if with_tables else {}
    files |= {f"tables/{name}.json": RunTable(rows).to_json().encode() for name, rows in tables.items()}
    about = {"kind": "training", "bundles": {"bundle": version.tags["bundle_sha256"]}}
    write_run(registry, version.run_id, folder, files, key, **about)


def write_perfect_runs(registry: Registry, folder: Path, key: SigningKey | None, **about: object) -> None:
    write_training(registry, folder / "training", key)
    write_comparison(registry, folder / "comparison", key, **about)


def promote_third(registry: Registry, approvers: Approvers = APPROVERS) -> Promotion:
    return promote(registry, registry.resolve("3"), APPROVAL._replace(approvers=approvers))


def refuse(registry: Registry, words: str, approvers: Approvers = APPROVERS) -> None:
    with pytest.raises(PromotionRefused, match=words):
        promote_third(registry, approvers)


def test_metrics_written_by_hand_promote_nothing(registry: Registry, version: ModelVersion) -> None:
    for run_id in (version.run_id, create_comparison(registry)):
        for name, value in PERFECT.items():
            registry.client.log_metric(run_id, name, value)
    refuse(registry, "does not pass the gate")
    obstacles = find_obstacles(review_version(registry, version, EvidenceOptions(APPROVERS)).rules)
    assert {"better than chance", "calibrated", "compared with the champion", VERIFIED_RULE} <= set(obstacles)


@pytest.mark.parametrize("key", [None, STRANGER], ids=["unsigned", "signed by a stranger or a partner"])
def test_perfect_tables_written_by_hand_promote_nothing(
    registry: Registry, version: ModelVersion, tmp_path: Path, key: SigningKey | None
) -> None:
    """All other rules hold: what is missing is somebody who vouches for the tables."""
    write_perfect_runs(registry, tmp_path, key)
    rules = review_version(registry, version, EvidenceOptions(APPROVERS)).rules
    assert set(find_obstacles(rules)) == {VERIFIED_RULE}
    assert rules[VERIFIED_RULE].held is None
    refuse(registry, VERIFIED_RULE)


def test_the_same_tables_promote_if_signed_by_an_evaluator_who_may(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    write_perfect_runs(registry, tmp_path, SECOND)
    (find_artifacts(registry, version) / "tables" / "gate.json").write_text("[]")
    refuse(registry, VERIFIED_RULE, RETIRED)
    assert not promote_third(registry).record.forced


def test_a_later_unsigned_comparison_replaces_no_signed_one(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    write_perfect_runs(registry, tmp_path, SECOND)
    write_comparison(registry, tmp_path / "later", None, scores=make_perfect_scores("baseline_a", finds=7))
    found = review_version(registry, version, EvidenceOptions(APPROVERS))
    told = "compared with version 2, the champion; 1 later comparison without a signature does not count"
    assert found.rules["compared with the champion"].found == told
    assert found.recommendation.facts[0].startswith("Of 160 known NPS")
    assert promote_third(registry).record.comparison == found.comparison_run


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (("stored scores", "stored scores"), ""),
        (("stored scores", "evaluation"), "compared on unseen data: arrivals from"),
        (None, "compared with the champion: no comparison"),
    ],
)
def test_only_stored_scores_may_begin_before_the_unseen_days(
    registry: Registry, tmp_path: Path, sources: tuple[str, str] | None, words: str
) -> None:
    """The signed evidence names the source of the scores; what a fit has learnt from is read from its bundle."""
    unseen = [registry.fetch_fits(registry.resolve(number)).first_unseen for number in "23"]
    earlier = min(unseen) - timedelta(days=60)
    write_perfect_runs(registry, tmp_path, SECOND, begins=earlier, sources=sources)
    if words:
        refuse(registry, words)
    else:
        assert promote_third(registry).record.way == "better"


def find_artifacts(registry: Registry, version: ModelVersion) -> Path:
    return Path(registry.client.get_run(version.run_id).info.artifact_uri.removeprefix("file://"))


def change(folder: Path, name: str, content: bytes | dict[str, Any] | None) -> None:
    """Replace a file of a run, or values of a JSON file, or remove the file."""
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        change(folder, name, json.dumps(json.loads((folder / name).read_bytes()) | content).encode())


SWAPPED = make_perfect_scores("baseline_rules", finds=100).content
LEAKS, UNREADABLE = "tables/leaks.json", "evidence.json cannot be read"
OF_A_PROMOTION = json.dumps(sign_record().sign(REVIEWER).to_envelope()).encode()
UNLIKE = "evidence.json is not what was signed"
FORGERIES: dict[str, tuple[str, bytes | dict[str, Any] | None, str]] = {
    "scores swapped": (STORED_SCORES, SWAPPED, "was altered: evidence.json names another file"),
    "a table removed": (LEAKS, None, f"{LEAKS} is missing"),
    "evidence removed": (EVIDENCE_FILE, None, "the run has no evidence.json"),
    "signature of a promotion": (SIGNATURE_FILE, OF_A_PROMOTION, UNLIKE),
    "signature that is nonsense": (SIGNATURE_FILE, b"{}", f"{SIGNATURE_FILE} cannot"),
    "evidence that is nonsense": (EVIDENCE_FILE, b"[]", UNREADABLE),
    "a file elsewhere": (EVIDENCE_FILE, {"files": {"../../secret.json": "0" * 64}}, UNREADABLE),
    "another bundle": (EVIDENCE_FILE, {"bundles": {"bundle": "3" * 64}}, "is about other bundles"),
}


@pytest.mark.parametrize(("name", "content", "doubt"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_training_run_promotes_nothing(
    registry: Registry, version: ModelVersion, tmp_path: Path, name: str, content: Any, doubt: str
) -> None:
    write_perfect_runs(registry, tmp_path, SECOND)
    change(find_artifacts(registry, version), name, content)
    refuse(registry, re.escape(doubt))


@pytest.mark.parametrize(
    ("key", "doubt"), [(None, UNLIKE), (STRANGER, "no signature of an approver or evaluator")]
)
def test_evidence_edited_to_name_swapped_scores_promotes_nothing(
    registry: Registry, version: ModelVersion, tmp_path: Path, key: SigningKey | None, doubt: str
) -> None:
    """The signature stays; with a key, the envelope holds the edited evidence too."""
    write_perfect_runs(registry, tmp_path, SECOND)
    folder = find_artifacts(registry, version)
    signatures = json.loads((folder / SIGNATURE_FILE).read_bytes())["signatures"]
    change(folder, STORED_SCORES, SWAPPED)
    evidence = msgspec.json.decode((folder / EVIDENCE_FILE).read_bytes(), type=Evidence)
    files = hash_files({name: (folder / name).read_bytes() for name in evidence.files})
    for name, content in msgspec.structs.replace(evidence, files=files).to_files(key).items():
        change(folder, name, content)
    change(folder, SIGNATURE_FILE, {"signatures": signatures})
    refuse(registry, doubt)


def test_evidence_that_names_no_tables_is_refused_in_words(registry: Registry, tmp_path: Path) -> None:
    write_training(registry, tmp_path, SECOND, with_tables=False)
    refuse(registry, "does not pass the gate")
