"""The bundle: written whole, loaded only where every byte is as it was written."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.cases import DATA, read_cases
from support.small_model import SPEC, make_rows, small_model

from consignments.errors import BundleRefused, FileFault
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from models.bundle import MANIFEST, Bundle, ModelCard, SelfTestExamples, load_bundle, write_bundle
from models.calibration import Calibration
from models.reasons.ranking import Reason
from models.risk_model import RiskModel
from models.traffic_profile import ReferenceProfile

DATA_SUM, SPEC_SUM = "ab" * 32, SPEC.compute_digest()
CARD = ModelCard("nps-risk", "nps", "2024-06-01T00:00:00Z", DATA_SUM, "0.1.0", SPEC_SUM)
CONFIG = FeatureConfig(ExtraColumns(numeric=("tax_rate",)), HistoryKeys((("hs_code", "route"),)))
FITTED = {"vocabularies": {"carrier": ["royal mail", "ems"]}, "norms": {"61": [1.5, 0.25]}}
ARRAYS = {
    "text_weights": np.linspace(-1, 1, 64, dtype=np.float32),
    "rate_days": np.arange(3, dtype=np.int64),
    "rate_currencies": np.array(["EUR", "KRW"]),
    "rates": np.array([[1.1, np.nan], [1.2, 0.5]]),
}
FILE_NAMES = """
bands.json calibration.json example_rows.npy examples.json features.json manifest.json model.json rate_currencies.npy
rate_days.npy rates.npy reference.json text_weights.npy trees.txt
"""
FILES = FILE_NAMES.split()
REFERENCE = msgspec.json.decode((DATA / "bundle_reference.json").read_bytes(), type=ReferenceProfile)


def write(directory: Path, **changes: Any) -> str:
    rows = make_rows(9, 40)
    parts: dict[str, Any] = {
        "card": CARD,
        "config": CONFIG,
        "fitted": FITTED,
        "arrays": ARRAYS,
        "model": small_model(),
        "examples": SelfTestExamples.compute(small_model(), rows.X, rows.channels),
        "reference": REFERENCE,
    }
    return write_bundle(directory, Bundle(**(parts | changes)))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "bundle"
    write(folder)
    return folder


@pytest.fixture
def directory(template: Path, tmp_path: Path) -> Path:
    """A copy of the written bundle, which a test may damage."""
    return Path(shutil.copytree(template, tmp_path / "bundle"))


def explain_all(model: RiskModel) -> list[Reason]:
    return model.explain(make_rows(10, 1).X[0], len(SPEC), lowering=True)


def test_what_was_written_is_what_is_loaded(directory: Path) -> None:
    bundle, rows = load_bundle(directory), make_rows(10, 200)
    assert (bundle.card.target, bundle.card.feature_spec_sha256) == ("nps", SPEC.compute_digest())
    assert (bundle.config, bundle.fitted, bundle.reference) == (CONFIG, FITTED, REFERENCE)
    assert bundle.spec.features == SPEC.features
    assert (bundle.model.calibration, bundle.model.bands) == (small_model().calibration, small_model().bands)
    assert sorted(bundle.arrays) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert bundle.arrays[name].dtype == array.dtype
        assert bundle.arrays[name].tobytes() == array.tobytes()
        assert bundle.arrays[name].flags.writeable
    bundle.run_self_test()
    scores = [model.score(rows.X, rows.channels).tobytes() for model in (bundle.model, small_model())]
    assert scores[0] == scores[1]
    assert explain_all(bundle.model) == explain_all(small_model())


def test_a_bundle_holds_data_only_and_names_no_module(template: Path) -> None:
    assert sorted(path.name for path in template.iterdir()) == FILES
    code = rb"\b(models|consignments|features)\.(?!json)|pickle|num_threads"
    assert not [path for path in template.iterdir() if re.search(code, path.read_bytes())]


def test_reasons_compare_with_what_was_usual_in_the_reference(tmp_path: Path) -> None:
    usual = {"0": {name: [0.0, 0.5, 1.0] for name in SPEC.names}}
    write(tmp_path / "bundle", reference=msgspec.structs.replace(REFERENCE, usual=usual))
    model = load_bundle(tmp_path / "bundle").model
    reasons = explain_all(model.replace_spec(SPEC))
    assert reasons == explain_all(model)
    assert 0.5 in [fact.usual for reason in reasons for fact in reason.facts]


def test_a_bundle_may_carry_no_reference(tmp_path: Path) -> None:
    write(tmp_path / "bundle", reference=None)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.reference is None
    bundle.run_self_test()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_altered_missing_cut_or_longer_is_refused(directory: Path, name: str) -> None:
    path = directory / name
    data = path.read_bytes()
    flips = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in (0, len(data) // 2, len(data) - 1)]
    for changed in (*flips, data[:-1], data + b" ", data + b"\n", b""):
        path.write_bytes(changed)
        with pytest.raises(BundleRefused):
            load_bundle(directory)
    path.unlink()
    with pytest.raises(BundleRefused):
        load_bundle(directory)


@pytest.mark.parametrize("name", ["evil.py", "other.json", "..npy", "Rates.npy", ".hidden", "extra.npy"])
def test_an_unknown_file_is_refused(directory: Path, name: str) -> None:
    (directory / name).write_bytes((directory / "rates.npy").read_bytes())
    with pytest.raises(BundleRefused, match=r"not a plain file of a bundle|not those of the manifest"):
        load_bundle(directory)


def test_links_and_folders_are_refused(directory: Path) -> None:
    trees, outside = directory / "trees.txt", directory.parent / "trees.txt"
    trees.rename(outside)
    for create in (lambda: trees.symlink_to(outside), trees.mkdir):
        create()
        with pytest.raises(BundleRefused, match="not a plain file"):
            load_bundle(directory)
        if trees.is_symlink():
            trees.unlink()


def test_where_there_is_no_bundle_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="nowhere: the bundle cannot be read"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleRefused, match="incomplete"):
        load_bundle(tmp_path)


def forge(directory: Path, name: str, data: bytes) -> None:
    """Replace a file and correct the manifest, as one who means harm would."""
    (directory / name).write_bytes(data)
    manifest = json.loads((directory / MANIFEST).read_bytes())
    manifest["files"][name] = hashlib.sha256(data).hexdigest()
    encoded = msgspec.json.encode(manifest, order="sorted")
    (directory / MANIFEST).write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


def test_a_bundle_trained_with_another_wording_speaks_the_words_of_this_version(directory: Path) -> None:
    table = json.loads((directory / "features.json").read_bytes())
    table["spec"][0]["text"] = "Of old this was said: {value}"
    forge(directory, "features.json", msgspec.json.encode(table))
    bundle = load_bundle(directory)
    bundle.run_self_test()
    assert "Of old this was said" in str(explain_all(bundle.model))
    assert explain_all(bundle.model.replace_spec(SPEC)) == explain_all(small_model())


def test_a_bundle_of_another_format_is_refused_by_its_number(directory: Path) -> None:
    manifest = json.loads((directory / MANIFEST).read_bytes()) | {"format": 3}
    (directory / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    said = "another format; got 3; expected 4; train the model again with this"
    with pytest.raises(BundleRefused, match=said):
        load_bundle(directory)


def header(shape: str, descr: str = "<f4", fortran: bool = False) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


MORE = msgspec.json.encode(msgspec.to_builtins(CARD) | {"metrics": {}})
ARRAY_FILES = {
    "not a plain array": [
        header("(1,)", ">f4") + b"\0" * 4,
        header("(2, 2)", fortran=True) + b"\0" * 16,
        header("(9,)", "<U0"),
        header("(1,)") + b"\0" * 5,
    ],
    "not an array": [
        header("(1000000000000,)"),
        header("(-1, -1)") + b"\0\0\0\0",
        header("(1,)", "|O") + b"\0" * 8,
        header("(0, 99999999999999999999)"),
        header("(__import__('os'),)"),
        b"\x80\x04.",
        *(header(shape) for shape in ("((", "{[]: 1}", "(" * 3000)),
    ],
}
HOSTILE = [
    *(("text_weights.npy", data, said) for said, files in ARRAY_FILES.items() for data in files),
    ("example_rows.npy", header("(1, 3)") + b"\0" * 12, "do not fit together"),
    ("examples.json", b'{"channels": [], "raw": [], "probability": []}', "do not fit together"),
    ("model.json", b"{}", "cannot be read"),
    ("model.json", MORE, "unknown field `metrics`"),
    ("features.json", b'{"config": {}, "spec": [], "fitted": {}, "version": 3}', "not those of the card"),
    ("model.json", b"[" * 100_000, "cannot be read"),
    ("bands.json", b'{"high": 0.5, "elevated": 0.1, "loader": "os"}', "cannot be read"),
    ("calibration.json", b'{"slope": -1, "intercept": 0, "channels": {}}', "cannot be read"),
    ("reference.json", b"{}", "cannot be read"),
    *(("trees.txt", data, "not the text of a LightGBM model") for data in (b"\xff\xfe", b"tree\n")),
]


@pytest.mark.parametrize(("name", "data", "said"), HOSTILE, ids=[f"{n} {d[:30]!r}" for n, d, _ in HOSTILE])
def test_hostile_content_is_refused_with_right_sums(
    directory: Path, name: str, data: bytes, said: str
) -> None:
    forge(directory, name, data)
    with pytest.raises(BundleRefused, match=said):
        load_bundle(directory)


@pytest.mark.parametrize("change", read_cases("reference_misfits"))
def test_a_reference_of_other_features_is_refused(directory: Path, change: dict[str, Any]) -> None:
    """Each line has too few features, bins, counts or means, or other features."""
    forge(directory, "reference.json", msgspec.json.encode(msgspec.structs.replace(REFERENCE, **change)))
    with pytest.raises(BundleRefused, match="does not fit"):
        load_bundle(directory)


@pytest.mark.parametrize(
    ("name", "before", "move", "said"),
    [
        ("examples.json", r'"raw": \[\s*', lambda number: repr(float(np.nextafter(number, 9.0))), ""),
        ("examples.json", r'"probability": \[\s*', lambda number: repr(float(np.nextafter(number, 9.0))), ""),
        ("trees.txt", "leaf_value=", lambda number: repr(number + 1), ": another raw score"),
    ],
    ids=["a raw score of another last digit", "a probability of another last digit", "a leaf that was moved"],
)
def test_the_self_test_finds(
    directory: Path, name: str, before: str, move: Callable[[float], str], said: str
) -> None:
    text = (directory / name).read_text()
    found = re.search(rf"{before}([-.e\d]+)", text)
    number = found.group(1)
    moved = move(float(number))
    if name == "trees.txt":
        moved = moved[: len(number)].ljust(len(number), "0")
    forge(directory, name, (text[: found.start(1)] + moved + text[found.end(1) :]).encode())
    bundle = load_bundle(directory)
    with pytest.raises(BundleRefused, match=f"the self-test failed{said}"):
        bundle.run_self_test()


def test_a_directory_that_exists_is_never_written_over(directory: Path) -> None:
    before = (directory / MANIFEST).read_bytes()
    with pytest.raises(FileFault, match="exists already"):
        write(directory)
    assert (directory / MANIFEST).read_bytes() == before


BAD_PARTS = [
    ({"card": msgspec.structs.replace(CARD, target="anything")}, BundleRefused, "cannot be read"),
    ({"fitted": {"norms": {"61": [float("nan")]}}}, BundleRefused, "JSON does not keep"),
    ({"fitted": {"norms": (1, 2)}}, BundleRefused, "JSON does not keep"),
    ({"arrays": {"../evil": np.zeros(1)}}, BundleRefused, "bad name"),
    ({"arrays": {"example_rows": np.zeros(1)}}, BundleRefused, "name of the examples"),
    ({"arrays": {"objects": np.array([{}], dtype=object)}}, ValueError, "Object arrays"),
    ({"model": Calibration(1.0, 0.0, {})}, BundleRefused, "the self-test failed: another probability"),
]


@pytest.mark.parametrize(("change", "error", "said"), BAD_PARTS, ids=[said for _, _, said in BAD_PARTS])
def test_unfit_parts_leave_nothing_behind(
    tmp_path: Path, change: Any, error: type[Exception], said: str
) -> None:
    if "model" in change:
        model = small_model()
        change = {"model": RiskModel(model.trees, change["model"], model.bands, model.spec)}
    with pytest.raises(error, match=said):
        write(tmp_path / "bundle", **change)
    assert [*tmp_path.iterdir()] == []
