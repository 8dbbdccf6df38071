"""The words: what people read keeps the rules of `tests/language.py`, and each rule is seen to fail."""

import ast

import language
import pytest
from language import Violation, check_file, find_exemption

ERRORS = frozenset({"BadInput", "ClickException"})
LONG = " ".join(["word"] * 41)
ALLOWED = " ".join(["word"] * 40)


def check(path: str, content: str) -> list[tuple[int, str, str]]:
    return [(each.line, each.rule, each.found) for each in check_file(path, content, ERRORS)]


def test_what_people_read_keeps_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert language.main([]) == 0, capsys.readouterr().out
    (last,) = capsys.readouterr().out.splitlines()
    assert last.startswith("language: 0 violations. Exempt places: ")


def test_a_violation_says_where_what_was_found_and_what_to_write() -> None:
    (found,) = check_file("features/a.py", '"""A module."""\n# made anew\n', ERRORS)
    assert found == Violation("features/a.py", 2, "word", "anew", "again")
    assert str(found) == "features/a.py:2: word: found 'anew'; write again"


@pytest.mark.parametrize(
    "opener", ["Give", "Tells", "Say", "Let", "Put", "Take", "Whether", "What", "Who", "Where", "How"]
)
def test_no_docstring_begins_with_a_forbidden_opener(opener: str) -> None:
    assert check("features/a.py", f'def _f():\n    """{opener} one."""\n') == [(2, "opener", opener)]
    assert check("tests/a.py", f'class A:\n    """{opener} one."""\n') == [(2, "opener", opener)]


@pytest.mark.parametrize("opener", ["Return", "Returns", "Applies", "Matches", "Compute"])
def test_a_verb_opens_a_docstring_in_the_imperative_or_the_third_person(opener: str) -> None:
    assert check("features/a.py", f'def f():\n    """{opener} it."""\n') == []


@pytest.mark.parametrize("opener", ["The", "Rows", "Settle", "`Rows`"])
def test_a_public_function_of_the_product_opens_with_a_verb(opener: str) -> None:
    source = f'class A:\n    """A class."""\n\n    def f(self):\n        """{opener} it."""\n'
    assert check("features/a.py", source) == [(5, "opener", opener)]
    assert check("features/a.py", source.replace("def f", "def _f")) == []
    assert check("benchmarks/a.py", source) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("made Anew", "Anew"),
        ("stands beside it", "beside"),
        ("as we were told", "told"),
        ("by whom", "whom"),
        ("whoever asks", "whoever"),
        ("mends it", "mends"),
        ("comes to nought", "nought"),
        ("spoilt bytes", "spoilt"),
        ("seen of late", "of late"),
        ("drawn by lot", "by lot"),
        ("put on record", "on record"),
        ("held against it", "held against"),
        ("hold against it", "hold against"),
        ("never sinks", "sinks"),
        ("rubbish in it", "rubbish"),
        ("other wares", "wares"),
        ("where it is missing", "where it is"),
        ("where there is none", "where there is"),
    ],
)
def test_forbidden_words_are_found_wherever_people_read(words: str, found: str) -> None:
    assert check("a.py", f'"""A module.\n\nThis is {words}.\n"""\n') == [(3, "word", found)]
    assert check("a.py", f"x = 1\ny = 2  # {words}\n") == [(2, "word", found)]
    assert check("a.py", f'x = f"{{y}} {words}"\n') == [(1, "word", found)]
    assert check("a.toml", f'# a comment\nkey = "{words}"  # fine\n') == [(2, "word", found)]
    assert check("a.toml", f"key = 1  # {words}\n") == [(1, "word", found)]
    assert check("a.html", f"<p>\n{words} {{{{ value }}}}</p>") == [(2, "word", found)]
    assert check("a.md", f"# Title\n\n{words}\n") == [(3, "word", found)]


def test_a_forbidden_word_over_a_line_break_is_found() -> None:
    assert check("a.md", "It is put on\nrecord.\n") == [(1, "word", "on record")]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.py", "told = 1\n"),
        ("a.md", "It continues where it stopped.\n"),
        ("a.py", 'told = row["beside"]\n'),
        ("a.py", '"""It is besides this, a toldo."""\n'),
        ("a.toml", "[told]\nbeside = 1\nwares = ['anew']\n"),
        ("a.html", '<p class="told">{{ anew }}{% if told %}</p>'),
        ("a.md", "Use `told` here.\n\n```python\nanew = 1\n```\n"),
    ],
)
def test_names_and_code_are_not_prose(path: str, content: str) -> None:
    assert check(path, content) == []


