"""The bundle: a model as a directory of text, JSON and plain arrays, without pickle; files are verified before they are parsed.

`manifest.json` lists every file with its SHA-256. The SHA-256 of the manifest is that of the bundle.
"""

import hashlib
import io
import os
import re
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused, FileFault
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from consignments.records import Target
from features.config import FeatureConfig
from features.spec import Feature, Spec
from models.arrays import Floats, Rows
from models.bands import Bands
from models.calibration import Calibration, CalibrationLevel
from models.reasons.sentences import ReasonContext
from models.risk_model import RiskModel
from models.traffic_profile import ReferenceProfile
from models.trees import Trees

FORMAT_VERSION = 4
MANIFEST, CARD, FEATURES, TREES = "manifest.json", "model.json", "features.json", "trees.txt"
CALIBRATION, BANDS, EXAMPLES = "calibration.json", "bands.json", "examples.json"
REFERENCE = "reference.json"  # the only optional file of a bundle
EXAMPLE_ROWS = "example_rows"  # array of the examples' features; the others are of fitted ones
NAMED_FILES = {CARD, FEATURES, TREES, CALIBRATION, BANDS, EXAMPLES, f"{EXAMPLE_ROWS}.npy"}
ARRAY_FILE = re.compile(r"[a-z][a-z0-9_]{0,59}\.npy")
ARRAY_KINDS = "biufSU"
MAX_FILES = 64
MAX_BUNDLE_BYTES = 256 * 1024 * 1024
MAX_EXAMPLES = 1000
CONTRIBUTION_TOLERANCE = 1e-9
FETCH_AGAIN = "fetch the bundle again, or train again"

FitKind = Literal["evaluation", "final"]
UNREGISTERED = "unregistered"  # version of a bundle that was not fetched from a registry
T = TypeVar("T")


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The card of a model, without metrics and time of training, so that equal inputs give equal bytes; times are ISO 8601 UTC."""

    name: str
    target: Target
    as_of: str
    data_sha256: str
    code_version: str
    feature_spec_sha256: str
    fit: FitKind = "evaluation"
    positives: int | None = None
    learnt_until: str = ""
    level: CalibrationLevel | None = None


class SelfTestExamples(NamedTuple):
    """The example rows of a bundle, with the raw score by LightGBM and the probability that each must get."""

    X: Rows
    channels: Sequence[str]
    raw: Floats
    probability: Floats

    @classmethod
    def compute(cls, model: RiskModel, X: Rows, channels: Sequence[str]) -> "SelfTestExamples":
        """Compute the expected scores of rows with LightGBM, which must be installed."""
        import lightgbm

        booster = lightgbm.Booster(model_str=model.trees.text)
        raw = np.asarray(booster.predict(X, raw_score=True, num_threads=1), dtype=np.float64)
        return cls(X, channels, raw, model.calibration.calibrate(raw, channels))


@dataclass(frozen=True, kw_only=True, repr=False)
class Bundle:
    """A model with all that scoring needs; `sha256` is empty until it is written, and `reference` does not affect scores."""

    card: ModelCard
    config: FeatureConfig
    fitted: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    model: RiskModel
    examples: SelfTestExamples
    reference: ReferenceProfile | None = None
    sha256: str = ""
    version: str = UNREGISTERED

    def __repr__(self) -> str:
        """Return name, version, date and hash."""
        card = self.card
        return f"<Bundle {card.name}, version {self.version}, {card.fit} fit as of {card.as_of[:10]}, SHA-256 {self.sha256[:12]}>"

    @property
    def spec(self) -> Spec:
        """Return the features of the model, in the order of the row, with the texts of the version that trained it."""
        return self.model.spec

    @property
    def unseen_from(self) -> datetime:
        """Return the time from which arrivals are not in its training data: its `as_of`, or the begin of its test period."""
        if self.card.fit == "final" or self.reference is None:
            return datetime.fromisoformat(self.card.as_of)
        return datetime.fromisoformat(self.reference.first_day).replace(tzinfo=UTC)

    def require_scores_of_lightgbm(self) -> None:
        """Score the examples with LightGBM, which must be installed, and compare the raw scores bit for bit."""
        X, channels, raw, _ = self.examples
        _require_same("raw score by LightGBM", SelfTestExamples.compute(self.model, X, channels).raw, raw)

    def run_self_test(self) -> None:
        """Score the examples again, and compare them with the expected scores bit for bit."""
        X, channels, raw, probability = self.examples
        _require_same("raw score", self.model.trees.predict_raw(X), raw)
        _require_same("probability", self.model.score(X, channels), probability)
        singly = [self.model.score(X[i : i + 1], channels[i : i + 1]) for i in range(len(X))]
        _require_same("probability of a single row", np.concatenate(singly), probability)
        gap = float(np.abs(self.model.trees.compute_contributions(X).sum(axis=1) - raw).max())
        if not gap < CONTRIBUTION_TOLERANCE:
            _refuse("contributions do not add up to the raw score", "examples", got=f"a gap of {gap}")


def write_bundle(directory: Path, bundle: Bundle) -> str:
    """Write a bundle as a new directory, completely or not at all, after it passed its self-test, and return its SHA-256."""
    if directory.exists():
        todo = "choose another directory, or delete it"
        raise FileFault("the directory of the bundle exists already", where=str(directory), todo=todo)
    files = _encode_files(bundle)
    directory.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for name, data in files.items():
            replace_file(part / name, data, PUBLIC_MODE)
        written = load_bundle(part)
        written.run_self_test()
        part.chmod(0o755)
        part.rename(directory)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return written.sha256


def load_bundle(directory: Path) -> Bundle:
    """Load a bundle after verifying the SHA-256 of every file; `BundleRefused` if anything is not as it was written."""
    files = _read_verified_files(directory)
    card = _decode(files[CARD], ModelCard, CARD)
    features = _decode(files[FEATURES], _Features, FEATURES)
    spec = _build_spec(features, card)
    reference = None
    if REFERENCE in files:
        reference = _decode(files[REFERENCE], ReferenceProfile, REFERENCE)
        reference.require_fit(spec, REFERENCE)
    names = [name for name in files if name.endswith(".npy")]
    arrays = {Path(name).stem: _decode_array(files[name], name) for name in names}
    usual = {} if reference is None else reference.usual
    model = RiskModel(
        # The parser refuses what is not its text.
        trees=Trees.from_text(files[TREES].decode(errors="replace"), where=TREES),
        calibration=_decode(files[CALIBRATION], Calibration, CALIBRATION),
        bands=_decode(files[BANDS], Bands, BANDS),
        spec=spec,
        context=ReasonContext(usual, features.fitted.get("vocabularies", {})),
    )
    return Bundle(
        examples=_decode_examples(files[EXAMPLES], arrays.pop(EXAMPLE_ROWS), len(spec)),
        card=card,
        config=features.config,
        fitted=features.fitted,
        arrays=arrays,
        model=model,
        sha256=_sha256(files[MANIFEST]),
        reference=reference,
    )


class _Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `features.json`."""

    config: FeatureConfig
    spec: list[Feature]
    fitted: dict[str, Any]
    version: int


