"""The service over time: restarts, new models, keys of history that change, a log that cannot be written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.bad_releases import DAMAGES, Damage, alter_trees
from support.databases import copy_state
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, point_to, publish, serving, settings_in

from consignments.errors import ServiceFault
from consignments.records import Alert
from consignments.timestamps import to_us
from serving.event_log.events import Event
from serving.event_log.verification import verify_chain


def live_through_much(client: Client) -> None:
    """Arrivals, an amendment, finds, a correction, a cancellation, an alert."""
    for place in range(8):
        client.score(
            f"RB{place}", "?features=true", received_at=day(place), sender_name=f"Sender {place % 3}"
        )
    client.score("RB3", "?features=true", description="shoes")
    outcomes = [make_outcome("RB1", result="nps"), make_outcome("RB2"), make_outcome("RB9", result="nps")]
    client.post("/v1/outcomes", {"outcomes": outcomes})
    client.post("/v1/outcomes", make_outcome("RB2", result="controlled_drug", known_at=day(11)))
    client.post("/v1/cancellations", {"consignment_id": "RB4"})
    client.post("/v1/alerts", Alert("A1", day(0), sender_name="Sender 1"))


def test_a_restart_changes_no_reading(tmp_path: Path, bundle: Path) -> None:
    probes = [{"sender_name": f"Sender {place}", "received_at": day(15)} for place in range(3)]
    told = []
    for name, restart in (("through", False), ("restarted", True)):
        publish(tmp_path / name, bundle, "1")
        settings = settings_in(tmp_path / name)
        with serving(settings) as client:
            live_through_much(client)
            if not restart:
                told.append([client.compute_features(f"P{n}", **probe) for n, probe in enumerate(probes)])
        if restart:
            with serving(settings) as client:
                told.append([client.compute_features(f"P{n}", **probe) for n, probe in enumerate(probes)])
    assert told[0] == told[1]
    assert [features["history.sender.arrivals_30d"] for features in told[0]] == [2, 2, 2]
    assert [features["history.sender.nps_ever"] for features in told[0]] == [0, 1, 0]
    assert [features["alerts.matching"] for features in told[0]] == [0, 1, 0]


def test_a_result_that_was_known_long_ago_counts_from_the_day_the_service_was_told(client: Client) -> None:
    client.score("RB1", "?features=true")
    assert client.post("/v1/outcomes", make_outcome("RB1", result="nps", known_at=day(2))).status_code == 200
    read = client.compute_features("RB2", received_at=day(20))
    assert read["history.sender.days_since_find"] == 0
    assert read["history.sender.nps_ever"] == 1


def test_what_is_sent_again_days_later_changes_nothing(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    now = [day(12)]
    with serving(settings_in(tmp_path), lambda: to_us(now[0])) as client:
        sent: list[tuple[str, Any]] = [
            ("/v1/scores", make_consignment("RB1")),
            ("/v1/outcomes", make_outcome("RB1", result="nps")),
            ("/v1/alerts", Alert("A1", day(0), hs_code="2939")),
            ("/v1/scores", make_consignment("RB2")),
            ("/v1/cancellations", {"consignment_id": "RB2"}),
        ]
        first = [client.post(*call).json() for call in sent]
        now[0] = day(18)
        again = [client.post(*call).json() for call in sent]
        first[3]["cancelled"] = True  # by the last call
        assert again == [{**each, "repeated": True} for each in first]
        assert verify_chain(client.service.log).entries == len(sent)
        read = client.compute_features("RB3", received_at=day(18))
        assert read["history.sender.arrivals_ever"] == 1
        assert read["history.sender.nps_ever"] == 1
        assert read["history.sender.days_since_find"] == 6


def test_after_a_restart_what_was_answered_is_answered_again(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        first = client.score("RB1", "?reasons=4&features=true", description="research chemical powder")
        client.post("/v1/outcomes", make_outcome("RB1"))
        client.post("/v1/alerts", Alert("A1", day(0), hs_code="2939"))
        client.post("/v1/cancellations", {"consignment_id": "RB1"})
    with serving(settings) as client:
        again = client.score("RB1", "?reasons=4&features=true", description="research chemical powder")
        assert again == first | {"repeated": True, "cancelled": True}
        for path, body in (
            ("/v1/outcomes", make_outcome("RB1")),
            ("/v1/alerts", Alert("A1", day(0), hs_code="2939")),
            ("/v1/cancellations", {"consignment_id": "RB1"}),
        ):
            receipt = client.post(path, body).json()
            assert (receipt["repeated"], receipt["recorded_at"]) == (True, "2024-03-24T09:00:00Z")
        assert verify_chain(client.service.log).entries == 4


def test_a_new_model_scores_as_soon_as_it_is_published(client: Client, tmp_path: Path, bundle: Path) -> None:
    first = client.score("RB1", "?features=true")
    publish(tmp_path, bundle, "2")
    client.look()
    assert client.get("/v1/model").json()["version"] == "2"
    assert client.score("RB2", "?features=true")["model"] == {"name": "nps-risk", "version": "2"}
    again = client.score("RB1", "")
    assert again | {"features": first["features"]} == first | {"repeated": True}


def test_a_model_with_further_keys_of_history_sees_the_past_in_them(
    client: Client, tmp_path: Path, other_bundle: Path
) -> None:
    live_through_much(client)
    client.score("RB20", "?features=true", received_at=day(8))
    publish(tmp_path, other_bundle, "2")
    client.look()
    features = client.compute_features("RB21", received_at=day(9))
    assert features["history.office+carrier.arrivals_30d"] == 8
    assert features["history.sender.arrivals_30d"] == 2
    with serving_again(client, tmp_path) as again:
        assert again.compute_features("RB22", received_at=day(9))["history.office+carrier.arrivals_30d"] == 9


def serving_again(client: Client, tmp_path: Path) -> Any:
    """Start a second service on a copy of the first one's directory, as after a restart."""
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    client.portal.call(client.service.committer.drain)
    copy_state(tmp_path, copy)
    return serving(settings_in(copy))


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.items())
def test_a_bad_model_is_refused_and_the_old_one_stays(
    client: Client, tmp_path: Path, bundle: Path, damage: Damage, reason: str
) -> None:
    good = next(path for path in (tmp_path / "models").iterdir() if path.is_dir())
    damage(publish(tmp_path, bundle, "2"))
    client.look()
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["model"]["version"]) == (200, "1")
    (warning,) = ready.json()["warnings"]
    assert reason in warning
    assert "npsrisk_model_refused 1.0" in client.get("/metrics").text
    assert client.score("RB1", "?features=true")["model"]["version"] == "1"
    point_to(tmp_path, good)
    client.look()
    assert client.get("/health/ready").json()["warnings"] == []
    assert "npsrisk_model_refused 0.0" in client.get("/metrics").text