@pytest.mark.parametrize(
    "call",
    [
        'BadInput("{}")',
        'BadInput("short", where="x", todo="{}")',
        'BadInput.from_candidates("{}")',
        'click.ClickException("{}")',
        'BadInput(f"{{value}} {}")',
        'BadInput("short. " + "{}")',
    ],
)
def test_a_sentence_of_an_error_has_at_most_40_words(call: str) -> None:
    found = check("training/a.py", "raise " + call.format(LONG))
    assert [(line, rule) for line, rule, _ in found] == [(1, "sentence")]
    assert check("training/a.py", "raise " + call.format(ALLOWED.removeprefix("word "))) == []


def test_sentences_of_other_strings_are_not_counted() -> None:
    assert check("training/a.py", f'print("{LONG}")\n') == []
    assert check("training/a.py", f'raise BadInput("{ALLOWED}. {ALLOWED}.")\n') == []


@pytest.mark.parametrize(
    "source",
    [
        'def f(x: str = option("{}", "short")): ...\n',
        'table_option("--x", "{}")\n',
        '@verb\ndef f():\n    """Run it.\n\n    {}\n    """\n',
        '@click.group()\ndef f():\n    """Run {}."""\n',
    ],
)
def test_a_sentence_of_a_help_has_at_most_40_words(source: str) -> None:
    (found,) = check("cli/a.py", source.format(LONG))
    assert found[1] == "sentence"
    assert check("training/a.py", source.format(LONG)) == []
    assert check("cli/a.py", source.format("word")) == []


def test_examples_and_tables_of_a_help_are_no_sentences() -> None:
    source = f'@verb\ndef f():\n    """Run it.\n\n    \\b\n    {LONG}\n    """\n'
    assert check("cli/a.py", source) == []


def test_the_error_classes_are_those_of_the_product_and_of_click() -> None:
    errors = language.list_error_classes()
    assert {"NpsriskError", "BadInput", "ServiceFault", "UsageError"} <= errors
    assert "Iterable" not in errors


def test_every_kind_of_file_is_checked() -> None:
    files = set(language.list_files())
    assert {
        "npsrisk.py",
        "README.md",
        "Makefile",
        ".ci/run",
        "cli/model/training.py",
        "models/reason_texts/en.toml",
    } <= files
    assert any(path.endswith(".html") for path in files)
    assert not any("/.venv/" in path or path.startswith("demo/") for path in files)


def test_verbs_are_base_forms_and_no_forbidden_openers() -> None:
    assert language.VERBS & set(language.FORBIDDEN_OPENERS) == set()
    assert [verb for verb in language.VERBS if language.find_verb(verb) != verb] == []


def test_the_lint_imports_nothing_of_the_product() -> None:
    tree = ast.parse((language.REPOSITORY / "tests" / "language.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    rooms = {place.removesuffix(".py") for place in language.PRODUCT}
    assert {str(name).split(".")[0] for name in imported} & rooms == set()


def test_places_are_exempt_by_the_beginning_of_their_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "EXEMPT", ("training/", "README.md"))
    assert find_exemption("training/data/splits.py") == "training/"
    assert find_exemption("README.md") == "README.md"
    assert find_exemption("features/a.py") is None
    assert find_exemption("docs/README.md") is None


def test_a_violation_outside_the_exempt_places_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        Violation("features/a.py", 1, "word", "anew", "again"),
        Violation("docs/a.md", 1, "word", "told", "-"),
    ]
    monkeypatch.setattr(language, "check_repository", lambda: iter(found))
    monkeypatch.setattr(language, "EXEMPT", ("docs/",))
    assert language.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        str(found[0]),
        "language: 1 violations. Exempt places: docs/ 1",
    ]
    assert language.main(["docs"]) == 1
    assert str(found[1]) in capsys.readouterr().out
    assert language.main(["models"]) == 0