class _ExpectedScores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `examples.json`. Its rows are in an array."""

    channels: list[str]
    raw: list[float]
    probability: list[float]


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `manifest.json`: the SHA-256 of every other file."""

    format: int
    files: dict[str, str]


def _encode_files(bundle: Bundle) -> dict[str, bytes]:
    """Encode all files of a bundle, the manifest with them."""
    spec, examples = bundle.spec, bundle.examples
    expected = _ExpectedScores(list(examples.channels), examples.raw.tolist(), examples.probability.tolist())
    if EXAMPLE_ROWS in bundle.arrays:
        _refuse("an array has the name of the examples", EXAMPLE_ROWS)
    for name in bundle.arrays:
        if not ARRAY_FILE.fullmatch(f"{name}.npy"):
            _refuse("a bad name of an array", repr(name), expected="small letters, digits and _")
    arrays = bundle.arrays | {EXAMPLE_ROWS: np.asarray(examples.X, dtype=np.float32)}
    files = {
        TREES: bundle.model.trees.text.encode(),
        CARD: _encode(bundle.card),
        FEATURES: _encode(_Features(bundle.config, list(spec), bundle.fitted, spec.version)),
        CALIBRATION: _encode(bundle.model.calibration),
        BANDS: _encode(bundle.model.bands),
        EXAMPLES: _encode(expected),
        **{f"{name}.npy": _encode_array(array) for name, array in arrays.items()},
    }
    if bundle.reference is not None:
        files[REFERENCE] = _encode(bundle.reference)
    if _decode(files[FEATURES], _Features, FEATURES).fitted != bundle.fitted:
        _refuse("fitted values that JSON does not keep", FEATURES, expected="no NaN, tuple or numpy number")
    sums = {name: _sha256(data) for name, data in files.items()}
    return files | {MANIFEST: _encode(_Manifest(FORMAT_VERSION, sums))}


def _build_spec(features: _Features, card: ModelCard) -> Spec:
    try:
        spec = Spec(features.spec, features.version)
    except ValueError as error:
        _refuse("a feature spec that cannot be", FEATURES, got=str(error))
    got, expected = spec.compute_digest(), card.feature_spec_sha256
    if got != expected:
        _refuse("the features are not those of the card", FEATURES, got=got[:12], expected=expected[:12])
    return spec


