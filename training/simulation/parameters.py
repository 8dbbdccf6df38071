"""Parameters of a simulated world: `world.toml` (its numbers), `people.toml` and `goods.toml` (its texts), as types."""

import tomllib
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from consignments.errors import BadInput, BadSetting, FileFault, UnknownName, parse_validation_message
from training.simulation.hard_parameters import (
    DEFAULT_SET,
    HARD,
    SETS_FOLDER,
    HardParameters,
    Pair,
    ParameterTable,
    Shares,
    list_hard_sets,
)

HERE = Path(__file__).parent
Preset = Literal["realistic", "enriched", "operation", "hard"]


class Prevalence(ParameterTable, frozen=True):
    """Prevalence as shares of all consignments, and the share that is inspected."""

    nps: float
    controlled_drugs: float
    other_prohibited: float
    opened: float
    operation_from: float


class MailService(ParameterTable, frozen=True):
    """A service, with the completeness of its advance data; `postage_usd` is (base, for each kilogram)."""

    channel: Literal["postal", "air_cargo"]
    share: float
    ead: float
    hs6: float
    missing_address: float
    transit_h: Pair
    heaviest_kg: float
    postage_usd: Pair
    letters: tuple[str, ...]


class Peak(ParameterTable, frozen=True):
    """Days of the year, `MM-DD`, with more traffic."""

    first: str
    last: str
    height: float


class Calendar(ParameterTable, frozen=True):
    """Factors of the daily volume."""

    weekly: tuple[float, ...]
    peaks: tuple[Peak, ...]

    def get_volume_factor(self, day: date) -> float:
        """Return the factor of one day.

        Examples
        --------
        >>> Calendar((1.0,) * 7, (Peak("12-01", "12-24", 1.2),)).get_volume_factor(date(2024, 12, 5))
        1.2
        """
        held = [peak.height for peak in self.peaks if peak.first <= f"{day:%m-%d}" <= peak.last]
        return self.weekly[day.weekday()] * max(held, default=1.0)


class Entities(ParameterTable, frozen=True):
    """Senders and consignees."""

    shippers_per_1k: float
    shipper_zipf: float
    shipper_types: Shares
    shipper_turnover: float
    private_again: float
    private_known: float
    consignees_per_1k: float
    consignee_zipf: float
    consignee_types: Shares
    new_consignees: float
    newcomers_stay: float
    origins: Shares
    offence_shape: float
    shared_contact: float
    virtual_addresses: int


class DeclarationParameters(ParameterTable, frozen=True):
    """Style and completeness of declarations."""

    native_text: float
    typo: float
    vague: float
    admin: float
    upper: float
    detail: float
    several: float
    zero_or_one_value: float
    value_spread: float
    weight_spread: float
    typed_from_label: float
    email: float
    phone: float
    consignee_phone: float
    account: Shares
    bad_check_digit: float
    cancelled: float
    abroad: float
    usd_per: Shares
    consolidated: float
    houses: int


class Spelling(ParameterTable, frozen=True):
    """Probabilities that a party is written differently than usual."""

    case: float
    script: float
    short: float
    typo: float
    order: float


class SignRates(ParameterTable, frozen=True):
    """Probability of each sign for a positive and for a negative; likelihood ratios of 2 to 10."""

    hs_mismatch: Pair
    value_out_of_class: Pair
    name_mismatch: Pair
    detour: Pair
    premium_for_low_value: float
    split_same_day: Pair
    cues: Pair
    crypto: Pair
    gift: Pair
    hubs: tuple[str, ...]


class NetworkKind(ParameterTable, frozen=True):
    """A kind of trafficking network; `log_grams` is (mean, sd) of the logarithm of grams."""

    n: int
    share: float
    origins: Shares
    services: Shares
    log_grams: Pair
    repeat_days: float
    drop: float
    clean: float
    sender: str
    customers: str
    regulars: float
    covers: Shares
    families: int

    def replace_tables(self, origins: Shares, services: Shares, covers: Shares) -> Self:
        """Return the kind with other tables; an empty table changes nothing."""
        given = {"origins": origins, "services": services, "covers": covers}
        return msgspec.structs.replace(self, **{name: table for name, table in given.items() if table})


class Trafficking(ParameterTable, frozen=True):
    """Habits that all networks share."""

    identities: float
    known_customers: float
    customer_types: Shares
    shared_contact: float
    young_account: float
    borrowed_name: float
    foreign_front: float
    through_sellers: float
    repeat_habit: float
    usual_sender: float
    other_cover: float


class Adversary(ParameterTable, frozen=True):
    """Reactions of networks; `log_lag_days` is (mean, sd) of the logarithm of days."""

    p_change: float
    log_lag_days: Pair
    exploration: float
    channel_shift: float
    rotation: float
    keep_contact: float


class ClassControl(ParameterTable, frozen=True):
    """Control of a family in the country of production: its volume falls, and a substitute replaces it."""

    day: int
    family: str
    volume: float
    over: int
    substitute: str
    substitute_family: str


class NewSubstance(ParameterTable, frozen=True):
    """A substance that is on no list yet."""

    day: int
    family: str
    name: str
    over: int


