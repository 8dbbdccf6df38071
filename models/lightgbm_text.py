"""Parser of LightGBM's text format of models. The result is plain arrays of each tree.

The text comes from a file. So every size, index and number is checked before it reaches a kernel, which checks no bounds.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused

MAX_TEXT_CHARACTERS = 64 * 1024 * 1024
MAX_TREES = 10_000
MAX_LEAVES = 4096
MAX_FEATURES = 10_000
MAX_DEPTH = 16
"""Maximum number of splits on a path: eight quadrature points are exact for up to sixteen distinct features."""

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
SPLIT_KEYS = ("split_feature", "threshold", "decision_type", "left_child", "right_child", "internal_count")
UNUSED_KEYS = ("split_gain", "leaf_weight", "internal_value", "internal_weight", "shrinkage")
TREE_KEYS = {*SPLIT_KEYS, *UNUSED_KEYS, "num_leaves", "num_cat", "is_linear", "leaf_value", "leaf_count"}

CATEGORICAL, DEFAULT_LEFT = 1, 2
NO_MISSING, ZERO_MISSING, NAN_MISSING = 0, 1, 2

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tree(NamedTuple):
    """A parsed tree of n - 1 splits and n leaves. A child is a split (from 0), or a leaf as -1 - leaf."""

    feature: Ints
    threshold: Floats
    decision: Ints
    child: Ints
    rows: Ints
    leaf_value: Floats
    leaf_rows: Ints


def parse_trees(text: str, where: str) -> tuple[list[str], list[Tree]]:
    """Parse a model text into the names of its features and its trees.

    Parameters
    ----------
    text : str
    where : str
        Name of the source in errors.

    Raises
    ------
    BundleRefused
        See `models.trees.Trees.from_text`.
    """
    header, body = _split_text(text, where)
    names = _parse_feature_names(header, where)
    return names, [_read_tree(block, f"{where}, tree {i}", len(names)) for i, block in enumerate(body)]


def strip_parameters(text: str) -> str:
    """Remove the parameters that LightGBM writes after the trees, including the number of threads.

    LightGBM can still load the rest, because sizes in the header refer to the trees only.
    """
    start, end = text.find("\nparameters:\n"), text.find("\nend of parameters\n")
    if start < 0 or end < start:
        return text
    return text[: start + 1] + text[end + len("\nend of parameters\n") :].lstrip("\n")


def _refuse(what: str, where: str, got: object = "", expected: object = "") -> NoReturn:
    raise BundleRefused(
        what,
        where=where,
        got=str(got)[:80],
        expected=str(expected),
        todo="train the model again, or fetch its bundle again",
    )


def _split_text(text: str, where: str) -> tuple[dict[str, str], list[str]]:
    """Split the text into header and trees, by the sizes in the header."""
    if len(text) > MAX_TEXT_CHARACTERS:
        _refuse(
            "the model text is too long", where, f"{len(text)} characters", f"at most {MAX_TEXT_CHARACTERS}"
        )
    head, blank, body = text.partition("\n\n")
    if not blank or not head.startswith("tree\n"):
        _refuse("not the text of a LightGBM model", where, repr(head[:20]), "'tree' on the first line")
    header = _parse_pairs(head.removeprefix("tree\n"), HEADER_KEYS, OPTIONAL_HEADER_KEYS, where)
    for key, value in HEADER.items():
        if header[key] != value:
            _refuse("a model of another kind", f"{where}, {key}", repr(header[key]), repr(value))
    return header, list(_split_trees(body, header["tree_sizes"], where))


def _split_trees(body: str, sizes: str, where: str) -> Iterator[str]:
    lengths = _parse_integers(sizes, None, f"{where}, tree_sizes")
    if not 1 <= len(lengths) <= MAX_TREES:
        _refuse("too many trees or none", where, len(lengths), f"1 to {MAX_TREES}")
    at = 0
    for number, length in enumerate(lengths.tolist()):
        block, title = body[at : at + max(length, 0)], f"Tree={number}\n"
        if len(block) != length or not block.startswith(title):
            _refuse("the trees do not have the sizes that the header gives", where, repr(block[:12]))
        yield block.removeprefix(title)
        at += length
    if not body.startswith("end of trees\n", at):
        _refuse("the trees do not end where the header says", where, repr(body[at : at + 12]))


def _parse_pairs(lines: str, required: set[str], optional: set[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in lines.split("\n"):
        key, equals, value = line.partition("=")
        if not equals or key in pairs or key not in required | optional:
            _refuse("a line that is not understood", where, repr(line), "one of the keys of version v4, once")
        pairs[key] = value
    if absent := sorted(required - set(pairs)):
        _refuse("lines are missing", where, expected=", ".join(absent))
    return pairs


def _parse_feature_names(header: dict[str, str], where: str) -> list[str]:
    names = header["feature_names"].split(" ")
    highest = int(_parse_integers(header["max_feature_idx"], 1, f"{where}, max_feature_idx")[0])
    if highest + 1 != len(names) or len(names) > MAX_FEATURES:
        _refuse("the feature names do not fit the number of features", where, len(names), highest + 1)
    return names


def _read_tree(block: str, where: str, features: int) -> Tree:
    pairs = _parse_pairs(block.rstrip("\n"), TREE_KEYS, set(), where)
    if pairs["num_cat"] != "0" or pairs["is_linear"] != "0":
        _refuse("categorical splits and linear leaves are not walked here", where, expected="numeric splits")
    leaves = int(_parse_integers(pairs["num_leaves"], 1, where)[0])
    if not 1 <= leaves <= MAX_LEAVES:
        _refuse("too many leaves or none", where, leaves, f"1 to {MAX_LEAVES}")
    splits = leaves - 1
    feature, decision, left, right, rows = (
        _parse_integers(pairs[key], splits, f"{where}, {key}")
        for key in ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
    )
    tree = Tree(
        feature=feature,
        # All values except missing ones are below a threshold of infinity.
        threshold=_parse_numbers(pairs["threshold"], splits, f"{where}, threshold", infinite=True),
        decision=decision,
        child=np.stack([left, right], axis=1),
        rows=rows,
        leaf_value=_parse_numbers(pairs["leaf_value"], leaves, f"{where}, leaf_value"),
        leaf_rows=_parse_integers(pairs["leaf_count"], leaves, f"{where}, leaf_count"),
    )
    _check_tree(tree, where, features)
    return tree


def _check_tree(tree: Tree, where: str, features: int) -> None:
    splits = len(tree.feature)
    if ((tree.feature < 0) | (tree.feature >= features)).any():
        _refuse("a split on a feature that is not there", where, expected=f"0 to {features - 1}")
    missing = tree.decision >> 2
    if ((tree.decision & CATEGORICAL) != 0).any() or ((missing < NO_MISSING) | (missing > NAN_MISSING)).any():
        _refuse("a kind of split that is not walked here", where, expected="numeric splits")
    if (tree.rows < 0).any() or (tree.leaf_rows < 0).any() or (splits and tree.rows[0] == 0):
        _refuse("counts of training rows that cannot be", where, expected="0 or more, and some in all")
    # Each leaf, and each split except the first, has one parent, and a split follows its parent. So there is no cycle.
    if splits and sorted(tree.child.ravel().tolist()) != [*range(-splits - 1, 0), *range(1, splits)]:
        _refuse("children that do not make a tree", where, expected="each split and each leaf once")
    if ((tree.child >= 0) & (tree.child <= np.arange(splits)[:, None])).any():
        _refuse("children that do not make a tree", where, expected="each split after its parent")
    if (deepest := compute_depth(tree)) > MAX_DEPTH:
        _refuse("the tree is too deep", where, f"{deepest} splits on a path", f"at most {MAX_DEPTH}")


def _parse_integers(text: str, count: int | None, where: str) -> Ints:
    if not re.fullmatch(r"(-?[0-9]{1,12}( -?[0-9]{1,12})*)?", text):
        _refuse("not whole numbers", where, repr(text))
    values = np.array([int(part) for part in text.split()], dtype=np.int64)
    if count is not None and len(values) != count:
        _refuse("a list of the wrong length", where, len(values), count)
    return values


def _parse_numbers(text: str, count: int, where: str, *, infinite: bool = False) -> Floats:
    """Parse plain numbers. Python alone would also accept underscores, `nan` and other spellings."""
    if not re.fullmatch(r"[-+.e0-9 ]*", text.replace("inf", "") if infinite else text):
        _refuse("not numbers", where, repr(text))
    try:
        values = np.array([float(part) for part in text.split()], dtype=np.float64)
    except ValueError:
        _refuse("not numbers", where, repr(text))
    if len(values) != count:
        _refuse("a list of the wrong length", where, len(values), count)
    if not infinite and not np.isfinite(values).all():
        _refuse("numbers out of range", where, repr(text))
    return values


def compute_depth(tree: Tree) -> int:
    """Compute the number of splits on the longest path of a tree."""
    depth = [1] * len(tree.feature)
    for node, children in enumerate(tree.child.tolist()):
        for child in children:
            if child >= 0:
                depth[child] = depth[node] + 1
    return max(depth, default=0)
