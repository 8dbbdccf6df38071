"""Comparison of two registered versions: which scores of each are compared.

The final or evaluation fits score the same tables, if the installed features are those of both. Else version `a` has other
features, and its scores come, in this order, from the service's decisions, from the stored scores of both training runs, or from
its recipe fitted again on the features of today.
"""

from dataclasses import replace
from datetime import datetime

import pandas as pd

from consignments.errors import BadInput, BundleRefused
from features.batch import BATCH_KEY, Progress
from features.history.pseudonyms import Pseudonyms
from models.batch_scoring import build_feature_parameters
from models.bundle import Bundle
from models.registry import ModelVersion, Registry, VersionFits
from training.data.splits import ArrivalWindow
from training.evaluation.stored_scores import StoredScores
from training.promotion.comparison import ComparedTraffic, Comparison, compare, compare_stored
from training.promotion.logged_scores import LoggedScores
from training.promotion.refit import read_run_config
from training.runs.task import TrainingTask
from training.runs.train import train_model

STORED_SCORES = "scores/deployed.parquet"
FROM_STORE = "the stored scores of its training run"
FROM_REFIT = "its recipe, fitted again on the features of today"


class ComparedVersions:
    """Two versions with their verified fits; version `b` may replace version `a`."""

    def __init__(self, registry: Registry, a: ModelVersion, b: ModelVersion) -> None:
        self.registry, self.a, self.b = registry, a, b
        self._fits: tuple[VersionFits, VersionFits] = (registry.fetch_fits(a), registry.fetch_fits(b))

    @property
    def bundle(self) -> Bundle:
        """The served fit of `b`, whose columns the tables are read with."""
        return self._fits[1].served

    def compare(
        self,
        compared: ComparedTraffic,
        decisions: pd.DataFrame | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Comparison:
        """Compare the versions by the first source that has scores of `a`.

        Parameters
        ----------
        compared : ComparedTraffic
        decisions : DataFrame, optional
            The table `decisions` of `npsrisk export`. If given, they are the scores of `a`.
        jobs : int
            Processes and threads that repeat a training run.
        progress : callable, optional
        """
        old, new = self._fits
        if decisions is not None:
            logged = LoggedScores.from_decisions(decisions, self.a.name, self.a.number)
            begins = compared.window.begins or max(logged.begins, new.first_unseen)
            return compare(logged, new.choose(begins), _begin_at(compared, begins), progress=progress)
        if can_compute(old.served) and can_compute(new.served):
            begins = compared.window.begins or max(old.first_unseen, new.first_unseen)
            window = _begin_at(compared, begins)
            return compare(old.choose(begins), new.choose(begins), window, progress=progress)
        tested = self._read_scores(self.b)
        stored, target = self._find_scores(self.a), self.b.target
        if stored is not None and has_common_results(stored, tested):
            return compare_stored(stored, tested, target, FROM_STORE)
        return compare_stored(self._refit(compared, jobs, progress), tested, target, FROM_REFIT)

    def _find_scores(self, version: ModelVersion) -> StoredScores | None:
        """Read the out-of-time scores that a training run stored; None if it stored none."""
        content = self.registry.read_run_artifact(version.run_id, STORED_SCORES)
        where = f"run {version.run_id}, {STORED_SCORES}"
        return None if content is None else StoredScores.from_bytes(content, where)

    def _read_scores(self, version: ModelVersion) -> StoredScores:
        stored = self._find_scores(version)
        if stored is None:
            raise BadInput(
                "the training run has no stored scores",
                where=version.title,
                got=f"no {STORED_SCORES} in run {version.run_id}",
                todo="train the version again",
            )
        return stored

    def _refit(self, compared: ComparedTraffic, jobs: int, progress: Progress | None) -> StoredScores:
        """Fit the recipe of `a` on the features of today, as of the date of `b`, and return its out-of-time scores."""
        config = read_run_config(self.registry, self.a.run_id)
        if config is None:
            raise BadInput(
                "the training run recorded no settings, so its recipe cannot be fitted again",
                where=self.a.title,
                todo="provide --decisions of the service",
            )
        as_of = datetime.fromisoformat(self.bundle.card.as_of)
        task = TrainingTask(compared.tables, as_of, self.b.target, config)
        return train_model(task, jobs, progress).deployed.stored


def can_compute(bundle: Bundle) -> bool:
    """Return whether the installed features are those of a model."""
    try:
        bundle.model.replace_spec(
            build_feature_parameters(bundle, Pseudonyms(BATCH_KEY)).build_pipeline().spec
        )
    except BundleRefused:
        return False
    return True


def has_common_results(a: StoredScores, b: StoredScores) -> bool:
    """Return whether the deployed fits of two runs have scored the same consignment with a result."""
    known = b.frame.loc[b.frame["labelled"].to_numpy(bool), "consignment_id"]
    return bool(known.isin(a.frame["consignment_id"]).any())


def _begin_at(compared: ComparedTraffic, begins: datetime) -> ComparedTraffic:
    return replace(compared, window=ArrivalWindow(begins, compared.window.ends))
