"""The lint of the words: first words of docstrings, forbidden words, and sentences that are too long.

    python tests/language.py            report each violation; exit code 1 if there is any
    python tests/language.py training   report each violation in files whose path begins with `training`

It reads files as text and imports nothing of the product.

openers    The docstring of a public function of the product begins with a verb: imperative ("Return …") or third person
           ("Returns …"). No docstring begins with a word of `FORBIDDEN_OPENERS`.
words      No docstring, comment, sentence in a string, TOML text, template or page has a word of `FORBIDDEN_WORDS`.
sentences  No sentence of a help or an error text has more than `MAX_WORDS` words.
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
PRODUCT = ("cli", "consignments", "features", "models", "operation", "serving", "training", "npsrisk.py")
PLACES = (*PRODUCT, "benchmarks", "docs", ".ci", "Makefile", "*.md", "pyproject.toml", "requirements*.toml")
SUFFIXES = {".py", ".toml", ".html", ".md", ".txt", ""}
"""Files without a suffix are the Makefile and scripts."""
DATA = REPOSITORY / "tests" / "data"
FORBIDDEN = tomllib.loads((DATA / "forbidden_words.toml").read_text(encoding="utf-8"))
FORBIDDEN_OPENERS, FORBIDDEN_WORDS = FORBIDDEN["openers"], FORBIDDEN["words"]
"""Each with what to write instead."""
VERBS = frozenset((DATA / "standard_verbs.txt").read_text().split())
"""Verbs that may open the docstring of a public function. Add a verb that a practitioner would type into a search box."""

WORDS = re.compile("|".join(rf"\b(?:{word})\b" for word in FORBIDDEN_WORDS), re.IGNORECASE)
MAX_WORDS = 40

ERROR_MODULE = "consignments/errors.py"
CLICK_ERRORS = {
    *("ClickException", "UsageError", "BadParameter", "BadOptionUsage", "BadArgumentUsage", "FileError")
}
HELP_PLACES = ("cli/", "npsrisk.py")
OPTION_CALL = re.compile(r"(?:.*_)?(?:option|options|argument)")
COMMAND_CALL = {"group", "verb", "sub_verb"}
PLACEHOLDER = "0"
"""Stands for a value in an f-string: one word."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


class Violation(NamedTuple):
    """A place that breaks a rule: what was found there, and what to write instead."""

    path: str
    line: int
    rule: str
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: found {self.found!r}; write {self.instead}"


class Text(NamedTuple):
    """A text for people, and the line on which it begins."""

    line: int
    words: str


def check_file(path: str, content: str, errors: frozenset[str]) -> Iterator[Violation]:
    """Check one file by its kind; `errors` are the names of the error classes."""
    if path.endswith(".py"):
        yield from check_python(path, content, errors)
    elif path.endswith(".toml"):
        yield from find_forbidden_words(path, read_toml_texts(content))
    elif path.endswith(".html"):
        prose = blank_out(content, r"<[^>]*>|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")
        yield from find_forbidden_words(path, [Text(1, prose)])
    else:
        yield from find_forbidden_words(path, [Text(1, blank_out(content, r"^```.*?^```|`[^`\n]*`"))])


def check_python(path: str, source: str, errors: frozenset[str]) -> Iterator[Violation]:
    """Check the docstrings, comments, strings, help and error texts of a Python file."""
    tree = ast.parse(source)
    yield from check_openers(path, tree)
    yield from find_forbidden_words(path, [*read_comments(source), *read_strings(tree)])
    texts = list(read_error_texts(tree, errors))
    if path.startswith(HELP_PLACES):
        texts += read_help_texts(tree)
    yield from find_long_sentences(path, texts)


def check_openers(path: str, tree: ast.Module) -> Iterator[Violation]:
    """Check the first word of each docstring; that of a public function of the product is a verb."""
    for node in ast.walk(tree):
        if not isinstance(node, Documented) or not (docstring := ast.get_docstring(node)):
            continue
        line, first = node.body[0].lineno, docstring.split()[0]
        word = first.strip("`\"',.:;").lower()
        if find_verb(word) in FORBIDDEN_OPENERS:
            yield Violation(path, line, "opener", first, FORBIDDEN_OPENERS[find_verb(word)])
        elif path.startswith(PRODUCT) and is_public_function(node) and find_verb(word) not in VERBS:
            yield Violation(path, line, "opener", first, "a verb of tests/data/standard_verbs.txt")


def is_public_function(node: ast.AST) -> bool:
    """Check if a node is a function whose name is not private; a property is described by a noun."""
    if not isinstance(node, Function) or node.name.startswith("_"):
        return False
    return not any(ast.unparse(each).endswith("property") for each in node.decorator_list)