class OriginShift(ParameterTable, frozen=True, rename={"source": "from"}):
    """Move of the producers of a family."""

    day: int
    family: str
    source: str
    to: str


class CoverShift(ParameterTable, frozen=True, rename={"source": "from"}):
    """Replacement of a cover by another."""

    day: int
    source: str
    to: str


class DataOutage(ParameterTable, frozen=True):
    """Failure of advance data for some days."""

    day: int
    service: str
    ead: float
    days: int


class TrendEvents(ParameterTable, frozen=True):
    """Trend events of the world, by days from its start."""

    class_control: ClassControl
    new_substance: NewSubstance
    origin_shift: OriginShift
    cover_shift: CoverShift
    data_outage: DataOutage


class Operation(ParameterTable, frozen=True):
    """The operation: time, length, additional capacity, number of alerts and of newsletters."""

    name: str
    day: int
    days: int
    capacity: float
    alerts: int
    newsletters: int
    false_alerts: float
    expires_after: int


class RuleParameters(ParameterTable, frozen=True):
    """Signs of the rules, with their weights."""

    watched: float
    offender: float
    alert: float
    xray: float
    substance: float
    chemical: float
    powder_to_person: float
    vague: float
    no_hs: float
    no_sender: float
    young_account: float
    box_or_forwarder: float
    source_country: float
    cheap_premium: float
    crypto: float
    hs_chapter: float
    prone_goods: float
    source_countries: tuple[str, ...]
    chemical_words: tuple[str, ...]
    prone_words: tuple[str, ...]


class InspectionParameters(ParameterTable, frozen=True):
    """Selection for inspection, and the probability of detection."""

    random_share: float
    rules_only_days: int
    officer_share: float
    model_share: float
    override: float
    officer_auc: float
    officer_bias: Shares
    xray_share: float
    xray_hits: Shares
    tips: Shares
    missed: float
    detection: Shares
    open_hours: Pair
    rules: RuleParameters


class PresumptiveTest(ParameterTable, frozen=True):
    """The field test, which decides what goes to the laboratory."""

    log_hours: Pair
    sensitivity: float
    specificity: float
    unknown_if_new: float
    tested_if_clean: float
    doubted: Shares


class Laboratory(ParameterTable, frozen=True):
    """Delay and reliability of laboratory results; logarithms of days or hours as (mean, sd)."""

    presumptive: PresumptiveTest
    log_days: Pair
    new_substance: float
    never: float
    corrected: float
    plain_log_hours: Pair


class Firms(ParameterTable, frozen=True):
    """Words of which firms' names are composed."""

    words: tuple[str, ...]
    trades: tuple[str, ...]
    chemical_trades: tuple[str, ...]
    forwarder_trades: tuple[str, ...]
    couriers: tuple[str, ...]
    declarants: tuple[str, ...]
    buildings: tuple[str, ...]


class Culture(ParameterTable, frozen=True):
    """Style of persons, firms and addresses of a culture; the native lists are in the order of the Latin ones."""

    family: tuple[str, ...]
    given: tuple[str, ...]
    suffixes: tuple[str, ...]
    streets: tuple[str, ...]
    address: str
    cities: tuple[str, ...]
    postcode: str
    mobile: str
    family_first: bool = False
    family_native: tuple[str, ...] = ()
    given_native: tuple[str, ...] = ()
    streets_native: tuple[str, ...] = ()
    cities_native: tuple[str, ...] = ()
    address_native: str = ""


class Country(ParameterTable, frozen=True):
    """A country of dispatch."""

    culture: str
    airport: str
    impc: str
    dial: str
    currency: str
    post: str
    airline: str
    prefix: str
    languages: tuple[str, ...]


class People(ParameterTable, frozen=True):
    """The texts of `people.toml`."""

    firms: Firms
    cultures: dict[str, Culture]
    countries: dict[str, Country]


class GoodsClass(ParameterTable, frozen=True):
    """One class of goods; `kg` and `usd_per_kg` are medians."""

    share: float
    hs: tuple[str, ...]
    kg: float
    usd_per_kg: float
    offence: float
    en: tuple[str, ...]
    ko: tuple[str, ...]
    zh: tuple[str, ...]
    es: tuple[str, ...]
    nl: tuple[str, ...]
    de: tuple[str, ...]
    cues: tuple[str, ...] = ()
    powder: bool = False
    languages: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def get_phrases(self, language: str) -> tuple[str, ...]:
        """Return its descriptions in a language, or those in English if it has none."""
        if language in self.languages:
            return self.languages[language]
        found: tuple[str, ...] = getattr(self, language, self.en)
        return found


class Cover(ParameterTable, frozen=True):
    """Declared goods of a positive, and how it is concealed."""

    hidden: str
    wares: tuple[str, ...]


class SubstanceFamily(ParameterTable, frozen=True):
    """A family of substances: its share of positives, its honest HS code, the names in use."""

    share: float
    names: tuple[str, ...]
    hs: str = ""


class Offences(ParameterTable, frozen=True):
    """Other prohibited goods."""

    names: tuple[str, ...]


