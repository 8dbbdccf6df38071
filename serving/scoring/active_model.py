"""The model that scores now with the state it scores with; a new model takes the place of all of it in one step."""

from collections.abc import Sequence

from consignments.errors import ServiceFault
from serving.event_log.event_codec import EventCodec
from serving.event_log.group_commit import Committer
from serving.process.clock import Clock
from serving.process.settings import WithoutModel
from serving.scoring.intake import Intake
from serving.scoring.loaded_model import LoadedModel
from serving.scoring.scorer import Scorer, ScoreRequest, ScoreResult
from serving.state.prefetch import Prefetcher
from serving.state.state import State
from serving.telemetry.metrics import Metrics


class ActiveModel:
    """What scores, and what takes records.

    Parameters
    ----------
    committer : Committer
    clock : callable
    metrics : Metrics
    without_model : {"rules", "refuse"}
        What scores if no model is published.

    Attributes
    ----------
    committer : Committer
    clock : callable
    model : LoadedModel
        The published model, or the rules.
    state : State
        Up to the end of the log.
    intake : Intake
    scorer : Scorer or None
        None if no model could be loaded and the rules do not stand in.
    fault : str or None
        Why the model that is published is not the one that scores.
    """

    model: LoadedModel
    state: State
    intake: Intake

    def __init__(
        self, committer: Committer, clock: Clock, metrics: Metrics, without_model: WithoutModel
    ) -> None:
        self.committer, self.clock, self._metrics = committer, clock, metrics
        self._without_model = without_model
        self._prefetcher = Prefetcher()
        self.scorer: Scorer | None = None
        self.fault: str | None = None

    @property
    def entries(self) -> EventCodec:
        """The entries of the model."""
        return self.model.entries

    @property
    def degraded(self) -> bool:
        """Whether the rules score because no model is loaded."""
        return self.scorer is not None and self.model.release is None

    def switch_to(self, model: LoadedModel, state: State) -> None:
        """Let a model score from now on."""
        self.model, self.state = model, state
        state.dossiers.durable = lambda: self.committer.durable_sequence
        self.intake = Intake(state, model.entries, self.committer)
        self.scorer = None
        if model.release is not None:
            self.fault = None
            self._metrics.gauges["model_refused"].set(0)
        if model.release is not None or self._without_model == "rules":
            self.scorer = Scorer(model, self.intake, self.committer, self.clock, self._metrics)
            self._metrics.set_model(model.name, model.sha256, model.loaded_at, model.as_of)
            self._metrics.gauges["degraded"].set(model.release is None)
            self._metrics.hot.traffic.configure(model.record, model.spec)

    def get_scorer(self) -> Scorer:
        """Give the scorer; `ServiceFault` if no model is loaded and the rules do not stand in."""
        if self.scorer is None:
            raise self.build_no_model_fault()
        return self.scorer

    def score_batch(self, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        """Score what `split_batches` gives by the model that is loaded now."""
        return self.get_scorer().score_batch(asked)

    def build_no_model_fault(self) -> ServiceFault:
        """Say that no model is loaded, and why."""
        return ServiceFault(
            "no model is loaded",
            got=self.fault or "",
            todo="train, promote and publish one: npsrisk publish",
        )

    async def prefetch(self, consignment_ids: Sequence[str]) -> None:
        """Bring what is known of consignments into memory, so that recording something about them does not wait for the log.

        Raises
        ------
        ServiceFault
            The log cannot be written now or, for what must be looked up, cannot be read.
        """
        if not consignment_ids:
            return
        state = None
        while state is not self.state:  # another model may bring another state meanwhile
            self.committer.check()
            state = self.state
            awaited = state.dossiers.request_lookups(consignment_ids, state.today)
            if awaited:
                await self._prefetcher.complete(state.dossiers, awaited)

    def close(self) -> None:
        """End the threads that read the log."""
        self._prefetcher.close()