def find_verb(word: str) -> str:
    """Find the base form of a verb that may be in the third person."""
    forms = [word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y"]
    return next((form for form in forms if form in VERBS or form in FORBIDDEN_OPENERS), word)


def find_forbidden_words(path: str, texts: Iterable[Text]) -> Iterator[Violation]:
    """Find the forbidden words in texts."""
    for text in texts:
        for match in WORDS.finditer(text.words):
            line = text.line + text.words.count("\n", 0, match.start())
            yield Violation(path, line, "word", " ".join(match[0].split()), find_replacement(match[0]))


def find_replacement(found: str) -> str:
    """Find the words to write in place of a forbidden word."""
    words = FORBIDDEN_WORDS.items()
    return next(instead for word, instead in words if re.fullmatch(word, found, re.IGNORECASE))


def find_long_sentences(path: str, texts: Iterable[Text]) -> Iterator[Violation]:
    """Find the sentences of more than `MAX_WORDS` words."""
    for text in texts:
        for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text.words):
            words = sentence.split()
            if len(words) > MAX_WORDS:
                found = f"{' '.join(words[:6])} … ({len(words)} words)"
                yield Violation(path, text.line, "sentence", found, f"sentences of at most {MAX_WORDS} words")


def read_comments(source: str) -> Iterator[Text]:
    """Read the comments of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)


def read_strings(tree: ast.Module) -> Iterator[Text]:
    """Read the strings of several words: docstrings, and sentences that somebody may see."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) > 1:
            yield Text(node.lineno, node.value)


def read_error_texts(tree: ast.Module, errors: frozenset[str]) -> Iterator[Text]:
    """Read the texts that are given to error classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_call(node) in errors:
            yield from read_arguments(node)


def read_help_texts(tree: ast.Module) -> Iterator[Text]:
    """Read the texts of options, and the docstrings of commands without examples and tables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and OPTION_CALL.fullmatch(name_call(node)):
            yield from read_arguments(node)
        elif isinstance(node, Function) and COMMAND_CALL & {name_call(each) for each in node.decorator_list}:
            help_text = ast.get_docstring(node, clean=True) or ""
            prose = [part for part in help_text.split("\n\n") if not part.startswith("\b")]
            yield Text(node.body[0].lineno, "\n\n".join(prose))


def read_arguments(call: ast.Call) -> Iterator[Text]:
    """Read the strings among the arguments of a call."""
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        if text := join_string(argument):
            yield Text(argument.lineno, text)


def join_string(node: ast.expr) -> str:
    """Join the parts of a string; return '' if the expression is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(join_string(part) or PLACEHOLDER for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return join_string(node.left) + join_string(node.right)
    return ""


def name_call(node: ast.expr) -> str:
    """Return the last name of what is called: `command` for `click.command()`; a class for its class methods."""
    function = node.func if isinstance(node, ast.Call) else node
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        return owner if owner[:1].isupper() else function.attr
    return function.id if isinstance(function, ast.Name) else ""


def read_toml_texts(content: str) -> Iterator[Text]:
    """Read the comments of a TOML file, and its strings of several words."""
    tomllib.loads(content)
    for number, line in enumerate(content.splitlines(), 1):
        for match in re.finditer(r'"""|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*', line):
            if match[0].startswith("#") or len(match[0].split()) > 1:
                yield Text(number, match[0])


def blank_out(content: str, pattern: str) -> str:
    """Blank out what matches a pattern, and keep the line breaks."""
    return re.sub(f"(?ms){pattern}", lambda found: re.sub(r"[^\n]", " ", found[0]), content)


def list_error_classes() -> frozenset[str]:
    """List the error classes of the product, and those of click."""
    tree = ast.parse((REPOSITORY / ERROR_MODULE).read_text())
    return frozenset({node.name for node in tree.body if isinstance(node, ast.ClassDef)} | CLICK_ERRORS)


def list_files() -> Iterator[str]:
    """List the paths of all files that are checked, relative to the repository."""
    for place in PLACES:
        for found in sorted(REPOSITORY.glob(place)):
            for file in sorted(found.rglob("*")) if found.is_dir() else [found]:
                path = file.relative_to(REPOSITORY).as_posix()
                if file.is_file() and file.suffix in SUFFIXES:
                    yield path


def check_repository() -> Iterator[Violation]:
    """Check all files."""
    errors = list_error_classes()
    for path in list_files():
        yield from check_file(path, (REPOSITORY / path).read_text(encoding="utf-8"), errors)


def main(places: list[str]) -> int:
    """Report the violations, or those in the given places; return the exit code."""
    violations = [each for each in check_repository() if each.path.startswith(tuple(places) or "")]
    for violation in violations:
        print(violation)
    print(f"language: {len(violations):,} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