class DeclarationWords(ParameterTable, frozen=True):
    """Words of declarations that do not depend on the goods."""

    vague: tuple[str, ...]
    vague_by_language: dict[str, tuple[str, ...]]
    admin: tuple[str, ...]
    details: tuple[str, ...]
    habits: tuple[str, ...]


class GoodsTexts(ParameterTable, frozen=True):
    """The texts of `goods.toml`."""

    ordinary: dict[str, GoodsClass]
    hard_negatives: dict[str, GoodsClass]
    covers: dict[str, Cover]
    substances: dict[str, SubstanceFamily]
    controlled_drugs: dict[str, SubstanceFamily]
    offences: Offences
    words: DeclarationWords


class SimulationParameters(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    dict=True,
    rename={"people_changes": "people", "goods_changes": "goods"},
):
    """All parameters of a simulated world.

    `arrival_places` are the exchange office and the airport of each office of arrival. `people` and `goods` in a file replace
    single entries of the files with these names. Only a hard world has `hard`.
    """

    start: date
    prevalence: dict[Preset, Prevalence]
    destination: str
    services: dict[str, MailService]
    arrival_places: dict[str, tuple[str, str]]
    offices: dict[str, Shares]
    calendar: Calendar
    entities: Entities
    declarations: DeclarationParameters
    spelling: Spelling
    tells: SignRates
    networks: dict[str, NetworkKind]
    trafficking: Trafficking
    adversary: Adversary
    events: TrendEvents
    operation: Operation
    inspection: InspectionParameters
    laboratory: Laboratory
    people_changes: dict[str, Any] = msgspec.field(default_factory=dict)
    goods_changes: dict[str, Any] = msgspec.field(default_factory=dict)
    hard: HardParameters | None = None

    @cached_property
    def people(self) -> People:
        """The texts of persons, firms and places."""
        return msgspec.convert(_merge(_read_toml(HERE / "people.toml"), self.people_changes), People)

    @cached_property
    def goods(self) -> GoodsTexts:
        """The texts of goods and substances."""
        return msgspec.convert(_merge(_read_toml(HERE / "goods.toml"), self.goods_changes), GoodsTexts)

    def get_preset(self, name: str) -> Prevalence:
        """Return one preset of prevalence by its name; `hard:SET` is the one of the loaded set."""
        preset = name.partition(":")[0]
        if preset not in self.prevalence:
            raise UnknownName.from_candidates(name, self.prevalence, kind="prevalence")
        return self.prevalence[preset]

    def compute_operation_day(self, days: int, preset: Prevalence) -> int:
        """Return the day from the start on which the operation begins in a world of `days` days."""
        return min(self.operation.day, int(days * preset.operation_from))


def load_parameters(path: Path | None = None, preset: str = "") -> SimulationParameters:
    """Read the parameters of a world.

    Parameters
    ----------
    path : Path, optional
        A TOML file whose tables replace entries of the default world.
    preset : str
        `hard:SET` loads the tables of that set, and the file's replace them; `hard` loads the first set; other names change nothing.

    Raises
    ------
    FileFault
        If the file is missing or is not TOML.
    BadSetting
        For an unknown name or a value of the wrong kind.
    UnknownName
        For an unknown set of `hard`.

    Examples
    --------
    >>> load_parameters().laboratory.never
    0.04
    """
    values = _read_toml(HERE / "world.toml")
    if preset.partition(":")[0] == HARD:
        values = _lay_over(values, _read_toml(_find_set(preset)))
    if path is not None:
        values = _merge(values, _read_toml(path))
    try:
        return msgspec.convert(values, SimulationParameters)
    except msgspec.ValidationError as error:
        place, fault = parse_validation_message(str(error))
        raise BadSetting(
            f"bad parameter of the simulated world: {fault}",
            where=f"{path}, {place}",
            todo="compare with training/simulation/world.toml",
        ) from error


def _find_set(preset: str) -> Path:
    name = preset.partition(":")[2] or DEFAULT_SET
    if name not in list_hard_sets():
        raise UnknownName.from_candidates(name, list_hard_sets(), kind="set of hard")
    return SETS_FOLDER / f"{name}.toml"


def _lay_over(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge a set after removing the tables that its `replaced` names, since shares of a whole cannot be mixed."""
    changes = dict(changes)
    for dotted in changes.pop("replaced", ()):
        *folders, last = dotted.split(".")
        table = values
        for folder in folders:
            table = table[folder]
        del table[last]
    return _merge(values, changes)


def check_size(days: int, per_day: int) -> None:
    """Check that a world has days and traffic."""
    if days < 1 or per_day < 1:
        raise BadInput(
            "a world needs days and traffic",
            got=f"{days} days, {per_day} a day",
            expected="1 or more of both",
        )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFault(
            "cannot be read", where=str(path), got=error.strerror or "", todo="check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFault("not a TOML file", where=str(path), got=str(error)) from error


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merge(base[name], changes[name])
        for name in base.keys() & changes.keys()
        if isinstance(base[name], dict) and isinstance(changes[name], dict)
    }
    return base | changes | both
