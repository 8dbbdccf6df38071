"""The service without HTTP: its log, its state, its model, and the task that watches for a new model or new keys.

All that changes state runs in one thread, the event loop's; the log is written in another, and models load in a third.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import structlog

from consignments.errors import BadSetting, BundleRefused, ServiceFault
from features.config import FeatureConfig
from features.fitted import Fitted
from features.pipeline import Pipeline
from features.pseudonyms import Pseudonyms, load_data_key
from serving.access import Access
from serving.entries import Entries
from serving.event_log import EventLog
from serving.group_commit import Committer
from serving.intake import Intake
from serving.metrics import Metrics
from serving.releases import current_folder, read_release
from serving.scorer import Clock, Model, Scorer, clock_us, load_model
from serving.sealing import Vault
from serving.settings import Settings
from serving.state import Progress, Replay, State, rebuild

WATCH_SECONDS = 1.0
log_line = structlog.get_logger("npsrisk")


class Service:
    """Everything that one state directory holds, opened; whoever makes it holds the `StateLock`.

    Parameters
    ----------
    settings : Settings
    clock : callable
        The service's clock, in microseconds since the epoch.

    Attributes
    ----------
    scorer : Scorer or None
        None as long as no model could be loaded.
    intake : Intake
    state : State
    entries : Entries
        Of the loaded model, or the default ones.
    model_fault : str or None
        Why the model that is published is not the one that scores.
    """

    def __init__(self, settings: Settings, clock: Clock = clock_us) -> None:
        self.settings, self.clock = settings, clock
        self.access = Access(settings.api_keys_file, settings.rate_limit)
        data_key = load_data_key(settings.data_key_file, create=True)
        self.pseudonyms, self.vault = Pseudonyms(data_key), Vault(data_key)
        self.metrics = Metrics()
        self.log = EventLog.open(settings.database_url, self.vault)
        self.committer = Committer(self.log, self.metrics.committed)
        self.scorer: Scorer | None = None
        self.model_fault: str | None = None
        self.started_at = datetime.now(UTC)
        self._wake = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._seen: Path | None = None

    def open(self, progress: Progress | None = None) -> None:
        """Load the model, where one is published, and build the state from the log.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        model = self._first_model()
        pipeline, entries = default_pipeline(self.pseudonyms, self.vault)
        if model is not None:
            pipeline, entries = model.pipeline, model.entries
        state = rebuild(self.log, pipeline, entries, self.log.last_sequence, progress)
        self._use(model, pipeline, entries, state)
        log_line.info(
            "ready" if model else "no model", sequence=self.log.last_sequence, model=model and model.name
        )

    async def start(self) -> None:
        """Watch for a new model, for new keys, and for a log that can be written again."""
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching, and wait until everything is on disk."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        with contextlib.suppress(ServiceFault):
            await self.committer.drain()
        self.committer.close()
        self.log.close()
        log_line.info("stopped", sequence=self.log.last_sequence)

    def wake(self) -> None:
        """Look now whether something changed."""
        self._wake.set()

    def scoring(self) -> Scorer:
        """Give the scorer; `ServiceFault` where no model is loaded."""
        if self.scorer is None:
            raise ServiceFault(
                "no model is loaded",
                got=self.model_fault or "",
                todo="train, promote and publish one: npsrisk publish",
            )
        return self.scorer

    def not_ready(self) -> list[str]:
        """Say why scores cannot be given now; empty where they can."""
        reasons = []
        if self.scorer is None:
            reasons.append("no model is loaded")
        if self.committer.fault is not None:
            reasons.append(str(self.committer.fault))
        return reasons

    async def look(self) -> None:
        """Do once what the watcher does each second."""
        self._refresh_keys()
        if self.committer.fault is not None:
            await self._recover()
        if self.committer.fault is None:
            await self._follow_publisher()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), WATCH_SECONDS)
            self._wake.clear()
            try:
                await self.look()
            except Exception as error:
                log_line.error("watching failed", error=error.__class__.__name__)

    def _refresh_keys(self) -> None:
        try:
            if self.access.refresh():
                log_line.info("API keys read again")
        except BadSetting as error:
            log_line.error("API keys stay as they were", error=str(error))

    async def _recover(self) -> None:
        """Build the state anew from the log, once the log can be used again."""
        try:
            await asyncio.to_thread(self.log.reread)
        except ServiceFault as error:
            log_line.error("the log cannot be used", error=str(error))
            return
        until = self.log.last_sequence
        state = await asyncio.to_thread(rebuild, self.log, self._pipeline, self.entries, until)
        self.committer.resume()
        self._use(self.model, self._pipeline, self.entries, state)
        log_line.info("the log can be used again", sequence=until)

    async def _follow_publisher(self) -> None:
        """Load what was published since; what is refused is not tried again until something else is published."""
        folder = self._seen
        try:
            folder = current_folder(self.settings.state_dir)
            if folder is None or folder == self._seen:
                return
            model = await asyncio.to_thread(self._load, folder)
        except BundleRefused as error:
            self._refuse(error)
            self._seen = folder
            return
        await self._adopt(model)
        self._seen = folder
        log_line.info("model loaded", model=model.name, bundle=model.release.bundle_sha256[:12])

    async def _adopt(self, model: Model) -> None:
        """Let a model score from now on; state is built anew only where the model has other keys of history."""
        if model.entries.kinds == self.entries.kinds:
            self._use(model, model.pipeline, model.entries, self.state)
            return
        until = self.log.last_sequence
        state = await asyncio.to_thread(rebuild, self.log, model.pipeline, model.entries, until)
        # From here to the end nothing else runs: entries on their way to disk are taken from memory.
        replay = Replay(model.pipeline, model.entries)
        replay.follow(state, self.log.events(after=until, until=self.committer.durable_sequence))
        replay.follow(state, self.committer.pending())
        self._use(model, model.pipeline, model.entries, state)

    def _first_model(self) -> Model | None:
        try:
            self._seen = current_folder(self.settings.state_dir)
            return None if self._seen is None else self._load(self._seen)
        except BundleRefused as error:
            self._refuse(error)
            return None

    def _load(self, folder: Path) -> Model:
        return load_model(read_release(folder), self.pseudonyms, self.vault)

    def _refuse(self, error: BundleRefused) -> None:
        if str(error) != self.model_fault:
            log_line.error("model refused", error=str(error))
        self.model_fault = str(error)
        self.metrics.model_refused.set(1)

    def _use(self, model: Model | None, pipeline: Pipeline, entries: Entries, state: State) -> None:
        self.model, self._pipeline, self.entries, self.state = model, pipeline, entries, state
        self.intake = Intake(state, entries, self.committer)
        self.scorer = None
        if model is not None:
            self.scorer = Scorer(model, state, self.committer, self.clock)
            self.model_fault = None
            self._tell(model)

    def _tell(self, model: Model) -> None:
        self.metrics.model_refused.set(0)
        self.metrics.model.clear()
        release = model.release
        self.metrics.model.labels(release.name, release.version, release.bundle_sha256).set(1)
        self.metrics.model_loaded_at.set(model.loaded_at.timestamp())


def default_pipeline(pseudonyms: Pseudonyms, vault: Vault) -> tuple[Pipeline, Entries]:
    """Give what takes the place of a model's pipeline as long as there is none: keys of history, and no score."""
    config = FeatureConfig()
    pipeline = Pipeline(config, Fitted.nothing(), pseudonyms)
    return pipeline, Entries(vault, config.record_type(), pipeline.kinds)
