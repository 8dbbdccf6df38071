"""Telephone numbers: the plans of the table, and what cannot be a number."""

import pytest

from features.normalization.phones import CALLING_CODES, PLANS, check_phone, normalize_phone


def test_no_calling_code_begins_another():
    assert not [
        code for code in CALLING_CODES for other in CALLING_CODES if other.startswith(code) and other != code
    ]


def test_every_plan_can_be_dialled():
    assert all(0 < plan.shortest <= plan.longest <= 15 for plan in PLANS.values())


@pytest.mark.parametrize(
    ("phone", "country", "implausible", "foreign"),
    [
        ("010-5550-1234", "KR", False, False),
        ("+44 20 7946 0018", "KR", False, True),
        ("+1 416 555 0134", "US", False, False),  # Canada shares its code
        ("020 7946 001", "GB", False, False),
        ("020 7946", "GB", True, False),
        ("010-0000-0000", "KR", True, False),
        ("010-1234-5678", "KR", True, False),
        ("+82 10 5550 1234 5678 9012", "KR", True, False),
        ("12", "", True, False),
        ("5550134", "", False, False),
        ("n/a", "KR", True, False),
    ],
)
def test_a_number_is_doubted_where_it_cannot_be_right(phone, country, implausible, foreign):
    assert check_phone(normalize_phone(phone, country), country) == (implausible, foreign)
