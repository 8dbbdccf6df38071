"""Two registered versions, and the source of the scores that are compared."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import pandas as pd

from consignments.errors import BadInput, BundleRefused
from features.batch import BATCH_KEY, Progress
from features.history.pseudonyms import Pseudonyms
from models.bands import HIGH_SHARE
from models.batch_scoring import build_feature_parameters
from models.bundle import Bundle
from models.formats import format_number, format_score
from models.registry import BUNDLE_TAG, ModelVersion, Registry, VersionFits
from models.signatures.key_holders import Approvers
from training.config import EvaluationConfig, TrainConfig
from training.evaluation.metrics import PairedEvaluation
from training.evaluation.stored_scores import StoredScores
from training.gate.rules import ScoreKind, ScoreSource
from training.promotion.comparison import (
    ComparedTraffic,
    Comparison,
    FitScores,
    LoggedScores,
    compare,
    compare_stored,
    take_capacity,
)
from training.promotion.refit import describe_changes, read_run_config
from training.runs.artifacts import STORED_SCORES
from training.runs.evidence import RunEvidence, fetch_evidence
from training.runs.task import TrainingTask
from training.runs.train import train_model

NOBODY = Approvers(())
SMALL_CHANGE = 1.25  # of the level of scores: a smaller one is not reported


@dataclass(frozen=True)
class ComparedVersions:
    """Two versions with their verified fits; version `b` may replace version `a`."""

    registry: Registry
    a: ModelVersion
    b: ModelVersion
    fits: tuple[VersionFits, VersionFits]

    @classmethod
    def fetch(cls, registry: Registry, a: ModelVersion, b: ModelVersion) -> "ComparedVersions":
        """Fetch and verify the fits of two versions; `BadInput` if they are no two models of one target."""
        problem = ""
        if a.uri == b.uri:
            problem = "a version cannot be compared with itself"
        elif a.target != b.target:
            problem = "models of different targets cannot be compared"
        elif a.tags.get(BUNDLE_TAG) == b.tags.get(BUNDLE_TAG):
            problem = "the two versions hold the same bundle, byte for byte"
        if problem:
            raise BadInput(
                problem,
                got=f"{a.uri} and {b.uri}",
                expected="two versions of one target: the champion, and the version that may replace it",
                todo="run npsrisk train --register for a challenger, or name another version",
            )
        return cls(registry, a, b, (registry.fetch_fits(a), registry.fetch_fits(b)))

    @property
    def bundle(self) -> Bundle:
        """The served fit of `b`, whose columns the tables are read with."""
        return self.fits[1].served

    @cached_property
    def configs(self) -> tuple[TrainConfig | None, TrainConfig | None]:
        """The settings that both training runs recorded; None of a run that recorded none."""
        return read_run_config(self.registry, self.a.run_id), read_run_config(self.registry, self.b.run_id)

    @property
    def level(self) -> str:
        """The change of the level of the served scores, by the lower end of the band *high*; empty if it is small or not known."""
        old, new = (each.served.model.bands.high for each in self.fits)
        if not old or 1 / SMALL_CHANGE < new / old < SMALL_CHANGE:
            return ""
        ends = f"{format_score(new)} in place of {format_score(old)}"
        times = f"{format_number(new / old)} times those of {self.a.title} ({ends})"
        follow = "Bands and lists at a capacity follow; a fixed limit on the score does not."
        return f"At the lower end of the band high (the top {100 * HIGH_SHARE:g} % of traffic), served scores of {self.b.title} are {times}. {follow}"

    def compare(
        self,
        compared: ComparedTraffic,
        decisions: pd.DataFrame | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Comparison:
        """Compare by the first source that has scores of `a`; `decisions` is the table of `npsrisk export`, and `jobs` fit it again."""
        found = replace(self._compare_scores(compared, decisions, jobs, progress), level=self.level)
        old, new = self.configs
        if old is None or new is None:
            return found
        changed = describe_changes(new, old)
        text = f"has {'other settings than' if changed else 'the settings of'} {self.a.title}{changed}"
        return replace(found, notes=(f"{self.b.title.capitalize()} {text}.", *found.notes))

    def _compare_scores(
        self, compared: ComparedTraffic, decisions: pd.DataFrame | None, jobs: int, progress: Progress | None
    ) -> Comparison:
        old, new = self.fits
        if decisions is not None or (can_compute(old.served) and can_compute(new.served)):
            logged = decisions if decisions is None else LoggedScores.from_decisions(decisions, self.a)
            first = old.first_unseen if logged is None else logged.begins
            begins = compared.window.begins or max(first, new.first_unseen)
            side = logged or FitScores(old.choose(begins))
            found = compare(side, FitScores(new.choose(begins)), compared, progress=progress)
            return replace(found, deployed=self.evaluate_deployed(found.sources, found.settings))
        kind: ScoreKind = "stored scores"
        stored, tested = self._find_scores()
        if tested is None:
            raise BadInput(
                "the training run has no stored scores that agree with its evidence",
                where=self.b.title,
                got=f"run {self.b.run_id}",
                expected=f"{STORED_SCORES}, as evidence.json names it",
                todo="train the version again",
            )
        known = tested.frame.loc[tested.frame["labelled"].to_numpy(bool), "consignment_id"]
        if stored is None or not known.isin(stored.frame["consignment_id"]).any():
            # The recipe of `a` on the features of today, as of the date of `b`.
            recipe, _ = self.configs
            if recipe is None:
                raise BadInput(
                    "the training run recorded no settings, so its recipe cannot be fitted again",
                    where=self.a.title,
                    todo="provide --decisions of the service",
                )
            as_of = datetime.fromisoformat(self.bundle.card.as_of)
            task = TrainingTask(compared.tables, as_of, self.b.target, recipe)
            stored, kind = train_model(task, jobs, progress).deployed.stored, "refitted recipe"
        config = take_capacity(EvaluationConfig(), self.bundle)
        return compare_stored(stored, tested, self.b.target, kind, config)

    def _find_scores(self) -> tuple[StoredScores | None, StoredScores | None]:
        """Read the out-of-time scores of both training runs; None of a run that stored none, or none that agree with its evidence."""
        found = []
        for version, fits in zip((self.a, self.b), self.fits, strict=True):
            content = fetch_training_evidence(self.registry, version, fits.served).files.get(STORED_SCORES)
            where = f"run {version.run_id}, {STORED_SCORES}"
            found.append(None if content is None else StoredScores.from_bytes(content, where))
        return found[0], found[1]

    def evaluate_deployed(
        self, sources: tuple[ScoreSource, ScoreSource], config: EvaluationConfig
    ) -> PairedEvaluation | None:
        """Evaluate both recipes as deployed on the weeks that both reports have, if evaluation fits were compared."""
        if all(each.kind != "evaluation" for each in sources):
            return None
        stored, tested = self._find_scores()
        if stored is None or tested is None:
            return None
        try:
            return compare_stored(stored, tested, self.b.target, config=config).pair
        except BadInput:
            # They have no weeks in common.
            return None


def fetch_training_evidence(
    registry: Registry, version: ModelVersion, bundle: Bundle, approvers: Approvers = NOBODY
) -> RunEvidence:
    """Fetch the evidence of the training run of a version, about its served fit."""
    about, now = {"bundle": bundle.sha256}, datetime.now(UTC)
    return fetch_evidence(registry, version.run_id, about, kind="training", approvers=approvers, at=now)


def can_compute(bundle: Bundle) -> bool:
    """Return whether the installed features are those of a model."""
    try:
        key = Pseudonyms(BATCH_KEY)
        bundle.model.replace_spec(build_feature_parameters(bundle, key).build_pipeline().spec)
    except BundleRefused:
        return False
    return True
