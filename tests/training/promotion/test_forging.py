"""Forging an approval, tried in many ways in the registry: each is refused, with a message that says where.

Ways of forging a published release are in `support.bad_releases`.
"""

import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.approval import APPROVAL
from support.registered_model import register_bundle, register_small_model
from support.serving_examples import make_bundle, settings_in
from support.signing import PAIR, REVIEWER, SECOND, STRANGER, append_signed_record, write_approvers

from consignments.errors import BundleRefused, NpsriskError, PromotionRefused
from features.config import FeatureConfig
from models.bundle import load_bundle
from models.promotion_record import PromotionRecord
from models.registry import Registry
from models.signatures.key_holders import Approver, Approvers
from models.signatures.record_tags import get_signatures_tag
from models.signatures.signed_record import SignedRecord
from serving.deployment.publisher import publish
from serving.process.settings import Settings
from training.gate import report
from training.gate.rules import RuleResult
from training.promotion import promote as promoting
from training.promotion.evidence import EvidenceOptions, review_version
from training.promotion.promote import Approval, Promotion

NAME = "nps-risk"
FIRST, LAST = "000001", "000002"
BY_STRANGER = Approval("a stranger", "because", APPROVAL.approved_at, STRANGER, APPROVAL.approvers)
BY_SECOND = Approval("a second reviewer", "I agree", APPROVAL.approved_at, SECOND, PAIR)
BY_FIRST = APPROVAL._replace(approvers=PAIR)
Forge = Callable[[Registry], object]


