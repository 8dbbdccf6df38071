"""The files of key holders: who may approve or sign evidence, how many must sign, and until when; partners are no approvers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.cases import read_cases
from support.examples import day
from support.signing import APPROVERS, REVIEWER, SECOND, STRANGER, sign_record

from consignments.errors import BadInput, BadSetting, PromotionRefused
from models.signatures.envelope import sign_statement
from models.signatures.key_holders import Approver, Approvers, Partner, Partners
from models.signatures.signed_record import SignedRecord

AT = datetime(2025, 1, 1, tzinfo=UTC)
STATEMENT = b'{"a":1}'
EVALUATOR = Approver("an evaluator", SECOND.public.text, role="evaluator")


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    assert Partners.read(path).members == ()
    quoted = Approver('A "quoted" name\\', REVIEWER.public.text, AT)
    members = [quoted, Approver("이름", STRANGER.public.text), EVALUATOR]
    Approvers(members, 2).write(path)
    read = Approvers.read(path)
    assert (list(read.members), read.signatures, read.where) == (members, 2, str(path))
    Partners([Partner("XA", REVIEWER.public.text, day(3))]).write(path)
    assert Partners.read(path).members == (Partner("XA", REVIEWER.public.text, day(3)),)


@pytest.mark.parametrize("case", read_cases("key_files"))
def test_a_file_at_fault_is_refused(tmp_path: Path, case: dict[str, str]) -> None:
    """Each line has whose keys a file holds, and its text."""
    path = tmp_path / "keys.toml"
    path.write_text(case["text"])
    with pytest.raises(BadSetting) as refused:
        (Approvers if case["of"] == "approvers" else Partners).read(path)
    assert str(path) in str(refused.value)


def test_a_bad_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "approvers.toml").write_text("[[approver]]\nname = 'x'\npublic_key = 'AAAA'")
    with pytest.raises(BadInput, match="not a public key"):
        Approvers.read(tmp_path / "approvers.toml")


@pytest.mark.parametrize(
    ("kind", "holders"),
    [
        (Approvers, [Approver(name, REVIEWER.public.text) for name in "ab"]),
        (Approvers, [Approver("a", key.public.text) for key in (REVIEWER, SECOND)]),
        (Partners, [Partner(name, REVIEWER.public.text) for name in ("XA", "XB")]),
    ],
    ids=["one key of two approvers", "two keys of one approver", "one key of two partners"],
)
def test_one_person_has_one_key_and_one_key_one_person(kind: type, holders: list[Approver]) -> None:
    with pytest.raises(BadSetting, match="share"):
        kind(holders)


def test_a_key_that_has_ended_approves_nothing_later() -> None:
    ended = Approvers([Approver("a reviewer", REVIEWER.public.text, AT)])
    signed = [sign_statement(STATEMENT, REVIEWER)]
    assert ended.list_signers(STATEMENT, signed, AT - timedelta(seconds=1)) == ["a reviewer"]
    assert ended.list_signers(STATEMENT, signed, AT) == []


def test_an_evaluator_signs_evidence_and_no_promotion_and_does_not_count_among_those_who_must_sign() -> None:
    both, signed = Approvers([*APPROVERS.members, EVALUATOR]), [sign_statement(STATEMENT, SECOND)]
    assert both.list_signers(STATEMENT, signed, AT) == []
    assert both.list_signers(STATEMENT, signed, AT, ("approver", "evaluator")) == ["an evaluator"]
    record = SignedRecord(sign_record().record).sign(SECOND)
    with pytest.raises(PromotionRefused, match="not signed by those who may approve"):
        record.require_approval(both)


@pytest.mark.parametrize("holders", [[], [EVALUATOR]], ids=["without a file", "with an evaluator alone"])
def test_without_an_approver_nobody_may_approve(tmp_path: Path, holders: list[Approver]) -> None:
    approvers = Approvers(holders) if holders else Approvers.read(tmp_path / "none.toml")
    with pytest.raises(PromotionRefused, match="nobody may approve"):
        sign_record().sign(SECOND).require_approval(approvers)
