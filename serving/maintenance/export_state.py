"""Export of the log as the kept state of a batch: the history after its last consignment, for `npsrisk score --state`.

It needs the history keys of the entries, and no personal fields. The log is read twice: first events, as for parity, then keys.

sequence 1   RB1 is scored         arrival of RB1, cancelled by sequence 4
sequence 2   RB1's outcome nps     outcome
sequence 3   RB2 is scored         arrival of RB2: the state ends here
sequence 4   RB1 is cancelled      waits in the state
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from consignments.errors import BadInput, ServiceFault
from features.history.kept_state import StateRun
from features.history.pseudonyms import Pseudonyms
from features.history.state_files import StateFolder, StoredState
from serving.event_log.reader import LogReader, Progress
from serving.maintenance.recomputation import LoggedHistory, read_chunks
from serving.state.history_keys import KeyReader


def export_state(
    log: LogReader, keys: KeyReader, pseudonyms: Pseudonyms, folder: Path, progress: Progress
) -> StoredState:
    """Write the state of history after a log to a new folder, as batches over the tables of `export_log` would leave it."""
    states = StateFolder(folder)
    inputs = {
        "verb": "export",
        "log": f"{log.log_id} entry {log.last_sequence} {log.head}",
        "keys": keys.entries.kinds,
        "npsrisk": version("npsrisk"),
    }
    with states.begin(inputs) as draft:
        if draft.before is not None:
            raise BadInput(
                "the folder has another state of history already", where=str(folder), todo="give a new folder"
            )
        if not draft.done:
            run = StateRun(None, keys.pipeline.kinds, pseudonyms, draft)
            _count_log(log, keys, run, progress)
            draft.commit(run.state)
    return StoredState.read(states.list_states()[-1])


def _count_log(log: LogReader, keys: KeyReader, run: StateRun, progress: Progress) -> None:
    """Count all entries of a log in the history of a run."""
    until, done = log.last_sequence, 0
    assert keys.entries.vault is not None
    history = LoggedHistory.read(log, keys.entries.vault, until)
    if history.unread:
        event, reason = history.unread[0]
        raise ServiceFault("an entry cannot be read", where=f"log entry {event.sequence}", got=reason)
    total = len(history.arrivals.received_us)
    if not total:
        raise BadInput("the log has no consignments", where="log", todo="begin the state with a first batch")
    fold = run.start_fold(history.arrivals, history.outcomes)
    nothing = np.zeros((0, len(keys.pipeline.spec)), dtype=np.float32)
    for chunk in read_chunks(log, until):
        mine = np.array([keys(event) for event in chunk], dtype=np.uint64)
        fold.process_arrivals(
            run.history, mine[:, 0].copy(), mine[:, 1].copy(), nothing, np.full(len(chunk), -1)
        )
        done += len(chunk)
        progress("history", done, total)
    run.finish()
