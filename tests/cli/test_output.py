"""A result is printed for a person, or as one JSON object."""

import json
from pathlib import Path

import pytest

from cli.output import print_result


def test_a_result_is_a_sentence_or_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"rows": 2, "out": Path("a")}
    print_result(result, False, "2 rows -> a")
    assert capsys.readouterr().out == "2 rows -> a\n"
    print_result(result, True, "2 rows -> a")
    assert json.loads(capsys.readouterr().out) == {"rows": 2, "out": "a"}
