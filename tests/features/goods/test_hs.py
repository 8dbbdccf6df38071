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


def test_footwear_may_be_of_rubber_textile_or_leather() -> None:
    fitting = build_hs_tables().friends[build_hs_tables().codes[640411] & kernel.FAMILY_MASK]
    assert all(fitting >> FAMILY_CODES[family] & 1 for family in ("plastic", "textile", "leather"))
