"""Record of who looks at personal fields on a page: an entry of the log, on disk before anything is shown."""

from consignments.identifiers import normalize_identifier
from operation.desk.pages import OfficerPages, Visit
from serving.maintenance.access_log import record_look
from serving.scoring.recording import find_office


async def record_page_look(pages: OfficerPages, visit: Visit, view: str, identifier: str | None) -> bool:
    """Record a look at the personal fields of a page; return False if there is no such consignment for this person."""
    active, name = pages.service.active, None
    if identifier is not None:
        events = await pages.finder.read_events(identifier)
        if not events or not visit.caller.may_see(find_office(events, active.entries)):
            return False
        name = normalize_identifier(identifier)
    await record_look(active, visit.caller.name, visit.person, view, name)
    return True
