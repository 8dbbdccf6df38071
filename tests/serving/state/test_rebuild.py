"""A small memory, restarts, snapshots at any moment and years change nothing of what the service knows and reads."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from support.databases import database_in
from support.examples import day
from support.serving_examples import publish, serving, settings_in, vault_in
from support.serving_proof import prove_history, prove_nothing_is_twice
from support.serving_world import World
from support.site import Site, told

from consignments.timestamps import to_us
from serving.event_log.log import EventLog
from serving.state.consignment_states import ConsignmentStates


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two consignments in memory, so that the others are read from the log; and every snapshot is kept."""
    assert ConsignmentStates.__init__.__kwdefaults__["recent"] > 2
    monkeypatch.setitem(ConsignmentStates.__init__.__kwdefaults__, "recent", 2)
    monkeypatch.setattr("serving.state.snapshots.KEPT_SNAPSHOTS", 100)


def test_a_batch_a_hand_count_and_each_snapshot_with_the_rest_of_the_log_agree_with_what_was_answered(
    tmp_path: Path, bundle: Path, other_bundle: Path
) -> None:
    world, settings = World(seed=1), settings_in(tmp_path)
    for place, days in enumerate((0, 40, 1, 300, 367, 0, 20)):
        publish(tmp_path, (bundle, other_bundle)[place > 3], str(place))
        world.pass_by(timedelta(days=days))
        with serving(settings, world.clock, accept_clock=True) as client:
            world.live(client, 12)
    assert told(tmp_path, "parity")["equal"]
    with EventLog.open(database_in(tmp_path), vault_in(tmp_path)) as log:
        prove_nothing_is_twice(log)
        assert prove_history(tmp_path, log) == 7


@pytest.mark.parametrize("gap", [366, 367])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_consignment_is_known_for_366_days_after_it_was_met(site: Site, gap: int, restarted: bool) -> None:
    now = [day(0)]
    with ExitStack() as stack:
        client = stack.enter_context(site.serve(lambda: to_us(now[0])))
        client.score("RB1", received_at=day(0))
        now[0] = day(gap)
        client.score("RB2", received_at=day(gap))
        if restarted:
            stack.close()
            client = stack.enter_context(site.serve(lambda: to_us(now[0]), accept_clock=True))
        for repeated in (gap == 366, True):
            assert client.score("RB1", received_at=day(0))["repeated"] is repeated
