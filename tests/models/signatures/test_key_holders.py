"""The files of key holders: who may approve or sign evidence, how many must sign, and until when; partners are no approvers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.signing import APPROVERS, PAIR, REVIEWER, SECOND, STRANGER, sign_record

from consignments.errors import BadInput, BadSetting, PromotionRefused
from models.signatures.envelope import Signature, sign_statement
from models.signatures.key_holders import Approver, Approvers, Partners
from models.signatures.signed_record import SignedRecord

AT = datetime(2025, 1, 1, tzinfo=UTC)
STATEMENT = b'{"a":1}'


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "approvers.toml"
    members = [
        Approver('A "quoted" name\\', REVIEWER.public.text, AT),
        Approver("이름", SECOND.public.text),
        Approver("an evaluator", STRANGER.public.text, role="evaluator"),
    ]
    Approvers(members, 2).write(path)
    read = Approvers.read(path)
    assert (list(read.members), read.signatures, read.where) == (members, 2, str(path))


def test_without_a_file_nobody_may_approve(tmp_path: Path) -> None:
    approvers = Approvers.read(tmp_path / "none.toml")
    with pytest.raises(PromotionRefused, match="nobody may approve"):
        sign_record().require_approval(approvers)


@pytest.mark.parametrize(
    "text",
    [
        "signatures = 0",
        "signatures = 2",
        "signers = 1",
        "[[approver]]\nname = 'a'",
        "[[approver]]\nname = ''\npublic_key = 'x'",
        "not toml",
        "approver = 3",
        "[[partner]]\nname = 'XA'\npublic_key = 'x'",
    ],
)
def test_a_file_at_fault_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "approvers.toml"
    key = (
        f"\n[[approver]]\nname = 'x'\npublic_key = '{REVIEWER.public.text}'"
        if text == "signatures = 2"
        else ""
    )
    path.write_text(text + key)
    with pytest.raises(BadSetting) as refused:
        Approvers.read(path)
    assert str(path) in str(refused.value)


def test_a_bad_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "approvers.toml").write_text("[[approver]]\nname = 'x'\npublic_key = 'AAAA'")
    with pytest.raises(BadInput, match="not a public key"):
        Approvers.read(tmp_path / "approvers.toml")


def test_one_person_has_one_key_and_one_key_one_person() -> None:
    for first, second in ((REVIEWER, REVIEWER), (REVIEWER, SECOND)):
        names = ("a", "b") if first is second else ("a", "a")
        with pytest.raises(BadSetting, match="share"):
            Approvers([Approver(names[0], first.public.text), Approver(names[1], second.public.text)])


def test_only_signatures_of_approvers_over_the_very_statement_count() -> None:
    good, strange = sign_statement(STATEMENT, REVIEWER), sign_statement(STATEMENT, STRANGER)
    assert APPROVERS.list_signers(STATEMENT, [good, strange], AT) == ["a reviewer"]
    assert APPROVERS.list_signers(STATEMENT + b" ", [good], AT) == []
    borrowed = Signature(REVIEWER.public.key_id, strange.sig)
    assert APPROVERS.list_signers(STATEMENT, [borrowed, Signature(good.keyid, "no base64")], AT) == []


def test_two_must_sign_and_one_person_counts_once() -> None:
    both = sign_record().sign(SECOND)
    first, _ = both.signatures
    for signatures in ((), (first,), (first, first)):
        with pytest.raises(PromotionRefused, match="2 of the approvers"):
            SignedRecord(both.record, signatures).require_approval(PAIR)
    assert both.require_approval(PAIR) == ["a reviewer", "a second reviewer"]


def test_a_key_that_has_ended_approves_nothing_later() -> None:
    ended = Approvers([msgspec.structs.replace(APPROVERS.members[0], until=AT)])
    signed = [sign_statement(STATEMENT, REVIEWER)]
    assert ended.list_signers(STATEMENT, signed, AT - timedelta(seconds=1)) == ["a reviewer"]
    assert ended.list_signers(STATEMENT, signed, AT) == []


def test_an_evaluator_signs_evidence_and_no_promotion() -> None:
    both = Approvers([*APPROVERS.members, Approver("an evaluator", SECOND.public.text, role="evaluator")])
    signed = [sign_statement(STATEMENT, SECOND)]
    assert both.list_signers(STATEMENT, signed, AT) == []
    assert both.list_signers(STATEMENT, signed, AT, ("approver", "evaluator")) == ["an evaluator"]
    with pytest.raises(PromotionRefused, match="not signed by those who may approve"):
        SignedRecord(sign_record().record).sign(SECOND).require_approval(both)


def test_an_evaluator_does_not_count_among_those_who_must_sign() -> None:
    evaluator = Approver("an evaluator", SECOND.public.text, role="evaluator")
    with pytest.raises(BadSetting, match="more signatures are required"):
        Approvers([*APPROVERS.members, evaluator], 2)
    with pytest.raises(PromotionRefused, match="nobody may approve"):
        sign_record().sign(SECOND).require_approval(Approvers([evaluator]))


def test_a_partner_has_no_role(tmp_path: Path) -> None:
    path = tmp_path / "partners.toml"
    path.write_text(f"[[partner]]\nname = 'XA'\npublic_key = '{REVIEWER.public.text}'\nrole = 'approver'\n")
    with pytest.raises(BadSetting, match="file of partners cannot be read"):
        Partners.read(path)
