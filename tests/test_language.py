"""Each rule of `tests/language.py` is seen to fail; `make check` holds the repository against them."""

import language
import pytest
from language import Violation, check_file

ERRORS = frozenset({"BadInput", "ClickException"})
LONG = " ".join(["word"] * 41)
ALLOWED = " ".join(["word"] * 40)


def check(path: str, content: str) -> list[tuple[int, str, str]]:
    return [(each.line, each.rule, each.found) for each in check_file(path, content, ERRORS)]


def test_a_violation_says_where_what_was_found_and_what_to_write() -> None:
    (found,) = check_file("a.md", "It is put on\nrecord.\n", ERRORS)
    assert str(found) == "a.md:1: word: found 'on record'; write recorded"


def define(name: str, words: str) -> str:
    return f'def {name}():\n    """{words}"""\n'


@pytest.mark.parametrize("opener", [*language.FORBIDDEN_OPENERS, "Gives", "Tells", "Puts"])
def test_no_docstring_begins_with_a_forbidden_opener(opener: str) -> None:
    for path, name in (("features/a.py", "_f"), ("benchmarks/a.py", "f")):
        shown = opener.capitalize()
        assert check(path, define(name, f"{shown} one.")) == [(2, "opener", shown)]


OPENERS, OTHERS = ["Return", "Returns", "Applies", "Matches"], ["The", "Rows", "Settle", "`Rows`"]


@pytest.mark.parametrize("opener", OPENERS + OTHERS)
def test_a_public_function_of_the_product_opens_with_a_verb(opener: str) -> None:
    words, found = f"{opener} it.", [] if opener in OPENERS else [(2, "opener", opener)]
    assert check("features/a.py", define("f", words)) == found
    assert check("features/a.py", define("_f", words)) == check("benchmarks/a.py", define("f", words)) == []


WORDS = """
Anew, beside, told, whom, whoever, mends, nought, spoilt, of late, by lot, on record, held against, hold against, sinks, rubbish,
wares, where it is, where there is
"""


@pytest.mark.parametrize("found", WORDS.strip().replace("\n", " ").split(", "))
def test_forbidden_words_are_found_wherever_people_read(found: str) -> None:
    words = f"This {found} is not right"
    for path, content, line in (
        ("a.py", f'"""A module.\n\n{words}.\n"""\n', 3),
        ("a.py", f"x = 1\ny = 2  # {words}\n", 2),
        ("a.py", f'x = f"{{y}} {words}"\n', 1),
        ("a.toml", f'# a comment\nkey = "{words}"  # fine\n', 2),
        ("a.toml", f"key = 1  # {words}\n", 1),
        ("a.html", f"<p>\n{words} {{{{ value }}}}</p>", 2),
        ("a.md", f"# Title\n\n{words}\n", 3),
    ):
        assert check(path, content) == [(line, "word", found)]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.py", 'told = row["beside"]\n"""It is besides this, a toldo."""\n'),
        ("a.toml", "[told]\nbeside = 1\nwares = ['anew']\n"),
        ("a.html", '<p class="told">{{ anew }}{% if told %}</p>'),
        ("a.md", "It continues where it stopped. Use `told` here.\n\n```python\nanew = 1\n```\n"),
        ("training/a.py", f'print("{LONG}")\nraise BadInput("{ALLOWED}. {ALLOWED}.")\n'),
        ("cli/a.py", f'@verb\ndef f():\n    """Run it.\n\n    \\b\n    {LONG}\n    """\n'),
    ],
)
def test_names_code_and_tables_are_not_prose_and_other_strings_may_be_long(path: str, content: str) -> None:
    assert check(path, content) == []


RAISED = (
    'BadInput("{}")',
    'BadInput("short", where="x", todo="{}")',
    'BadInput.from_candidates("{}")',
    'click.ClickException("{}")',
    'BadInput(f"{{value}} {}")',
    'BadInput("short. " + "{}")',
)
SHOWN = (
    'def f(x: str = option("{}", "short")): ...',
    'table_options(a=option("{}"))',
    '@verb\ndef f():\n    """Run it.\n\n    {}\n    """',
    '@click.group()\ndef f():\n    """Run {}."""',
)


@pytest.mark.parametrize("source", [*(f"raise {each}" for each in RAISED), *SHOWN])
def test_a_sentence_of_an_error_or_a_help_has_at_most_40_words(source: str) -> None:
    path = "cli/a.py" if source in SHOWN else "training/a.py"
    (found,) = check(path, source.format(LONG))
    assert found[1] == "sentence"
    assert check(path, source.format(ALLOWED.removeprefix("word "))) == []


def test_every_kind_of_file_is_checked_for_the_errors_of_the_product_and_of_click() -> None:
    assert {"NpsriskError", "BadInput", "UsageError"} <= language.list_error_classes()
    files = set(language.list_files())
    assert {"npsrisk.py", "README.md", "Makefile", ".ci/run", "cli/model/training.py"} <= files
    assert {"models/reason_texts/en.toml", "docs/glossary.md"} <= files
    assert any(path.endswith(".html") for path in files)
    assert not any("/.venv/" in path or path.startswith("demo/") for path in files)


def test_violations_fail_in_the_places_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Violation(path, 1, "word", "anew", "again") for path in ("features/a.py", "docs/a.md")]
    monkeypatch.setattr(language, "check_repository", lambda: iter(found))
    for places, told in (([], found), (["docs"], found[1:]), (["models"], [])):
        assert language.main(places) == bool(told)
        assert capsys.readouterr().out.splitlines() == [*map(str, told), f"language: {len(told)} violations"]
