"""What a wallet does for a driver, and what a partner then asks. Every builder gives a request that is right."""

import uuid

import asks
from drivegate.v1 import contract_pb2 as c
from drivegate.v1 import presentation_pb2 as p
from drivegate.v1 import presentation_service_pb2 as w
from drivegate.v1 import subject_pb2 as s
from drivegate.v1 import verification_service_pb2 as v

RENTAL = p.Audience(kind=c.PARTNER_KIND_RENTAL)
RECRUITER = p.Audience(kind=c.PARTNER_KIND_RECRUITER)


def holder(driver) -> s.Holder:
    return s.Holder(document_kind=driver.document_kind, licence_number=driver.number)


def qr(wallet, driver, purpose=c.PURPOSE_RENTAL, audience=RENTAL, **more) -> w.IssueQrResponse:
    """A QR code, for a rental desk unless told otherwise; `purpose=None` for police checks and peer scans."""
    terms = {} if purpose is None else dict(purpose=purpose, audience=audience)
    return wallet.IssueQr(w.IssueQrRequest(holder=holder(driver), **terms, **more), timeout=5)


def share_code(wallet, driver, purpose=c.PURPOSE_RECRUITMENT, audience=RECRUITER, **more) -> w.IssueShareCodeResponse:
    request = w.IssueShareCodeRequest(holder=holder(driver), purpose=purpose, audience=audience, **more)
    return wallet.IssueShareCode(request, timeout=5)


def shown(request: v.VerifyRequest, presentation: str, request_id: str | None = None) -> v.VerifyRequest:
    """The same question, about whoever showed this."""
    request.presentation = presentation
    request.request_id = request_id or f"rq-{uuid.uuid4()}"
    return request


def rental(driver, presentation: str, request_id: str | None = None) -> v.VerifyRequest:
    return shown(asks.rental(driver), presentation, request_id)


def recruitment(driver, presentation: str, request_id: str | None = None) -> v.VerifyRequest:
    return shown(asks.recruitment(driver), presentation, request_id)


def peer_scan(driver, scanner, presentation: str) -> v.VerifyRequest:
    request = shown(asks.enforcement(driver), presentation)
    request.peer_scan.scanner.CopyFrom(holder(scanner))
    return request


def accesses(wallet, driver, pages_of: int = 50) -> list[p.Access]:
    """Every access, newest first, page by page."""
    found, page = [], b""
    while True:
        request = w.ListAccessesRequest(holder=holder(driver), page_size=pages_of, page_token=page)
        answer = wallet.ListAccesses(request, timeout=10)
        found.extend(answer.accesses)
        page = answer.next_page_token
        if not page:
            return found


def consents(wallet, driver) -> w.ListConsentsResponse:
    return wallet.ListConsents(w.ListConsentsRequest(holder=holder(driver)), timeout=5)
