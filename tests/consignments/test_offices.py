"""A place of destination names the customs office; a table that is not valid is refused."""

from pathlib import Path

import pytest

from consignments.errors import BadSetting
from consignments.offices import OfficeTable
from consignments.records import Consignment


def test_the_end_of_the_route_comes_before_the_country(tmp_path: Path) -> None:
    file = tmp_path / "offices.csv"
    file.write_text("place,office\nicn, Incheon\nKRSELA,Seoul IMC\nKR,Seoul\n")
    table = OfficeTable.read(file)
    routes = {"PVG>ICN": "Incheon", "GBLALA>KRSELA": "Seoul IMC", "PVG>PUS": "Seoul", None: "Seoul"}
    for route, office in routes.items():
        c = Consignment("RB123456785GB", "postal", route=route, destination_country="kr")
        assert table.find_office(c) == office
    assert table.find_office(Consignment("RB123456785GB", "postal")) is None


@pytest.mark.parametrize(
    "text",
    ["", "office,place\n", "place,office\nICN\n", "place,office\nICN,\n", "place,office\nICN,A\nicn,B\n"],
)
def test_a_table_that_is_not_valid_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "offices.csv").write_text(text)
    with pytest.raises(BadSetting, match="the table of offices cannot be used"):
        OfficeTable.read(tmp_path / "offices.csv")