def _decode_examples(data: bytes, rows: NDArray[Any], features: int) -> SelfTestExamples:
    expected = _decode(data, _ExpectedScores, EXAMPLES)
    lengths = {len(rows), len(expected.channels), len(expected.raw), len(expected.probability)}
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != features or len(lengths) != 1:
        _refuse("examples that do not fit together", EXAMPLES, got=f"rows {rows.shape} of {rows.dtype}")
    if not 1 <= len(rows) <= MAX_EXAMPLES:
        _refuse("too many examples or none", EXAMPLES, got=str(len(rows)), expected=f"1 to {MAX_EXAMPLES}")
    return SelfTestExamples(rows, expected.channels, np.array(expected.raw), np.array(expected.probability))


def _require_same(what: str, got: Floats, expected: Floats) -> None:
    if got.tobytes() == expected.tobytes():
        return
    # By bytes, as above: -0.0 equals 0.0.
    row = int(np.flatnonzero(got.view(np.int64) != expected.view(np.int64))[0])
    one, other = repr(got[row]), repr(expected[row])
    _refuse(f"the self-test failed: another {what}", f"example {row}", got=one, expected=other)


def _read_verified_files(directory: Path) -> dict[str, bytes]:
    """Read every file once, and compare names and SHA-256 with the manifest."""
    files = _read_files(directory)
    if absent := sorted((NAMED_FILES | {MANIFEST}) - set(files)):
        _refuse("the bundle is incomplete", str(directory), expected=", ".join(absent))
    manifest = _decode(files[MANIFEST], _Manifest, MANIFEST)
    if manifest.format != FORMAT_VERSION:
        got, expected = str(manifest.format), str(FORMAT_VERSION)
        todo = "train the model again with this version"
        _refuse("a bundle of another format", MANIFEST, got=got, expected=expected, todo=todo)
    # Only this form is accepted, so that every changed byte is detected.
    if _encode(manifest) != files[MANIFEST]:
        _refuse("the manifest was altered", MANIFEST)
    if other := sorted(set(manifest.files) ^ (set(files) - {MANIFEST})):
        _refuse("the files are not those of the manifest", MANIFEST, got=", ".join(other))
    for name, expected in manifest.files.items():
        if (got := _sha256(files[name])) != expected:
            _refuse("the file was altered", name, got=f"sum {got[:12]}", expected=expected[:12])
    return files


def _read_files(directory: Path) -> dict[str, bytes]:
    """Read the plain files with known names, and refuse everything else, including links and folders."""
    files: dict[str, bytes] = {}
    left = MAX_BUNDLE_BYTES
    try:
        for path in sorted(directory.iterdir())[: MAX_FILES + 1]:
            files[path.name] = _read_file(path, left)
            left -= len(files[path.name])
    except OSError as error:
        _refuse("the bundle cannot be read", str(directory), got=str(error))
    if len(files) > MAX_FILES:
        _refuse("too many files", str(directory), expected=f"at most {MAX_FILES}")
    return files


def _read_file(path: Path, most: int) -> bytes:
    """Read one file, without following links, and at most `most` bytes."""
    named = path.name in NAMED_FILES or path.name in (MANIFEST, REFERENCE)
    known = named or ARRAY_FILE.fullmatch(path.name)
    if not known or not stat.S_ISREG(path.lstat().st_mode):
        _refuse("not a plain file of a bundle", str(path), expected="text, JSON, arrays; no links, folders")
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        _refuse("the bundle is too large", str(path), expected=f"at most {MAX_BUNDLE_BYTES} bytes in all")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _encode(value: Any) -> bytes:
    """Encode JSON in the form of bundles: sorted keys, one line per value."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


def _decode(data: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse("a file that cannot be read", name, got=str(error))


def _encode_array(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _decode_array(data: bytes, name: str) -> NDArray[Any]:
    """Decode a plain array, row by row and without anything after it."""
    buffer = io.BytesIO(data)
    try:
        array = np.asarray(np.lib.format.read_array(buffer, allow_pickle=False))
    except Exception as error:
        _refuse("not an array", name, got=str(error) or type(error).__name__)
    is_known = array.dtype.kind in ARRAY_KINDS and array.dtype.isnative and array.dtype.itemsize
    if not is_known or not array.flags.c_contiguous or buffer.read():
        got = f"{array.dtype} {array.shape} in {len(data)} bytes"
        _refuse("not a plain array", name, got=got, expected="numbers or strings")
    return array


def _refuse(what: str, where: str, *, got: str = "", expected: str = "", todo: str = FETCH_AGAIN) -> NoReturn:
    raise BundleRefused(what, where=where, got=got, expected=expected, todo=todo)