@pytest.fixture(scope="module")
def released(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service to which the champion was published."""
    folder = tmp_path_factory.mktemp("released") / "state"
    settings = settings_in(folder)
    publish(Registry(f"sqlite:///{template / 'mlflow.db'}"), settings.model, settings)
    return folder


@pytest.fixture
def settings(released: Path, tmp_path: Path) -> Settings:
    """A copy of the folder to which the champion was published."""
    return settings_in(Path(shutil.copytree(released, tmp_path / "state")))


def promote(
    registry: Registry, version: str, approval: Approval = APPROVAL, *, force: bool = False
) -> Promotion:
    return promoting.promote(registry, registry.resolve(version), approval, force=force)


def list_records(registry: Registry) -> list[PromotionRecord]:
    return [each.record for each in registry.list_signed_records(NAME)]


def edit_record(registry: Registry, number: str, **changes: Any) -> PromotionRecord:
    key = f"promotion/{number}"
    tags = registry.client.get_registered_model(NAME).tags
    record = msgspec.structs.replace(PromotionRecord.from_json(tags[key]), **changes)
    registry.client.set_registered_model_tag(NAME, key, record.to_json())
    return record


def edit(number: str, **changes: Any) -> Forge:
    return lambda registry: edit_record(registry, number, **changes)


def move_alias(version: str) -> Forge:
    return lambda registry: registry.client.set_registered_model_alias(NAME, "champion", version)


def write_tag(key: str, text: str) -> Forge:
    return lambda registry: registry.client.set_registered_model_tag(NAME, key, text)


def drop_tags(*beginnings: str) -> Forge:
    def drop(registry: Registry) -> None:
        for key in registry.client.get_registered_model(NAME).tags:
            if key.startswith(beginnings):
                registry.client.delete_registered_model_tag(NAME, key)

    return drop


def edit_first_and_mend_chain(registry: Registry) -> None:
    first = edit_record(registry, FIRST, approved_by="The Minister")
    edit_record(registry, LAST, previous_sha256=first.compute_sha256())


def cut_off_last_record(registry: Registry) -> None:
    drop_tags(f"promotion/{LAST}", f"signatures/{LAST}")(registry)
    move_alias("1")(registry)


def copy_signature_of_another_record(registry: Registry) -> None:
    (first, _) = registry.list_signed_records(NAME)
    edited = edit_record(registry, LAST, why="other words")
    registry.write_signatures(SignedRecord(edited, first.signatures))


def sign_by_stranger(registry: Registry) -> None:
    forged = SignedRecord(edit_record(registry, LAST, why="forged")).sign(STRANGER)
    registry.write_signatures(forged)


def borrow_key_id(registry: Registry) -> None:
    (_, last) = list_records(registry)
    (signature,) = SignedRecord(last).sign(STRANGER).signatures
    borrowed = msgspec.structs.replace(signature, keyid=REVIEWER.public.key_id)
    registry.write_signatures(SignedRecord(last, (borrowed,)))


def write_nonsense_signatures(registry: Registry) -> None:
    (_, last) = list_records(registry)
    write_tag(f"{get_signatures_tag(last)}0", "{}")(registry)


def date_back(registry: Registry) -> None:
    """Let a key that has ended sign a record dated before its end."""
    first = list_records(registry)[0]
    dated = edit_record(registry, LAST, approved_at=first.approved_at - timedelta(days=1))
    registry.write_signatures(SignedRecord(dated).sign(REVIEWER))


def make_next_record(registry: Registry, version: str) -> PromotionRecord:
    last = list_records(registry)[-1]
    follows = {"number": last.number + 1, "replaces": last.version, "previous_sha256": last.compute_sha256()}
    bundle_sha256 = registry.resolve(version).tags["bundle_sha256"]
    return msgspec.structs.replace(last, version=version, bundle_sha256=bundle_sha256, **follows)


def append_unsigned_record(registry: Registry) -> None:
    registry.append_record(SignedRecord(make_next_record(registry, "3")))


def approve_another_bundle(registry: Registry) -> None:
    edit_record(registry, LAST, bundle_sha256=registry.resolve("3").tags["bundle_sha256"])


FORGERIES: dict[str, tuple[Forge, str]] = {
    "whether the last record was forced": (edit(LAST, forced=True), "record 2"),
    "the first record": (edit(FIRST, why="other words"), "record 2"),
    "the first record, with right hashes": (edit_first_and_mend_chain, "record 1"),
    "a dropped first record": (drop_tags(f"promotion/{FIRST}"), "record 1 of"),
    "a dropped last record": (drop_tags(f"promotion/{LAST}"), "moved without a promotion record"),
    "the last record cut off, and the alias moved": (cut_off_last_record, "current release is missing"),
    "a dropped signature": (drop_tags(f"signatures/{LAST}"), "record 2"),
    "the signature of another record": (copy_signature_of_another_record, "record 2"),
    "the signature of a stranger": (sign_by_stranger, "record 2"),
    "a stranger's signature under an approver's key": (borrow_key_id, "record 2"),
    "an unsigned record at the end": (append_unsigned_record, "record 3"),
    "an alias that went back": (move_alias("1"), "moved without a promotion record"),
    "a record dated before the one before it": (date_back, "dated before the record that it follows"),
    "another bundle in the record": (approve_another_bundle, "record 2"),
    "signatures that are nonsense": (write_nonsense_signatures, "cannot be read"),
    "a record that is nonsense": (write_tag(f"promotion/{LAST}", "{}"), "cannot be read"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_registry_publishes_nothing(registry: Registry, settings: Settings, forgery: str) -> None:
    forge, words = FORGERIES[forgery]
    before = (settings.state_dir / "models" / "current.json").read_bytes()
    forge(registry)
    with pytest.raises(NpsriskError, match=words):
        publish(registry, settings.model, settings)
    assert (settings.state_dir / "models" / "current.json").read_bytes() == before


def exchange_bundles(folder: Path) -> str:
    """Put another bundle in the place of each that is registered in a folder; gives its hash."""
    other = make_bundle(folder / "other", FeatureConfig(), seed=2)
    for manifest in [*(folder / "artifacts").rglob("manifest.json")]:
        shutil.copytree(other, manifest.parent, dirs_exist_ok=True)
    return load_bundle(other).sha256


def test_an_exchanged_bundle_with_right_sums_is_neither_read_nor_published_and_does_not_go_back(
    tmp_path: Path,
) -> None:
    registry = register_small_model(tmp_path, seeds=(1, 1))
    for version in map(registry.resolve, "12"):
        append_signed_record(registry, version, version.tags["bundle_sha256"])
    version = registry.resolve("1")
    assert registry.fetch_bundle(version).sha256 == registry.fetch_fits(version).served.sha256
    exchanged = exchange_bundles(tmp_path)
    for fetch in (registry.fetch_bundle, registry.fetch_fits):
        with pytest.raises(BundleRefused, match="version 1: the bundle is not the registered one"):
            fetch(version)
    for number in "12":
        registry.client.set_model_version_tag(NAME, number, "bundle_sha256", exchanged)
    settings = settings_in(tmp_path / "state")
    with pytest.raises(PromotionRefused, match="not the one that was approved"):
        publish(registry, settings.model, settings)
    with pytest.raises(PromotionRefused, match="checksums verified"):
        promote(registry, "previous", force=True)


def test_without_signatures_no_former_champion_goes_back(registry: Registry) -> None:
    assert promote(registry, "1").record.number == 3
    drop_tags("signatures/")(registry)
    with pytest.raises(PromotionRefused, match="no approver signed this promotion record"):
        promote(registry, "2")


@pytest.mark.parametrize("place", ["", "1"], ids=["removed", "moved"])
def test_an_alias_without_its_record_weakens_no_gate(registry: Registry, place: str) -> None:
    if place:
        move_alias(place)(registry)
    else:
        registry.client.delete_registered_model_alias(NAME, "champion")
    for act in (
        lambda: promote(registry, "3", force=True),
        lambda: review_version(registry, registry.resolve("3")),
        lambda: registry.find_champion("nps"),
    ):
        with pytest.raises(PromotionRefused, match="moved without a promotion record"):
            act()


def test_the_version_of_the_latest_record_gets_its_alias_back(registry: Registry) -> None:
    move_alias("3")(registry)
    done = promote(registry, "2")
    assert (done.record.number, done.record.replaces, done.missing) == (3, "1", 0)
    assert registry.find_champion("nps") == registry.resolve("2") == registry.find_version("champion", "nps")
    assert registry.find_version("previous", "nps") == registry.resolve("1")


EVALUATOR = Approver("a reviewer", REVIEWER.public.text, role="evaluator")
ONLY_EVALUATOR = Approvers([EVALUATOR, *PAIR.members[1:]])


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        (BY_STRANGER, "this key may not approve"),
        (APPROVAL._replace(approved_by="The Minister"), "the key belongs to another person"),
        (APPROVAL._replace(why=" "), "needs a name and a reason"),
        (APPROVAL._replace(approvers=Approvers(())), "this key may not approve"),
        (APPROVAL._replace(approvers=ONLY_EVALUATOR), r"this key may not approve.*a reviewer, evaluator"),
    ],
    ids=["a stranger's key", "another person's name", "no reason", "nobody may approve", "an evaluator"],
)
def test_who_may_not_approve_is_refused(registry: Registry, approval: Approval, words: str) -> None:
    with pytest.raises(PromotionRefused, match=words):
        promote(registry, "3", approval, force=True)
    assert len(list_records(registry)) == 2


def test_no_version_is_compared_with_a_champion_of_a_forged_file_of_approvers(registry: Registry) -> None:
    """Who can write to MLflow promoted with an own file of approvers, and the gate took that version for the champion."""
    forged = Approvers([*APPROVAL.approvers.members, Approver("a stranger", STRANGER.public.text)])
    promote(registry, "3", BY_STRANGER._replace(approvers=forged), force=True)
    with pytest.raises(PromotionRefused, match=r"record 3 of nps-risk: .*of which holds"):
        review_version(registry, registry.resolve("2"), EvidenceOptions(APPROVAL.approvers))


def test_a_key_that_has_ended_promotes_nothing(registry: Registry) -> None:
    promote(registry, "3", BY_SECOND, force=True)
    waiting = registry.read_pending(NAME)
    members = [Approver("a reviewer", REVIEWER.public.text, APPROVAL.approved_at), PAIR.members[1]]
    for ended in (Approvers(members), Approvers(members, 2)):
        with pytest.raises(PromotionRefused, match="may no longer approve"):
            promote(registry, "3", APPROVAL._replace(approvers=ended), force=True)
    assert registry.read_pending(NAME) == waiting
    assert registry.find_version("champion", "nps") == registry.resolve("2")


def test_a_refused_promotion_replaces_what_somebody_wrote_about_the_version(registry: Registry) -> None:
    registry.client.update_model_version(NAME, "3", "**PROMOTE.** everything holds")
    registry.client.set_model_version_tag(NAME, "3", "verdict", "better")
    with pytest.raises(PromotionRefused, match="does not pass the gate"):
        promote(registry, "3")
    page = registry.client.get_model_version(NAME, "3")
    assert page.description.startswith("**REFUSE.** ")
    assert page.tags["verdict"] == "refuse"


def test_a_forced_promotion_stays_forced_when_it_goes_back_and_forward(registry: Registry) -> None:
    registry.client.update_model_version(NAME, "3", "PROMOTE: better in every measure")
    assert promote(registry, "3", force=True).record.forced
    assert registry.resolve("3").tags["verdict"] == "promoted"
    page = registry.client.get_model_version(NAME, "3").description
    assert "better in every measure" not in page
    assert page.startswith("## Promoted by a reviewer")
    assert not promote(registry, "2").record.forced
    assert promote(registry, "3").record.forced
    page = registry.client.get_model_version(NAME, "3").description
    assert "**Forced, against the gate.**" in page
    assert "Record 3 of 2025-01-01, by a reviewer: **forced, against the gate**." in page


@pytest.fixture
def again(registry: Registry, tmp_path: Path) -> str:
    """Version 3 is forced, and its bundle is registered again; gives the number of the new version."""
    assert promote(registry, "3", force=True).record.forced
    return register_bundle(registry, make_bundle(tmp_path / "again", FeatureConfig(), seed=3)).number


@pytest.mark.parametrize("tag", ["", "0" * 64], ids=["as it is", "though the tag of the champion was edited"])
def test_the_same_bundle_again_does_not_replace_its_forced_champion(
    registry: Registry, again: str, tag: str
) -> None:
    if tag:
        registry.client.set_model_version_tag(NAME, "3", "bundle_sha256", tag)
    reviewed = partial(review_version, registry, registry.resolve(again))
    for act in (partial(promote, registry, again), partial(promote, registry, again, force=True), reviewed):
        with pytest.raises(PromotionRefused, match="the same bundle as the champion, byte for byte"):
            act()


@pytest.mark.parametrize(
    ("rules", "stays_forced"),
    [({"one": True, "other": None}, True), ({"one": True}, False)],
    ids=["a rule that can be forged was not checked", "every rule holds"],
)
def test_a_forced_bundle_stays_forced_under_another_version_until_every_rule_holds(
    registry: Registry, again: str, monkeypatch: pytest.MonkeyPatch, rules: dict, stays_forced: bool
) -> None:
    assert not promote(registry, "2").record.forced
    results = {name: RuleResult(held, "", "") for name, held in rules.items()}
    monkeypatch.setattr(report, "run_gate", lambda _: results)
    assert promote(registry, again).record.forced == stays_forced


def test_two_persons_must_sign_and_only_the_second_promotes(registry: Registry, settings: Settings) -> None:
    write_approvers(settings.state_dir, PAIR)
    first = promote(registry, "3", BY_FIRST, force=True)
    repeated = promote(registry, "3", BY_FIRST, force=True)
    assert [(each.signers, each.missing) for each in (first, repeated)] == [(["a reviewer"], 1)] * 2
    assert len(list_records(registry)) == 2
    with pytest.raises(PromotionRefused, match="does not pass the gate"):
        promote(registry, "3", BY_SECOND)
    both = promote(registry, "3", BY_SECOND, force=True)
    assert (both.signers, both.missing) == (["a reviewer", "a second reviewer"], 0)
    assert (both.record.number, both.record.why) == (3, APPROVAL.why)
    assert registry.read_pending(NAME) is None
    assert publish(registry, settings.model, settings)["version"] == "3"


def test_a_waiting_record_that_was_edited_is_not_signed_by_the_second(registry: Registry) -> None:
    promote(registry, "3", BY_FIRST, force=True)
    pending = registry.read_pending(NAME)
    hidden = msgspec.structs.replace(pending.record, forced=False, rules={})
    registry.write_pending(SignedRecord(hidden).sign(REVIEWER))
    with pytest.raises(PromotionRefused, match="does not say what the gate finds"):
        promote(registry, "3", BY_SECOND, force=True)
    renamed = msgspec.structs.replace(pending.record, why="other words")
    registry.write_pending(SignedRecord(renamed, pending.signatures))
    done = promote(registry, "3", BY_SECOND, force=True)
    assert (done.signers, done.missing) == (["a second reviewer"], 1)
    assert done.record.why == "I agree"


def test_a_champion_gets_its_second_signature_when_two_must_sign(
    registry: Registry, settings: Settings
) -> None:
    write_approvers(settings.state_dir, PAIR)
    with pytest.raises(PromotionRefused, match="2 of the approvers"):
        publish(registry, settings.model, settings)
    done = promote(registry, "champion", BY_SECOND)
    assert (done.record.number, done.missing) == (2, 0)
    assert publish(registry, settings.model, settings)["version"] == "2"


def test_a_forced_champion_gets_its_second_signature_only_with_force(registry: Registry) -> None:
    promote(registry, "3", force=True)
    with pytest.raises(PromotionRefused, match="was forced, against the gate"):
        promote(registry, "champion", BY_SECOND)
    done = promote(registry, "champion", BY_SECOND, force=True)
    assert (done.record.number, done.signers, done.missing) == (3, ["a reviewer", "a second reviewer"], 0)


def test_two_who_promote_at_once_break_no_chain(
    registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = (make_next_record(registry, version) for version in "31")
    write, raced = registry.client.set_registered_model_tag, []

    def write_after_another(name: str, key: str, value: str) -> None:
        write(name, key, value)
        if key == "promotion/000003" and not raced:
            raced.append(key)
            registry.write_signatures(SignedRecord(other).sign(SECOND))
            write(name, key, other.to_json())

    monkeypatch.setattr(registry.client, "set_registered_model_tag", write_after_another)
    for _ in range(2):
        with pytest.raises(PromotionRefused, match="another reviewer wrote a promotion record meanwhile"):
            registry.append_record(SignedRecord(mine).sign(REVIEWER))
    assert registry.list_signed_records(NAME)[-1] == SignedRecord(other).sign(SECOND)
    one = Approvers(PAIR.members)
    assert promote(registry, "1", BY_SECOND._replace(approvers=one)).missing == 0
    write_approvers(settings.state_dir, one)
    assert publish(registry, settings.model, settings)["version"] == "1"


def test_signatures_given_at_once_are_all_kept(registry: Registry) -> None:
    (_, last) = registry.list_signed_records(NAME)
    for key in (SECOND, STRANGER):
        registry.write_signatures(last.sign(key))
    (_, found) = registry.list_signed_records(NAME)
    expected = {key.public.key_id for key in (REVIEWER, SECOND, STRANGER)}
    assert {each.keyid for each in found.signatures} == expected
