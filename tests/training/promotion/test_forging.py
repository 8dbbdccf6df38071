"""Forging an approval, tried in many ways in the registry: each is refused, with a message that says where.

Ways of forging a published release are in `support.bad_releases`.
"""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.approval import APPROVAL
from support.examples import make_consignment
from support.registered_model import register_small_model
from support.serving_examples import make_bundle, settings_in
from support.signing import PAIR, REVIEWER, SECOND, STRANGER, append_signed_record, write_approvers

from consignments.errors import BundleRefused, NpsriskError, PromotionRefused
from consignments.records import Consignment
from consignments.tables import build_frame
from features.config import FeatureConfig
from models.bundle import load_bundle
from models.promotion_record import PromotionRecord
from models.registry import Registry
from models.signatures.key_holders import Approver, Approvers
from models.signatures.record_tags import get_signatures_tag
from models.signatures.signed_record import SignedRecord
from serving.deployment.publisher import publish
from training.gate import report
from training.gate.rules import RuleResult
from training.promotion.evidence import EvidenceOptions, review_version
from training.promotion.promote import Approval, promote

NAME = "nps-risk"
FIRST, LAST = "000001", "000002"
BY_STRANGER = Approval("a stranger", "because", APPROVAL.approved_at, STRANGER, APPROVAL.approvers)
BY_SECOND = Approval("a second reviewer", "I agree", APPROVAL.approved_at, SECOND, PAIR)
BY_FIRST = APPROVAL._replace(approvers=PAIR)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions: 1 promoted, then 2, which is champion; nobody approved 3."""
    folder = tmp_path_factory.mktemp("store")
    registry = register_small_model(folder)
    experiment = registry.client.get_experiment_by_name(NAME)
    assert experiment is not None
    for seed in (2, 3):
        registry.register(
            registry.client.create_run(experiment.experiment_id).info.run_id,
            make_bundle(folder / f"bundle-{seed}", FeatureConfig(), seed=seed),
            example=build_frame([make_consignment("E1")], Consignment),
            description="A model of the tests.",
            tags={"target": "nps"},
        )
    for number in ("1", "2"):
        version = registry.resolve(number)
        append_signed_record(registry, version, version.tags["bundle_sha256"])
    return folder


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Registry:
    """A copy of the store, whose tags and aliases a test may change."""
    shutil.copy(template / "mlflow.db", tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")


def edit_record(registry: Registry, number: str, **changes: Any) -> PromotionRecord:
    key = f"promotion/{number}"
    tags = registry.client.get_registered_model(NAME).tags
    record = msgspec.structs.replace(PromotionRecord.from_json(tags[key]), **changes)
    registry.client.set_registered_model_tag(NAME, key, record.to_json())
    return record


def edit_first_and_mend_chain(registry: Registry) -> None:
    first = edit_record(registry, FIRST, approved_by="The Minister")
    edit_record(registry, LAST, previous_sha256=first.compute_sha256())


def drop_last_record(registry: Registry) -> None:
    registry.client.delete_registered_model_tag(NAME, f"promotion/{LAST}")
    drop_signatures(registry, LAST)


def drop_signatures(registry: Registry, number: str) -> None:
    for key in registry.client.get_registered_model(NAME).tags:
        if key.startswith(f"signatures/{number}"):
            registry.client.delete_registered_model_tag(NAME, key)


def cut_off_last_record(registry: Registry) -> None:
    drop_last_record(registry)
    registry.client.set_registered_model_alias(NAME, "champion", "1")


def copy_signature_of_another_record(registry: Registry) -> None:
    (first, _) = registry.list_signed_records(NAME)
    edited = edit_record(registry, LAST, why="other words")
    registry.write_signatures(SignedRecord(edited, first.signatures))


def sign_by_stranger(registry: Registry) -> None:
    (_, last) = registry.list_signed_records(NAME)
    forged = SignedRecord(msgspec.structs.replace(last.record, why="forged")).sign(STRANGER)
    edit_record(registry, LAST, why="forged")
    registry.write_signatures(forged)


def borrow_key_id(registry: Registry) -> None:
    (_, last) = registry.list_signed_records(NAME)
    (signature,) = SignedRecord(last.record).sign(STRANGER).signatures
    borrowed = msgspec.structs.replace(signature, keyid=REVIEWER.public.key_id)
    registry.write_signatures(SignedRecord(last.record, (borrowed,)))


def append_unsigned_record(registry: Registry) -> None:
    (_, last) = registry.list_signed_records(NAME)
    record = msgspec.structs.replace(
        last.record,
        number=3,
        version="3",
        bundle_sha256=registry.resolve("3").tags["bundle_sha256"],
        previous_sha256=last.record.compute_sha256(),
    )
    registry.append_record(SignedRecord(record))


def approve_another_bundle(registry: Registry) -> None:
    edit_record(registry, LAST, bundle_sha256=registry.resolve("3").tags["bundle_sha256"])


def strip_all_signatures(registry: Registry) -> None:
    for number in (FIRST, LAST):
        drop_signatures(registry, number)


def write_nonsense_signatures(registry: Registry) -> None:
    (_, last) = [each.record for each in registry.list_signed_records(NAME)]
    registry.client.set_registered_model_tag(NAME, f"{get_signatures_tag(last)}0", "{}")


def date_back(registry: Registry) -> None:
    """Let a key that has ended sign a record dated before its end."""
    (first, last) = registry.list_signed_records(NAME)
    forged = SignedRecord(
        msgspec.structs.replace(last.record, approved_at=first.record.approved_at - timedelta(days=1))
    ).sign(REVIEWER)
    edit_record(registry, LAST, approved_at=forged.record.approved_at)
    registry.write_signatures(forged)


FORGERIES: dict[str, tuple[Callable[[Registry], object], str]] = {
    "the approver of the last record": (
        lambda r: edit_record(r, LAST, approved_by="The Minister"),
        "record 2",
    ),
    "the reason of the last record": (lambda r: edit_record(r, LAST, why="it is perfect"), "record 2"),
    "the rules of the last record": (
        lambda r: edit_record(r, LAST, rules={"calibrated": {"held": True}}),
        "record 2",
    ),
    "whether it was forced": (lambda r: edit_record(r, LAST, forced=True), "record 2"),
    "the first record": (lambda r: edit_record(r, FIRST, why="other words"), "record 2"),
    "the first record, with right hashes": (edit_first_and_mend_chain, "record 1"),
    "a dropped record": (drop_last_record, "moved without a promotion record"),
    "the last record cut off, and the alias moved": (cut_off_last_record, "current release is missing"),
    "a dropped signature": (lambda r: drop_signatures(r, LAST), "record 2"),
    "all signatures dropped": (strip_all_signatures, "record 1"),
    "the signature of another record": (copy_signature_of_another_record, "record 2"),
    "the signature of a stranger": (sign_by_stranger, "record 2"),
    "a stranger's signature under an approver's key": (borrow_key_id, "record 2"),
    "an unsigned record at the end": (append_unsigned_record, "record 3"),
    "an alias that was moved": (
        lambda r: r.client.set_registered_model_alias(NAME, "champion", "3"),
        "moved without a promotion record",
    ),
    "an alias that went back": (
        lambda r: r.client.set_registered_model_alias(NAME, "champion", "1"),
        "moved without a promotion record",
    ),
    "a record dated before the one before it": (date_back, "dated before"),
    "another bundle in the record": (approve_another_bundle, "record 2"),
    "signatures that are nonsense": (
        write_nonsense_signatures,
        "cannot be read",
    ),
    "a record that is nonsense": (
        lambda r: r.client.set_registered_model_tag(NAME, f"promotion/{LAST}", "{}"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_registry_publishes_nothing(registry: Registry, tmp_path: Path, forgery: str) -> None:
    forge, words = FORGERIES[forgery]
    settings = settings_in(tmp_path / "state")
    publish(registry, settings.model, settings)
    before = (settings.state_dir / "models" / "current.json").read_bytes()
    forge(registry)
    with pytest.raises(NpsriskError, match=words):
        publish(registry, settings.model, settings)
    assert (settings.state_dir / "models" / "current.json").read_bytes() == before


def test_an_edited_bundle_with_right_sums_is_refused(tmp_path: Path) -> None:
    from support.bad_releases import _approve

    registry = register_small_model(tmp_path)
    version = registry.resolve("1")
    append_signed_record(registry, version, version.tags["bundle_sha256"])
    (bands,) = (tmp_path / "artifacts").rglob("bands.json")
    bands.write_text(json.dumps({"elevated": 0.999, "high": 0.9999}))
    release = tmp_path / "release"
    release.mkdir()
    (release / "bundle").symlink_to(bands.parent)
    (release / "release.json").write_text(json.dumps({"version": "1"}))
    _approve(release)
    changed = load_bundle(bands.parent).sha256
    registry.client.set_model_version_tag(NAME, "1", "bundle_sha256", changed)
    settings = settings_in(tmp_path / "state")
    with pytest.raises(PromotionRefused, match="not the one that was approved"):
        publish(registry, settings.model, settings)


def test_without_signatures_no_former_champion_goes_back(registry: Registry) -> None:
    assert promote(registry, registry.resolve("1"), APPROVAL).record.number == 3
    strip_all_signatures(registry)
    drop_signatures(registry, "000003")
    with pytest.raises(PromotionRefused, match="no approver signed this promotion record"):
        promote(registry, registry.resolve("2"), APPROVAL)


@pytest.mark.parametrize("place", ["", "1"], ids=["removed", "moved"])
def test_an_alias_without_its_record_weakens_no_gate(registry: Registry, place: str) -> None:
    if place:
        registry.client.set_registered_model_alias(NAME, "champion", place)
    else:
        registry.client.delete_registered_model_alias(NAME, "champion")
    for act in (
        lambda: promote(registry, registry.resolve("3"), APPROVAL, force=True),
        lambda: review_version(registry, registry.resolve("3")),
        lambda: registry.find_champion("nps"),
    ):
        with pytest.raises(PromotionRefused, match="moved without a promotion record"):
            act()


def test_the_version_of_the_latest_record_gets_its_alias_back(registry: Registry) -> None:
    registry.client.set_registered_model_alias(NAME, "champion", "3")
    done = promote(registry, registry.resolve("2"), APPROVAL)
    assert (done.record.number, done.record.replaces, done.missing) == (3, "1", 0)
    assert registry.find_champion("nps") == registry.resolve("2")
    champion, previous = (registry.find_version(alias, "nps") for alias in ("champion", "previous"))
    assert champion is not None
    assert previous is not None
    assert (champion.number, previous.number) == ("2", "1")


def test_another_bundle_in_the_place_of_a_former_champion_does_not_go_back(tmp_path: Path) -> None:
    registry = register_small_model(tmp_path, seeds=(1, 1))
    for number in ("1", "2"):
        version = registry.resolve(number)
        append_signed_record(registry, version, version.tags["bundle_sha256"])
    other = make_bundle(tmp_path / "other", FeatureConfig(), seed=2)
    for manifest in [*(tmp_path / "artifacts").rglob("manifest.json")]:
        shutil.copytree(other, manifest.parent, dirs_exist_ok=True)
    registry.client.set_model_version_tag(NAME, "1", "bundle_sha256", load_bundle(other).sha256)
    with pytest.raises(PromotionRefused, match="checksums verified"):
        promote(registry, registry.resolve("previous"), APPROVAL, force=True)


def test_an_exchanged_bundle_scores_nothing_and_is_compared_with_nothing(tmp_path: Path) -> None:
    registry = register_small_model(tmp_path)
    version = registry.resolve("1")
    assert registry.fetch_bundle(version).sha256 == registry.fetch_fits(version).served.sha256
    other = make_bundle(tmp_path / "other", FeatureConfig(), seed=2)
    (manifest,) = (tmp_path / "artifacts").rglob("manifest.json")
    shutil.copytree(other, manifest.parent, dirs_exist_ok=True)
    for fetch in (registry.fetch_bundle, registry.fetch_fits):
        with pytest.raises(BundleRefused, match="version 1: the bundle is not the registered one"):
            fetch(version)


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        (BY_STRANGER, "this key may not approve"),
        (APPROVAL._replace(approved_by="The Minister"), "the key belongs to another person"),
        (APPROVAL._replace(why=" "), "needs a name and a reason"),
        (APPROVAL._replace(approvers=Approvers(())), "this key may not approve"),
    ],
    ids=["a stranger's key", "another person's name", "no reason", "nobody may approve"],
)
def test_who_may_not_approve_is_refused(registry: Registry, approval: Approval, words: str) -> None:
    with pytest.raises(PromotionRefused, match=words):
        promote(registry, registry.resolve("3"), approval, force=True)
    assert len([each.record for each in registry.list_signed_records(NAME)]) == 2


def test_no_version_is_compared_with_a_champion_of_a_forged_file_of_approvers(registry: Registry) -> None:
    """Who can write to MLflow promoted with an own file of approvers, and the gate took that version for the champion."""
    forged = Approvers([*APPROVAL.approvers.members, Approver("a stranger", STRANGER.public.text)])
    promote(registry, registry.resolve("3"), BY_STRANGER._replace(approvers=forged), force=True)
    with pytest.raises(PromotionRefused, match=r"record 3 of nps-risk: .*of which holds"):
        review_version(registry, registry.resolve("2"), EvidenceOptions(APPROVAL.approvers))


def test_a_key_that_has_ended_promotes_nothing(registry: Registry) -> None:
    promote(registry, registry.resolve("3"), BY_SECOND, force=True)
    waiting = registry.read_pending(NAME)
    assert waiting is not None
    members = [Approver("a reviewer", REVIEWER.public.text, APPROVAL.approved_at), PAIR.members[1]]
    for ended in (Approvers(members), Approvers(members, 2)):
        with pytest.raises(PromotionRefused, match="may no longer approve"):
            promote(registry, registry.resolve("3"), APPROVAL._replace(approvers=ended), force=True)
    assert registry.read_pending(NAME) == waiting
    champion = registry.find_version("champion", "nps")
    assert champion is not None
    assert champion.number == "2"


def test_the_champion_cannot_be_promoted_again(registry: Registry) -> None:
    with pytest.raises(PromotionRefused, match="champion already"):
        promote(registry, registry.resolve("champion"), APPROVAL)


def test_a_refused_promotion_replaces_what_somebody_wrote_about_the_version(registry: Registry) -> None:
    """The old report, or a forged PROMOTE, stayed on the page after the gate had decided anew."""
    registry.client.update_model_version(NAME, "3", "**PROMOTE.** everything holds")
    registry.client.set_model_version_tag(NAME, "3", "verdict", "better")
    with pytest.raises(PromotionRefused, match="does not pass the gate"):
        promote(registry, registry.resolve("3"), APPROVAL)
    page = registry.client.get_model_version(NAME, "3")
    assert page.description.startswith("**REFUSE.** ")
    assert page.tags["verdict"] == "refuse"


def test_a_forced_promotion_stays_forced_when_it_goes_back_and_forward(registry: Registry) -> None:
    registry.client.update_model_version(NAME, "3", "PROMOTE: better in every measure")
    assert promote(registry, registry.resolve("3"), APPROVAL, force=True).record.forced
    assert registry.resolve("3").tags["verdict"] == "promoted"
    page = registry.client.get_model_version(NAME, "3").description
    assert "better in every measure" not in page
    assert page.startswith("## Promoted by a reviewer")
    assert not promote(registry, registry.resolve("2"), APPROVAL).record.forced
    again = promote(registry, registry.resolve("3"), APPROVAL).record
    assert again.forced
    page = registry.client.get_model_version(NAME, "3").description
    assert "**Forced, against the gate.**" in page
    assert "Record 3 of 2025-01-01, by a reviewer: **forced, against the gate**." in page


def register_again(registry: Registry, folder: Path, seed: int) -> str:
    """Register the bundle of a seed once more; gives the number of the new version."""
    experiment = registry.client.get_experiment_by_name(NAME)
    assert experiment is not None
    version = registry.register(
        registry.client.create_run(experiment.experiment_id).info.run_id,
        make_bundle(folder / "again", FeatureConfig(), seed=seed),
        example=build_frame([make_consignment("E1")], Consignment),
        description="The same bundle again.",
        tags={"target": "nps"},
    )
    return version.number


@pytest.fixture
def forced(registry: Registry, tmp_path: Path) -> str:
    """Version 3 is forced, and its bundle is registered again; gives the number of the new version."""
    assert promote(registry, registry.resolve("3"), APPROVAL, force=True).record.forced
    return register_again(registry, tmp_path, seed=3)


def test_the_same_bundle_registered_again_does_not_replace_its_forced_champion(
    registry: Registry, forced: str
) -> None:
    again = registry.resolve(forced)
    for act in (
        lambda: promote(registry, again, APPROVAL),
        lambda: promote(registry, again, APPROVAL, force=True),
        lambda: review_version(registry, again),
    ):
        with pytest.raises(PromotionRefused, match="the same bundle as the champion, byte for byte"):
            act()


def test_an_edited_tag_of_the_champion_does_not_hide_that_its_bundle_is_the_same(
    registry: Registry, forced: str
) -> None:
    registry.client.set_model_version_tag(NAME, "3", "bundle_sha256", "0" * 64)
    with pytest.raises(PromotionRefused, match="the same bundle as the champion, byte for byte"):
        promote(registry, registry.resolve(forced), APPROVAL, force=True)


def test_a_forced_bundle_stays_forced_under_another_version(
    registry: Registry, forced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the rules that can be forged hold, as long as one was not checked."""
    assert not promote(registry, registry.resolve("2"), APPROVAL).record.forced
    held, unchecked = RuleResult(True, "", ""), RuleResult(None, "", "")
    monkeypatch.setattr(report, "run_gate", lambda _: {"one": held, "other": unchecked})
    assert promote(registry, registry.resolve(forced), APPROVAL).record.forced


