"""A state directory as an operator has it: served and restarted, asked by verbs of `npsrisk`, and its log read."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from support.databases import reader_of, state_environment
from support.serving_examples import Client, on_day_20, publish, serving, settings_in
from support.verbs import read_json, run_verb

from serving.event_log.events import Event
from serving.event_log.verification import verify_chain
from serving.process.clock import Clock


def run(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Run a verb on a state directory; gives exit code and output."""
    done = run_verb(*words, **(state_environment(folder) | environment))
    return done.exit_code, done.output


def told(folder: Path, *words: str, code: int = 0, **environment: str) -> dict[str, Any]:
    """Run a verb that must end with a code; gives what it tells as JSON."""
    done = run_verb(*words, "--json", **(state_environment(folder) | environment))
    assert done.exit_code == code, done.output
    return read_json(done)


def entries(folder: Path, *kinds: str) -> list[Event]:
    """Read the entries of a log, whose chain must hold; of some kinds alone if they are given."""
    with reader_of(folder) as log:
        assert verify_chain(log).broken_at is None
        return [event for event in log.read_events() if not kinds or event.kind in kinds]


def list_names(folder: Path) -> list[str | None]:
    return [event.consignment_id for event in entries(folder)]


class Site:
    def __init__(self, folder: Path, bundle: Path) -> None:
        publish(folder, bundle, "1")
        self.folder = folder

    def serve(
        self, clock: Clock = on_day_20, elapsed: Clock | None = None, **options: Any
    ) -> AbstractContextManager[Client]:
        """Run the service; options in capitals are settings, others what its start accepts."""
        changes = {name: value for name, value in options.items() if name.isupper()}
        accepted = {name: value for name, value in options.items() if not name.isupper()}
        return serving(settings_in(self.folder, **changes), clock, elapsed, **accepted)

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        return run(self.folder, *words, **environment)

    def told(self, *words: str, **options: Any) -> dict[str, Any]:
        return told(self.folder, *words, **options)

    def entries(self, *kinds: str) -> list[Event]:
        return entries(self.folder, *kinds)
