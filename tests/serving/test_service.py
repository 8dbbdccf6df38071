"""The service over time: restarts, new models, keys of history that change, a log that cannot be written."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bad_releases import DAMAGES, Damage, alter_trees
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, place, point_to, publish, refused, serving, settings_in
from support.site import Site

from consignments.errors import BundleRefused
from consignments.records import Alert
from consignments.timestamps import to_us
from serving.deployment.releases import find_release_folder


def test_what_is_sent_again_days_later_also_after_a_restart_changes_nothing(site: Site) -> None:
    now = [day(12)]
    alert = Alert("A1", day(0), hs_code="2939")
    c = make_consignment("RB1", description="research chemical powder")
    sent: list[tuple[str, Any]] = [
        ("/v1/scores?reasons=4&features=true", c),
        ("/v1/outcomes", make_outcome("RB1", result="nps", known_at=day(2))),
        ("/v1/alerts", alert),
        ("/v1/scores", make_consignment("RB2")),
        ("/v1/cancellations", {"consignment_id": "RB2"}),
    ]
    with site.serve(lambda: to_us(now[0])) as client:
        first = [client.send(*call) for call in sent]
        first[3]["cancelled"] = True  # by the last call
        now[0] = day(18)
        assert [client.send(*call) for call in sent] == [{**each, "repeated": True} for each in first]
    with site.serve(lambda: to_us(now[0])) as client:
        assert [client.send(*call) for call in sent] == [{**each, "repeated": True} for each in first]
        assert len(site.entries()) == len(sent)
        read = client.compute_features("RB3", received_at=day(18))
        assert read["history.sender.arrivals_ever"] == 1
        assert read["history.sender.nps_ever"] == 1
        assert read["history.sender.days_since_find"] == 6, "it counts from the day the service was told"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[tuple[Client, Path, Path]]:
    """One service for all bad models, its folder, and the release that it serves."""
    site = Site(tmp_path_factory.mktemp("shared"), bundle)
    good = next(path for path in (site.folder / "models").iterdir() if path.is_dir())
    with site.serve() as client:
        yield client, site.folder, good


POINTERS = ('{"folder": "../elsewhere"}', '{"folder": ', "[]")


def test_a_pointer_that_cannot_be_read_is_not_blamed_on_the_release(tmp_path: Path) -> None:
    (tmp_path / "models" / "current.json").mkdir(parents=True)
    with pytest.raises(BundleRefused, match=r"cannot be read.*Is a directory") as told:
        find_release_folder(tmp_path)
    assert told.value.todo == ""


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [*DAMAGES.items(), *((pointer, "not a release that can be served") for pointer in POINTERS)],
    ids=[*(each.__name__ for each in DAMAGES), *(f"a pointer with {pointer}" for pointer in POINTERS)],
)
def test_a_bad_model_is_refused_and_the_old_one_stays(
    shared: tuple[Client, Path, Path], bundle: Path, spoil: Damage | str, reason: str
) -> None:
    client, folder, good = shared
    if isinstance(spoil, str):
        (folder / "models" / "current.json").write_text(spoil)
    else:
        for release in (folder / "models").glob("nps-risk-2-*"):
            shutil.rmtree(release)
        release = place(folder, bundle, "2")
        spoil(release)  # before the service, which looks each second, could load it
        point_to(folder, release)
    client.look()
    ready = client.read("/health/ready")
    assert ready["model"]["version"] == "1"
    (warning,) = ready["warnings"]
    assert reason in warning
    assert "npsrisk_model_refused 1.0" in client.get("/metrics").text
    assert client.score("RB1")["model"]["version"] == "1"
    point_to(folder, good)
    client.look()
    assert client.read("/health/ready")["warnings"] == []
    assert "npsrisk_model_refused 0.0" in client.get("/metrics").text


def test_a_bad_file_of_approvers_is_told_and_read_again(client: Client, tmp_path: Path, bundle: Path) -> None:
    approvers = tmp_path / "approvers.toml"
    good = approvers.read_bytes()
    approvers.write_text("nonsense")
    publish(tmp_path, bundle, "2")
    for version, warning in (("1", "the file of approvers cannot be read"), ("2", "")):
        client.look()
        ready = client.read("/health/ready")
        assert (ready["model"]["version"], len(ready["warnings"])) == (version, bool(warning))
        assert warning in str(ready["warnings"])
        approvers.write_bytes(good)


@pytest.mark.parametrize(("name", "told"), [("approvers.toml", False), ("models/*/bundle/trees.txt", True)])
def test_a_refused_model_is_tried_again_with_approvers_or_a_reload(site: Site, name: str, told: bool) -> None:
    settings = settings_in(site.folder)
    (path,) = site.folder.glob(name)
    path.rename(site.folder / "aside")
    with serving(settings) as client:
        assert client.read("/health/ready")["degraded"]
        (site.folder / "aside").rename(path)
        if told:
            client.portal.call(client.service.reload)
        client.look()
        assert not client.read("/health/ready")["degraded"]


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


def test_by_setting_a_service_without_a_model_waits_for_one(site: Site, bundle: Path) -> None:
    alter_trees(next(path for path in (site.folder / "models").iterdir() if path.is_dir()))
    with site.serve(NPSRISK_WITHOUT_MODEL="refuse") as client:
        assert "npsrisk publish" in refused(client, "RB1")
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["ready"], ready.json()["degraded"]) == (503, False, False)
        assert client.get("/health/live").status_code == 200
        client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
        publish(site.folder, bundle, "2")
        client.look()
        assert client.get("/health/ready").status_code == 200
        client.score("RB1")
        assert client.compute_features("RB2")["history.sender.nps_ever"] == 1
