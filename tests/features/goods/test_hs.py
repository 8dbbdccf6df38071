import pytest

from features.goods import kernels as kernel
from features.goods.hs import COVER_HEADINGS, FAMILY_CODES, TYPICAL_CODES, build_hs_tables


def test_every_known_heading_belongs_to_a_family_and_those_that_matter_exist() -> None:
    codes = build_hs_tables().codes
    known = (codes & kernel.HEADING_KNOWN) != 0
    assert ((codes[known] & kernel.FAMILY_MASK) != 0).all()
    assert known.sum() == 1228 * 100
    for number in TYPICAL_CODES.split():
        assert codes[int(number)] & kernel.TYPICAL
        assert codes[int(number)] & kernel.HEADING_KNOWN
    for number in COVER_HEADINGS.split():
        assert codes[int(number) * 100 + 99] & kernel.COVER


@pytest.mark.parametrize(
    ("hs", "family"),
    [
        ("293399", "chemical"),
        ("2106", "supplement"),
        ("2105", "food"),
        ("1211", "plant"),
        ("2309", "feed"),
        ("33", "cosmetic"),
        ("8517", "machine"),
        ("97", "other"),
        ("77", None),
        ("00", None),
    ],
)
def test_a_code_belongs_to_its_family(hs: str, family: str | None) -> None:
    code = int(build_hs_tables().codes[int(hs.ljust(6, "0"))]) & kernel.FAMILY_MASK
    assert code == (FAMILY_CODES[family] if family else 0)


def test_families_fit_each_other_both_ways_and_themselves() -> None:
    friends = build_hs_tables().friends
    told_apart = [code for family, code in FAMILY_CODES.items() if family != "other"]
    for one in told_apart:
        assert friends[one] >> one & 1
        for other in told_apart:
            assert friends[one] >> other & 1 == friends[other] >> one & 1
    assert not friends[FAMILY_CODES["chemical"]] >> FAMILY_CODES["textile"] & 1
