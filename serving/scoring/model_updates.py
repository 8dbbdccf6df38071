"""Loading and replacement of the active model: from the folder that the publisher names, with a matching state."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import msgpack

from consignments.errors import BadSetting, BundleRefused, NpsriskError, ServiceFault
from serving.deployment.releases import find_release_folder
from serving.event_log.reader import LogReader
from serving.event_log.verification import StartCheck
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.threads import BackgroundThreads
from serving.process.watched_files import list_stamps
from serving.scoring.active_model import ActiveModel
from serving.scoring.loaded_model import LoadedModel, load_published
from serving.state.links import StateLimits
from serving.state.rebuild import StateRebuild
from serving.state.snapshots import Snapshots, build_empty_state, rebuild_state
from serving.state.state import State
from serving.telemetry.metrics import Metrics

MAX_BLOCKING_ENTRIES = 1_000
"""Maximum number of entries applied while requests wait; more are applied in the background before."""


def read_releases(log: LogReader, name: str) -> dict[int, str]:
    """Read from a log which versions of a model have decided, by the numbers of their promotion records."""
    entries = log.read_events(kinds=("release",))
    begun = (msgpack.decode(each.plain, type=tuple[str, str, int]) for each in entries)
    return {number: version for each, version, number in begun if each == name}


class ModelUpdates:
    """The loader of published models, with the state that follows from the log."""

    def __init__(
        self, settings: Settings, active: ActiveModel, snapshots: Snapshots, metrics: Metrics
    ) -> None:
        self._settings, self._active, self._snapshots, self._metrics = settings, active, snapshots, metrics
        self._log, self._committer = active.log, active.committer
        self._limits = StateLimits(settings.max_history_keys, settings.link_days, settings.max_links)
        self._seen: Path | None = None
        self._named = settings.approvers_file, settings.state_dir / "models" / "current.json"
        self._stamps = list_stamps(self._named)

    def build_first(self) -> tuple[LoadedModel, State]:
        """Load the published model, or the rules if none can be used, and rebuild its state."""
        return self._rebuild_checked(self._load_first)

    def build_empty(self) -> tuple[LoadedModel, State]:
        """Load the model as `build_first` does, with an empty state, for a service that waits."""
        model = self._load_first()
        return model, build_empty_state(self._log, model.keys, self._limits)

    def build_again(self) -> tuple[LoadedModel, State]:
        """Rebuild the state of the active model from a log that was away, and check its hash chain."""
        return self._rebuild_checked(lambda: self._active.model)

    def rebuild(self, model: LoadedModel) -> State:
        """Rebuild the state for a model, from the newest valid snapshot and the log after it."""
        return rebuild_state(self._log, model.keys, self._snapshots, self._limits)

    def _rebuild_checked(self, get_model: Callable[[], LoadedModel]) -> tuple[LoadedModel, State]:
        """Get a model and rebuild its state, while the hash chain of the entries that this reads is checked."""
        after = self._snapshots.find_newest_sequence()
        with StartCheck(self._log, self._settings.database_url, after) as check:
            model = get_model()
            state = self.rebuild(model)
            check.finish(self._snapshots.last)
        return model, state

    def _load_first(self) -> LoadedModel:
        """Load the published model, or the rules if it is refused."""
        try:
            self._seen = find_release_folder(self._settings.state_dir)
            return self._load(self._seen)
        except BundleRefused as error:
            self._refuse(error)
            return self._load(None)

    def retry(self) -> None:
        """Forget a refused model, so that it is tried again."""
        if self._active.fault is not None:
            self._seen = None

    async def follow(self, background: BackgroundThreads) -> None:
        """Load a newly published model; a refused one is tried again when a file that it depends on changes."""
        folder, stamps = None, list_stamps(self._named)
        try:
            folder = find_release_folder(self._settings.state_dir)
            unchanged = self._active.fault is None or stamps == self._stamps
            if folder is None or (folder == self._seen and unchanged):
                return
            model = await background.run(self._load, folder)
            await self._switch_model(model, background)
        except (BadSetting, BundleRefused, ServiceFault) as error:
            self._refuse(error)
            self._seen, self._stamps = None if isinstance(error, BadSetting) else folder, stamps
            return
        self._seen = folder
        logger.info("model loaded", model=model.name, bundle=model.sha256[:12])

    async def _switch_model(self, model: LoadedModel, background: BackgroundThreads) -> None:
        """Activate a model; rebuild the state only if the model has other history keys."""
        active, log, committer = self._active, self._log, self._committer
        if model.entries.kinds == active.entries.kinds:
            active.switch_to(model, active.state)
            self.record_release()
            return
        state = await background.run(self.rebuild, model)
        rebuild = StateRebuild(state)
        while committer.durable_sequence - state.sequence > MAX_BLOCKING_ENTRIES:
            await background.run(rebuild.catch_up, log, committer.durable_sequence)
        # Nothing awaits from here on, so no request runs in between. Entries not yet on disk are taken from memory.
        durable = committer.durable_sequence
        state.dossiers.durable = lambda: durable
        rebuild.apply_events(log.read_events(after=state.sequence, until=durable))
        rebuild.apply_events(event for event in committer.list_pending() if event.sequence > state.sequence)
        active.switch_to(model, state)
        self.record_release()

    def record_release(self) -> None:
        """Record in the log that the release in use was approved later than all that have decided, or that it is an older one.

        The log is what remains if somebody who can write the state directory takes a newer release out of it. The first record needs no
        entry, because no release is older.
        """
        model = self._active.model
        if model.release is None or model.release.record is None:
            return
        record = model.release.record
        with suppress(ServiceFault):
            self._committer.check()
            versions = read_releases(self._log, record.name)
            newest = max(versions, default=1)
            if record.number > newest:
                self._active.record_maintenance("release", (record.name, record.version, record.number))
            if record.number < newest:
                model.newer = versions[newest]
                self._active.record_maintenance("downgrade", (model.name, f"{record.name}/{model.newer}"))
                logger.warning("an older release is in use", model=model.name, newer=model.newer)

    def _load(self, folder: Path | None) -> LoadedModel:
        return load_published(folder, self._settings, self._log.vault)

    def _refuse(self, error: NpsriskError) -> None:
        if str(error) != self._active.fault:
            logger.error("model refused", error=str(error))
        self._active.fault = str(error)
        self._metrics.gauges["model_refused"].set(1)
