"""Sources of the pages: the event log of one service, the keys to read it, and values that are read in the background."""

from consignments.errors import BadSetting
from consignments.exchange.folder_names import KEYS_FOLDER
from consignments.records import Consignment
from features.history.data_keys import read_data_keys
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKeys
from features.links.trace import LinkTable
from operation.day_list import DayLists
from operation.desk.acts import PLAIN
from operation.desk.background import BackgroundValue, BackgroundValues
from operation.hunts.hunt import Hunt
from operation.hunts.logged import LogHunter
from operation.logged_links import LoggedLinks
from operation.yields import LoggedYields
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader
from serving.process.settings import Settings
from serving.scoring.loaded_model import PastModels

MAX_HUNTS, MAX_COMMON = 8, 20
"""Maximum numbers of hunts, and of consignments with their frequent indicators, that are kept."""


class PageNotFound(Exception):
    """There is no such consignment for this viewer."""


class PageSources:
    """The sources of all pages; `keys` are those of the exchange directory, and `key_fault` says why they could not be read again."""

    def __init__(self, settings: Settings) -> None:
        self.settings, url = settings, settings.database_url
        self.own = Pseudonyms(read_data_keys(settings.data_key_file).pseudonyms)
        self.log = LogReader.open_to_read(url)
        self.lists = DayLists(self.log, PLAIN)
        self.keys, self.key_fault = OperationKeys(), ""
        self.models = PastModels(settings.state_dir)
        self.links = BackgroundValue(self._read_links)
        self.yields = BackgroundValue(LoggedYields(url, self.load_entries, self.keys).read)
        self.hunter = LogHunter(settings)
        self.hunts: BackgroundValues[tuple[str, bool], Hunt | None] = BackgroundValues(MAX_HUNTS)
        self.common: BackgroundValues[tuple[str, ...], frozenset[str]] = BackgroundValues(MAX_COMMON)
        self._entries: EventCodec | None = None
        self._table: LinkTable | None = None

    def open_entries(self) -> EventCodec:
        """Return a codec that decrypts; its vault reads the file of the data keys again by itself."""
        if self._entries is None:
            self._entries = EventCodec(self._load_vault(), Consignment, ())
        return self._entries

    def load_entries(self) -> EventCodec:
        """Load a codec of its own for a background thread, and the operation keys that are new."""
        try:
            self.keys.update(OperationKeys.read_folder(self.settings.exchange_dir / KEYS_FOLDER))
            self.key_fault = ""
        except BadSetting as fault:  # the keys that were read before stay in use, as in the service
            self.key_fault = fault.what
        return EventCodec(self._load_vault(), Consignment, ())

    def _load_vault(self) -> Vault:
        vault = Vault.load(self.settings.data_key_file)
        check_vault(self.log, vault)
        return vault

    def _read_links(self) -> LinkTable:
        """Read the link table up to the last entry, of earlier consignments only once."""
        with LogReader.open_to_read(self.settings.database_url) as log:
            self._table = LoggedLinks(log, self._load_vault(), self.own).read(known=self._table)
        return self._table
