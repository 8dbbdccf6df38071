"""A trial scores as the service would, bit for bit, and leaves the state as it was."""

from typing import Any

import numpy as np
from support.examples import day, make_consignment, make_outcome
from support.history_worlds import copy_arrays
from support.serving_examples import Client

from features.history.kernels import SCRATCH_BLOCK
from features.history.table import History
from operation.desk.acting import score_trial

SCRATCH_WORDS = 6


def read_arrays(history: History) -> dict[str, Any]:
    """Read the table without the block in which readings put a series of one day together."""
    arrays = copy_arrays(history)._asdict()
    arrays["days"][SCRATCH_BLOCK : SCRATCH_BLOCK + SCRATCH_WORDS] = 0
    return arrays


def test_a_trial_equals_the_score_that_follows_and_changes_nothing(client: Client) -> None:
    for number in range(5):
        client.post("/v1/scores", make_consignment(f"RB{number}", received_at=day(number)))
    client.post("/v1/outcomes", make_outcome("RB1", result="nps"))
    active = client.service.active
    history = active.state.history
    c = make_consignment("RB9", received_at=day(15), description="research chemical powder")
    before = read_arrays(history)
    tried = [client.portal.call(score_trial, active.get_scorer(), c) for _ in range(2)]
    for name, array in read_arrays(history).items():
        np.testing.assert_array_equal(array, before[name])
    scored = client.post("/v1/scores?reasons=5", c).json()
    assert [each["score"] for each in tried] == [scored["score"]] * 2
    assert tried[0]["band"] == scored["band"]
    assert tried[0]["reasons"] == [each["text"] for each in scored["reasons"]]
    assert client.service.log.last_sequence == 7
