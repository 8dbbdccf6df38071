"""Parser of LightGBM's text format of models. The result is plain arrays of each tree.

The text comes from a file. So every size, index and number is checked before it reaches a kernel, which checks no bounds.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

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
Bools = NDArray[np.bool_]
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
    return names, _read_trees(body, where, len(names))


def strip_parameters(text: str) -> str:
    """Remove the parameters that LightGBM writes after the trees, including the number of threads.

    LightGBM can still load the rest, because sizes in the header refer to the trees only.
    """
    start, end = text.find("\nparameters:\n"), text.find("\nend of parameters\n")
    if start < 0 or end < start:
        return text
    return text[: start + 1] + text[end + len("\nend of parameters\n") :].lstrip("\n")


def list_tree_blocks(text: str) -> list[str]:
    """List the trees of a model text, each without its title."""
    trees = text.partition("\n\n")[2].partition("end of trees\n")[0]
    return [block.partition("\n")[2] for block in re.split(r"^(?=Tree=)", trees, flags=re.MULTILINE) if block]


def replace_trees(text: str, blocks: Sequence[str]) -> str:
    """Return a model text with other trees, each given without its title."""
    head, _, body = text.partition("\n\n")
    _, end, rest = body.partition("end of trees\n")
    numbered = [f"Tree={number}\n{block}" for number, block in enumerate(blocks)]
    sizes = " ".join(str(len(block)) for block in numbered)
    head = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", head, flags=re.MULTILINE)
    return f"{head}\n\n{''.join(numbered)}{end}{rest}"


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
    highest = int(_parse_integers(header["max_feature_idx"], 1, f"{where}, max_feature_idx")[0])
    if highest + 1 != len(names) or len(names) > MAX_FEATURES:
        _refuse("the feature names do not fit the number of features", where, len(names), highest + 1)
    return names


def _read_trees(blocks: list[str], where: str, features: int) -> list[Tree]:
    """Read the values of all trees at once: a model has hundreds of trees, most of them small."""
    pairs = [
        _parse_pairs(block.rstrip("\n"), TREE_KEYS, set(), f"{where}, tree {number}")
        for number, block in enumerate(blocks)
    ]
    leaves = _read_column(pairs, "num_leaves", [1] * len(pairs), where)
    for number, (each, count) in enumerate(zip(pairs, leaves.tolist(), strict=True)):
        if each["num_cat"] != "0" or each["is_linear"] != "0":
            _refuse(
                "categorical splits and linear leaves are not walked here",
                f"{where}, tree {number}",
                expected="numeric splits",
            )
        if not 1 <= count <= MAX_LEAVES:
            _refuse("too many leaves or none", f"{where}, tree {number}", count, f"1 to {MAX_LEAVES}")
    per_split, per_leaf = (leaves - 1).tolist(), leaves.tolist()
    feature, decision, left, right, rows = (
        _read_column(pairs, key, per_split, where)
        for key in ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
    )
    flat = Tree(
        feature=feature,
        # All values except missing ones are below a threshold of infinity.
        threshold=_read_column(pairs, "threshold", per_split, where, _parse_thresholds),
        decision=decision,
        child=np.stack([left, right], axis=1),
        rows=rows,
        leaf_value=_read_column(pairs, "leaf_value", per_leaf, where, _parse_numbers),
        leaf_rows=_read_column(pairs, "leaf_count", per_leaf, where),
    )
    _check_trees(flat, leaves, where, features)
    first, first_leaf = _list_starts(leaves - 1), _list_starts(leaves)
    ranges = zip(pairwise(first), pairwise(first_leaf), strict=True)
    return [
        Tree(*(each[slice(*own)] for each in flat[:5]), *(each[slice(*below)] for each in flat[5:]))  # type: ignore[arg-type]
        for own, below in ranges
    ]


def _list_starts(counts: Ints) -> list[int]:
    """List where the values of each tree start, and the end of the last one."""
    starts: list[int] = np.cumsum([0, *counts]).tolist()
    return starts


def _read_column(
    pairs: list[dict[str, str]],
    key: str,
    counts: list[int],
    where: str,
    parse: Callable[[str, int, str], NDArray[Any]] | None = None,
) -> NDArray[Any]:
    """Parse a line of all trees at once. If something is at fault, parse tree by tree, so that the error names the tree."""
    parse = parse or _parse_integers
    texts = [each[key] for each in pairs]
    if [text.count(" ") + bool(text) for text in texts] == counts:
        try:
            return parse(" ".join(filter(None, texts)), sum(counts), where)
        except BundleRefused:
            pass
    parts = [
        parse(text, count, f"{where}, tree {number}, {key}")
        for number, (text, count) in enumerate(zip(texts, counts, strict=True))
    ]
    return np.concatenate(parts)


def _check_trees(flat: Tree, leaves: Ints, where: str, features: int) -> None:
    """Check the values of all trees, one tree behind the other."""
    tree, leaf_tree = (np.repeat(np.arange(len(leaves)), counts) for counts in (leaves - 1, leaves))

    def check(faulty: Bools, trees: Ints, what: str, expected: str) -> None:
        if faulty.any():
            _refuse(what, f"{where}, tree {trees[faulty][0]}", expected=expected)

    outside = (flat.feature < 0) | (flat.feature >= features)
    check(outside, tree, "a split on a feature that is not there", f"0 to {features - 1}")
    missing = flat.decision >> 2
    strange = ((flat.decision & CATEGORICAL) != 0) | (missing < NO_MISSING) | (missing > NAN_MISSING)
    check(strange, tree, "a kind of split that is not walked here", "numeric splits")
    first = np.array(_list_starts(leaves - 1))
    at = np.arange(len(tree)) - first[tree]
    untrained = (flat.rows < 0) | ((at == 0) & (flat.rows == 0))
    for faulty, trees in ((untrained, tree), (flat.leaf_rows < 0, leaf_tree)):
        check(faulty, trees, "counts of training rows that cannot be", "0 or more, and some in all")
    _check_children(flat.child, leaves, tree, check)
    depth = compute_depths(flat.child, leaves - 1)
    if (deepest := int(depth.max())) > MAX_DEPTH:
        place = f"{where}, tree {depth.argmax()}"
        _refuse("the tree is too deep", place, f"{deepest} splits on a path", f"at most {MAX_DEPTH}")


def _check_children(child: Ints, leaves: Ints, tree: Ints, check: Callable[..., None]) -> None:
    """Check that each leaf, and each split except the first, has one parent, and that a split follows its parent.

    So there is no cycle.
    """
    what, both = "children that do not make a tree", tree[:, None]
    at = np.arange(len(tree)) - np.array(_list_starts(leaves - 1))[tree]
    known = (child >= -leaves[both]) & (child < leaves[both] - 1)
    check(~known.all(axis=1), tree, what, "each split and each leaf once")
    # All nodes of a tree in a row: its leaves, the last one first, and then its splits.
    start = np.array(_list_starts(2 * leaves - 1))
    place = start[both] + leaves[both] + child
    parents = np.bincount(place.ravel(), minlength=start[-1])
    parents[start[:-1] + np.where(leaves > 1, leaves, 0)] += 1
    nodes = np.repeat(np.arange(len(leaves)), 2 * leaves - 1)
    check(parents != 1, nodes, what, "each split and each leaf once")
    early = (child >= 0) & (child <= at[:, None])
    check(early.any(axis=1), tree, what, "each split after its parent")


def _parse_integers(text: str, count: int | None, where: str) -> Ints:
    if not re.fullmatch(r"(-?[0-9]{1,12}( -?[0-9]{1,12})*)?", text):
        _refuse("not whole numbers", where, repr(text))
    values = np.array([int(part) for part in text.split()], dtype=np.int64)
    if count is not None and len(values) != count:
        _refuse("a list of the wrong length", where, len(values), count)
    return values


def _parse_thresholds(text: str, count: int, where: str) -> Floats:
    return _parse_numbers(text, count, where, infinite=True)


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


def compute_depths(child: Ints, splits: Ints) -> Ints:
    """Compute the number of splits on the longest path of each tree.

    Parameters
    ----------
    child : int64 array, (all splits, 2)
        Children of the splits of all trees, tree by tree, as of `Tree`.
    splits : int64 array, (trees,)
        Number of splits of each tree.

    Returns
    -------
    int64 array, (trees,)
    """
    depth = np.zeros(len(splits), dtype=np.int64)
    tree = np.repeat(np.arange(len(splits)), splits)
    first = np.array(_list_starts(splits))
    level = first[:-1][splits > 0]
    while len(level):
        depth[tree[level]] += 1
        below = child[level]
        level = (below + first[tree[level]][:, None])[below >= 0]
    return depth
