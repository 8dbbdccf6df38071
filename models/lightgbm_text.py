"""Parser of LightGBM's text format of models: every size, index and number is checked, because the kernels check no bounds."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, NoReturn, TypeVar

import msgspec

from consignments.errors import BundleRefused

NumberT = TypeVar("NumberT")
MAX_TEXT_CHARACTERS = 64 * 1024 * 1024
MAX_TREES = 10_000
MAX_LEAVES = 4096
MAX_FEATURES = 10_000
MAX_DEPTH = 16  # maximum number of splits on a path

HEADER = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
    "objective": "binary sigmoid:1",
}
"""Required values of the header. Other models have other rules, which are not implemented."""
HEADER_KEYS = {*HEADER, "max_feature_idx", "feature_names", "feature_infos", "tree_sizes"}
OPTIONAL_HEADER_KEYS = {"monotone_constraints"}
READ_KEYS = {*("split_feature", "threshold", "decision_type", "left_child", "right_child", "internal_count")}
UNUSED_KEYS = {"split_gain", "leaf_weight", "internal_value", "internal_weight", "shrinkage"}
TREE_KEYS = READ_KEYS | UNUSED_KEYS | {"num_leaves", "num_cat", "is_linear", "leaf_value", "leaf_count"}

CATEGORICAL, DEFAULT_LEFT = 1, 2
NO_MISSING, ZERO_MISSING, NAN_MISSING = 0, 1, 2
NUMBER_LIST = re.compile(r'[-+.0-9e "inf]*')
INTEGERS = "whole numbers", msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(gt=-(10**12), lt=10**12)]])
NUMBERS = "finite numbers", msgspec.json.Decoder(list[float])
THRESHOLDS = "numbers", msgspec.json.Decoder(list[float | Literal["inf", "-inf"]])


class Tree(NamedTuple):
    """A parsed tree of n - 1 splits and n leaves. A child is a split (from 0), or a leaf as -1 - leaf."""

    feature: list[int]
    threshold: list[float]
    decision: list[int]
    child: list[tuple[int, int]]
    rows: list[int]
    leaf_value: list[float]
    leaf_rows: list[int]


def parse_trees(text: str, where: str) -> tuple[list[str], list[Tree]]:
    """Parse a model text into the names of its features and its trees; see `models.trees.Trees.from_text`."""
    header, blocks = _split_text(text, where)
    names = _parse_feature_names(header, where)
    trees = [_read_tree(block, f"{where}, tree {number}", len(names)) for number, block in enumerate(blocks)]
    return names, trees


def format_trees(like: str, trees: Sequence[Tree]) -> str:
    """Write trees as a model text with the header of another one. What nothing reads is 0."""
    blocks = [f"Tree={number}\n{_format_tree(tree)}" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block)) for block in blocks)
    head = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", like.partition("\n\n")[0], flags=re.MULTILINE)
    return f"{head}\n\n{''.join(blocks)}end of trees\n"


def _format_tree(tree: Tree) -> str:
    nothing = [0] * len(tree.feature)
    lines: dict[str, Iterable[float]] = {
        "num_leaves": [len(tree.leaf_value)],
        "num_cat": [0],
        "split_feature": tree.feature,
        "split_gain": nothing,
        "threshold": tree.threshold,
        "decision_type": tree.decision,
        "left_child": [left for left, _ in tree.child],
        "right_child": [right for _, right in tree.child],
        "leaf_value": tree.leaf_value,
        "leaf_weight": tree.leaf_rows,
        "leaf_count": tree.leaf_rows,
        "internal_value": nothing,
        "internal_weight": nothing,
        "internal_count": tree.rows,
        "is_linear": [0],
        "shrinkage": [1],
    }
    return "".join(f"{name}={' '.join(map(repr, values))}\n" for name, values in lines.items()) + "\n\n"


def _refuse(what: str, where: str, got: object = "", expected: object = "") -> NoReturn:
    todo = "train the model again, or fetch its bundle again"
    raise BundleRefused(what, where=where, got=str(got)[:80], expected=str(expected), todo=todo)


def _split_text(text: str, where: str) -> tuple[dict[str, str], list[str]]:
    """Split the text into header and trees, by the sizes in the header."""
    if len(text) > MAX_TEXT_CHARACTERS:
        _refuse("a text of too many characters", where, len(text), f"at most {MAX_TEXT_CHARACTERS}")
    head, blank, body = text.partition("\n\n")
    if not blank or not head.startswith("tree\n"):
        _refuse("not the text of a LightGBM model", where, repr(head[:20]), "'tree' on the first line")
    header = _parse_pairs(head.removeprefix("tree\n"), HEADER_KEYS, OPTIONAL_HEADER_KEYS, where)
    for key, value in HEADER.items():
        if header[key] != value:
            _refuse("a model of another kind", f"{where}, {key}", repr(header[key]), repr(value))
    return header, list(_split_trees(body, header["tree_sizes"], where))


def _split_trees(body: str, sizes: str, where: str) -> Iterator[str]:
    lengths = _parse_list(sizes, INTEGERS, None, f"{where}, tree_sizes")
    if not 1 <= len(lengths) <= MAX_TREES:
        _refuse("too many trees or none", where, len(lengths), f"1 to {MAX_TREES}")
    at = 0
    for number, length in enumerate(lengths):
        block, title = body[at : at + max(length, 0)], f"Tree={number}\n"
        if len(block) != length or not block.startswith(title):
            _refuse("the trees do not have the sizes that the header gives", where, repr(block[:12]))
        yield block.removeprefix(title)
        at += length
    if not body.startswith("end of trees\n", at):
        _refuse("the trees do not end where the header says", where, repr(body[at : at + 12]))


def _parse_pairs(lines: str, required: set[str], optional: set[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    known = required | optional
    for line in lines.split("\n"):
        key, equals, value = line.partition("=")
        if not equals or key in pairs or key not in known:
            _refuse("a line that is not understood", where, repr(line), "one of the keys of version v4, once")
        pairs[key] = value
    if not pairs.keys() >= required:
        _refuse("lines are missing", where, expected=", ".join(sorted(required - pairs.keys())))
    return pairs


def _parse_feature_names(header: dict[str, str], where: str) -> list[str]:
    names = header["feature_names"].split(" ")
    (highest,) = _parse_list(header["max_feature_idx"], INTEGERS, 1, f"{where}, max_feature_idx")
    if highest + 1 != len(names) or len(names) > MAX_FEATURES:
        _refuse("the feature names do not fit the number of features", where, len(names), highest + 1)
    return names


def _read_tree(block: str, where: str, features: int) -> Tree:
    pairs = _parse_pairs(block.rstrip("\n"), TREE_KEYS, set(), where)
    (leaves,) = _parse_list(pairs["num_leaves"], INTEGERS, 1, f"{where}, num_leaves")
    if pairs["num_cat"] != "0" or pairs["is_linear"] != "0":
        _refuse("categorical splits and linear leaves are not walked here", where, expected="numeric splits")
    if not 1 <= leaves <= MAX_LEAVES:
        _refuse("too many leaves or none", where, leaves, f"1 to {MAX_LEAVES}")

    def read(key: str, count: int = leaves - 1) -> list[int]:
        return _parse_list(pairs[key], INTEGERS, count, f"{where}, {key}")

    # All values except missing ones are below a threshold of infinity.
    thresholds = re.sub("-?inf", r'"\g<0>"', pairs["threshold"])
    tree = Tree(
        feature=read("split_feature"),
        threshold=[*map(float, _parse_list(thresholds, THRESHOLDS, leaves - 1, f"{where}, threshold"))],
        decision=read("decision_type"),
        child=list(zip(read("left_child"), read("right_child"), strict=True)),
        rows=read("internal_count"),
        leaf_value=_parse_list(pairs["leaf_value"], NUMBERS, leaves, f"{where}, leaf_value"),
        leaf_rows=read("leaf_count", leaves),
    )
    _check_tree(tree, where, features)
    return tree


def _check_tree(tree: Tree, where: str, features: int) -> None:
    """Check the values of a tree; each child has one parent, which is before it, so there is no cycle."""
    if any(not 0 <= each < features for each in tree.feature):
        _refuse("a split on a feature that is not there", where, expected=f"0 to {features - 1}")
    known = range(NO_MISSING << 2, (NAN_MISSING + 1) << 2)
    if any(each & CATEGORICAL or each not in known for each in tree.decision):
        _refuse("a kind of split that is not walked here", where, expected="numeric splits")
    if min(tree.rows + tree.leaf_rows) < 0 or tree.rows[:1] == [0]:
        _refuse("counts of training rows that cannot be", where, expected="0 or more, and some in all")
    splits, children = len(tree.feature), sorted(each for pair in tree.child for each in pair)
    if splits and children != [*range(-splits - 1, 0), *range(1, splits)]:
        _refuse("children that do not make a tree", where, expected="each split and each leaf once")
    if any(0 <= each <= at for at, pair in enumerate(tree.child) for each in pair):
        _refuse("children that do not make a tree", where, expected="each split after its parent")
    deepest, _ = measure_paths(tree)
    if deepest > MAX_DEPTH:
        _refuse("the tree is too deep", where, f"{deepest} splits on a path", f"at most {MAX_DEPTH}")


def measure_paths(tree: Tree) -> tuple[int, int]:
    """Return the largest numbers of splits and of different features on a path."""
    depth, features = [1] * len(tree.feature), [{each} for each in tree.feature]
    for at, pair in enumerate(tree.child):
        for each in pair:
            if each > 0:
                depth[each] = depth[at] + 1
                features[each] |= features[at]
    return max(depth, default=0), max(map(len, features), default=0)


def _parse_list(
    text: str, numbers: tuple[str, msgspec.json.Decoder[list[NumberT]]], count: int | None, where: str
) -> list[NumberT]:
    """Parse plain numbers as JSON; Python would also accept underscores, `nan` and other spellings."""
    noun, decoder = numbers
    if not NUMBER_LIST.fullmatch(text):
        _refuse(f"not {noun}", where, repr(text))
    try:
        values = decoder.decode(f"[{text.replace(' ', ',')}]")
    except msgspec.MsgspecError:
        _refuse(f"not {noun}", where, repr(text))
    if count is not None and len(values) != count:
        _refuse("a list of the wrong length", where, len(values), count)
    return values