def test_a_forced_bundle_loses_its_mark_when_every_rule_holds(
    registry: Registry, forced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(registry, registry.resolve("2"), APPROVAL)
    monkeypatch.setattr(report, "run_gate", lambda _: {"one": RuleResult(True, "", "")})
    assert not promote(registry, registry.resolve(forced), APPROVAL).record.forced


def test_an_evaluator_may_not_approve(registry: Registry) -> None:
    members = [Approver("a reviewer", REVIEWER.public.text, role="evaluator"), *PAIR.members[1:]]
    with pytest.raises(PromotionRefused, match=r"this key may not approve.*a reviewer, evaluator"):
        promote(registry, registry.resolve("3"), APPROVAL._replace(approvers=Approvers(members)), force=True)


def test_two_persons_must_sign_and_only_the_second_promotes(registry: Registry, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "state")
    write_approvers(settings.state_dir, PAIR)
    first = promote(registry, registry.resolve("3"), BY_FIRST, force=True)
    again = promote(registry, registry.resolve("3"), BY_FIRST, force=True)
    assert [(each.signers, each.missing) for each in (first, again)] == [(["a reviewer"], 1)] * 2
    assert len([each.record for each in registry.list_signed_records(NAME)]) == 2
    with pytest.raises(PromotionRefused, match="does not pass the gate"):
        promote(registry, registry.resolve("3"), BY_SECOND)
    both = promote(registry, registry.resolve("3"), BY_SECOND, force=True)
    assert (both.signers, both.missing) == (["a reviewer", "a second reviewer"], 0)
    assert (both.record.number, both.record.why) == (3, APPROVAL.why)
    assert registry.read_pending(NAME) is None
    assert publish(registry, settings.model, settings)["version"] == "3"


def test_a_waiting_record_that_was_edited_is_not_signed_by_the_second(registry: Registry) -> None:
    promote(registry, registry.resolve("3"), BY_FIRST, force=True)
    pending = registry.read_pending(NAME)
    assert pending is not None
    hidden = msgspec.structs.replace(pending.record, forced=False, rules={})
    registry.write_pending(SignedRecord(hidden).sign(REVIEWER))
    with pytest.raises(PromotionRefused, match="does not say what the gate finds"):
        promote(registry, registry.resolve("3"), BY_SECOND, force=True)
    renamed = msgspec.structs.replace(pending.record, why="other words")
    registry.write_pending(SignedRecord(renamed, pending.signatures))
    done = promote(registry, registry.resolve("3"), BY_SECOND, force=True)
    assert (done.signers, done.missing) == (["a second reviewer"], 1)
    assert done.record.why == "I agree"


def test_a_champion_that_one_signed_is_signed_by_the_second_when_two_must(
    registry: Registry, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path / "state")
    write_approvers(settings.state_dir, PAIR)
    with pytest.raises(PromotionRefused, match="2 of the approvers"):
        publish(registry, settings.model, settings)
    done = promote(registry, registry.resolve("champion"), BY_SECOND)
    assert (done.record.number, done.missing) == (2, 0)
    assert publish(registry, settings.model, settings)["version"] == "2"


def make_next_record(registry: Registry, version: str) -> PromotionRecord:
    last = [each.record for each in registry.list_signed_records(NAME)][-1]
    return msgspec.structs.replace(
        last,
        number=last.number + 1,
        version=version,
        replaces=last.version,
        bundle_sha256=registry.resolve(version).tags["bundle_sha256"],
        previous_sha256=last.compute_sha256(),
    )


def test_two_who_promote_at_once_break_no_chain(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = (make_next_record(registry, version) for version in ("3", "1"))
    write, raced = registry.client.set_registered_model_tag, []

    def write_after_another(name: str, key: str, value: str) -> None:
        write(name, key, value)
        if key == "promotion/000003" and not raced:
            raced.append(key)
            registry.write_signatures(SignedRecord(other).sign(SECOND))
            write(name, key, other.to_json())

    monkeypatch.setattr(registry.client, "set_registered_model_tag", write_after_another)
    with pytest.raises(PromotionRefused, match="another reviewer wrote a promotion record meanwhile"):
        registry.append_record(SignedRecord(mine).sign(REVIEWER))
    with pytest.raises(PromotionRefused, match="another reviewer wrote a promotion record meanwhile"):
        registry.append_record(SignedRecord(mine).sign(REVIEWER))
    assert registry.list_signed_records(NAME)[-1] == SignedRecord(other).sign(SECOND)
    two = Approvers(PAIR.members)
    assert promote(registry, registry.resolve("1"), BY_SECOND._replace(approvers=two)).missing == 0
    settings = settings_in(tmp_path / "state")
    write_approvers(settings.state_dir, two)
    assert publish(registry, settings.model, settings)["version"] == "1"


def test_signatures_given_at_once_are_all_kept(registry: Registry) -> None:
    (_, last) = registry.list_signed_records(NAME)
    for key in (SECOND, STRANGER):
        registry.write_signatures(last.sign(key))
    (_, found) = registry.list_signed_records(NAME)
    expected = {key.public.key_id for key in (REVIEWER, SECOND, STRANGER)}
    assert {each.keyid for each in found.signatures} == expected


def test_a_forced_champion_gets_its_second_signature_only_with_force(registry: Registry) -> None:
    promote(registry, registry.resolve("3"), APPROVAL, force=True)
    with pytest.raises(PromotionRefused, match="was forced, against the gate"):
        promote(registry, registry.resolve("champion"), BY_SECOND)
    done = promote(registry, registry.resolve("champion"), BY_SECOND, force=True)
    assert (done.record.number, done.signers, done.missing) == (3, ["a reviewer", "a second reviewer"], 0)