def test_a_broken_file_of_approvers_is_told_and_read_again_when_it_is_corrected(
    client: Client, tmp_path: Path, bundle: Path
) -> None:
    approvers = tmp_path / "approvers.toml"
    good = approvers.read_bytes()
    approvers.write_text("nonsense")
    publish(tmp_path, bundle, "2")
    client.look()
    ready = client.get("/health/ready").json()
    assert ready["model"]["version"] == "1"
    assert "the file of approvers cannot be read" in ready["warnings"][0]
    approvers.write_bytes(good)
    client.look()
    ready = client.get("/health/ready").json()
    assert (ready["model"]["version"], ready["warnings"]) == ("2", [])


def test_a_check_that_fails_keeps_no_other_from_running(client: Client, tmp_path: Path, bundle: Path) -> None:
    def refuse() -> bool:
        raise PermissionError(13, "Permission denied", "partners.toml")

    def fail() -> bool:
        raise ValueError("as a check might")

    client.service.watch("another", fail)
    client.service.watch("partners", refuse)
    publish(tmp_path, bundle, "2")
    with pytest.raises(ExceptionGroup, match="checks of the service failed"):
        client.look()
    ready = client.get("/health/ready").json()
    assert ready["model"]["version"] == "2"
    assert "partners: the changed file is refused" in ready["warnings"][0]


def test_a_history_that_is_nearly_empty_is_a_warning_until_consignments_fill_it(client: Client) -> None:
    client.service.active.model.daily_arrivals = 10.0
    (warning,) = client.get("/health/ready").json()["warnings"]
    assert "history is nearly empty (0 keys; the model has learnt from 10 consignments a day)" in warning
    client.score("RB1", "?features=true")
    assert client.get("/health/ready").json()["warnings"] == []


@pytest.mark.parametrize("content", ['{"folder": "../elsewhere"}', '{"folder": ', "[]"])
def test_a_release_that_leads_elsewhere_is_refused(client: Client, tmp_path: Path, content: str) -> None:
    (tmp_path / "models" / "current.json").write_text(content)
    client.look()
    assert "not a release that can be served" in client.get("/health/ready").json()["warnings"][0]
    assert client.score("RB1", "?features=true")["model"]["version"] == "1"


def test_a_service_that_starts_with_a_bad_model_waits_for_a_good_one(tmp_path: Path, bundle: Path) -> None:
    alter_trees(publish(tmp_path, bundle, "1"))
    with serving(settings_in(tmp_path, NPSRISK_WITHOUT_MODEL="refuse")) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.post("/v1/outcomes", make_outcome("RB1", result="nps")).status_code == 200
        publish(tmp_path, bundle, "2")
        client.look()
        assert client.get("/health/ready").status_code == 200
        client.score("RB1", "?features=true")
        assert client.compute_features("RB2")["history.sender.nps_ever"] == 1


def test_while_the_log_cannot_be_written_nothing_is_answered_and_then_it_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.score("RB1", "?features=true")
    with monkeypatch.context() as broken:

        def fail(events: Sequence[Event]) -> None:
            raise ServiceFault("the event log cannot be written", got="disk full")

        def stay_broken() -> None:
            raise ServiceFault("the event log cannot be used", got="disk full")

        broken.setattr(client.service.log, "append", fail)
        broken.setattr(client.service.log, "reread", stay_broken)
        refused = client.post("/v1/scores", make_consignment("RB2"))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        client.look()
        for body in (make_consignment("RB1"), make_consignment("RB3")):
            assert client.post("/v1/scores", body).status_code == 503
        assert client.post("/v1/outcomes", make_outcome("RB1")).status_code == 503
        assert client.get("/health/ready").status_code == 503
        assert "npsrisk_log_usable 0.0" in client.get("/metrics").text
    client.look()
    assert client.get("/health/ready").status_code == 200
    assert client.score("RB1", "?features=true") == first | {"repeated": True}
    assert client.compute_features("RB4")["history.sender.arrivals_7d"] == 1
    assert [event.consignment_id for event in client.service.log.read_events()] == ["RB1", "RB4"]
