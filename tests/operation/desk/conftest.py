"""A partner of an operation for the pages that show its messages, keys that no test leaves to the next, and pages without a process."""

from collections.abc import Iterator

import pytest
from support.partner import ExchangePartner

from features.indicators.operation_keys import OperationKeys, install_keys
from operation.desk.messages import PageAnswer, PageRequest, decode_answer, decode_request, encode
from operation.desk.page_process import PageProcess
from operation.desk.views.renderer import render_page
from operation.desk.views.sources import PageSources


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> ExchangePartner:
    return ExchangePartner(tmp_path_factory.mktemp("partner"))


@pytest.fixture(scope="module")
def pages_here() -> Iterator[None]:
    """Render pages in a thread of this process; `test_page_process` and `test_browser` start the process that does it."""
    read: dict[PageProcess, PageSources] = {}

    def render(process: PageProcess, request: PageRequest) -> PageAnswer:
        if process not in read:
            read[process] = PageSources(process._settings)
            install_keys(read[process].keys)
        return decode_answer(encode(render_page(read[process], decode_request(encode(request)))))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PageProcess, "_exchange", render)
        yield
    for each in read.values():
        each.log.close()
    install_keys(OperationKeys())
