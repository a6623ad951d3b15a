"""What the driver sees and stops: consents, objections, who looked."""

import queue
import threading

import grpc
import pytest

import asks
import deployment as d
import shows
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import contract_pb2 as c
from drivegate.v1 import presentation_pb2 as p
from drivegate.v1 import presentation_service_pb2 as w
from drivegate.v1 import subject_pb2 as s
from drivers import UNKNOWN, driver
from outcomes import assert_refused, refused

CODE = grpc.StatusCode
NORMAL, OTHER = driver("1"), driver("9")


@pytest.fixture
def own(house):
    house.serve()
    return house


def test_a_withdrawn_consent_bites_on_the_next_request_and_on_replays(own):
    wallet, recruiter = own.wallet("wallet-demo"), own.partner("recruiter-demo")
    request = asks.recruitment(NORMAL)
    request.request_id = "rq-withdrawn-1"
    first = recruiter.Verify(request, timeout=5)
    assert recruiter.Verify(request, timeout=5).replayed
    listed = shows.consents(wallet, NORMAL)
    assert len(listed.consents) == 1 and not listed.objections
    consent = listed.consents[0]
    assert consent.partner.partner_id == "recruiter-demo" and consent.partner.legal_name and consent.purpose == c.PURPOSE_RECRUITMENT
    assert consent.notice_version == "2026-03" and consent.evidence_sha256 == b"\x5a" * 32 and not consent.HasField("withdrawn_at")
    withdraw = w.WithdrawConsentRequest(holder=shows.holder(NORMAL), consent_id=consent.consent_id)
    since = wallet.WithdrawConsent(withdraw, timeout=5).withdrawn_at
    assert wallet.WithdrawConsent(withdraw, timeout=5).withdrawn_at == since, "safe to repeat"
    for again in (request, asks.recruitment(NORMAL)):
        assert_refused(refused(recruiter.Verify, again), CODE.PERMISSION_DENIED, "CONSENT_WITHDRAWN")
    assert shows.consents(wallet, NORMAL).consents[0].withdrawn_at == since
    assert recruiter.Verify(asks.recruitment(OTHER), timeout=5).charged, "another driver's consent stands"
    seen = d.eventually(lambda: outcomes(wallet, NORMAL, 3), 5, "the refused look-up is listed")
    assert seen[0] == p.ACCESS_OUTCOME_CONSENT_WITHDRAWN and first.charged


def outcomes(wallet, who, at_least):
    found = [access.outcome for access in shows.accesses(wallet, who)]
    return found if len(found) >= at_least else None


def test_a_wrong_name_learns_nothing_of_a_withdrawal(own):
    wallet, recruiter = own.wallet("wallet-demo"), own.partner("recruiter-demo")
    object_to = w.ObjectRequest(holder=shows.holder(NORMAL), partner_id="recruiter-demo", purpose=c.PURPOSE_RECRUITMENT)
    wallet.Object(object_to, timeout=5)
    assert_refused(refused(recruiter.Verify, asks.recruitment(NORMAL)), CODE.PERMISSION_DENIED, "CONSENT_WITHDRAWN")
    answer = recruiter.Verify(asks.recruitment(NORMAL.renamed("别人")), timeout=5)
    assert [one.reason for one in answer.criteria] == [a.REASON_SUBJECT_NOT_CONFIRMED]


def test_an_objection_does_not_stop_a_duty_fixed_by_law(own):
    wallet, insurer = own.wallet("wallet-demo"), own.partner("insurer-demo")
    request = w.ObjectRequest(holder=shows.holder(NORMAL), partner_id="insurer-demo", purpose=c.PURPOSE_INSURANCE_CLAIM)
    since = wallet.Object(request, timeout=5).objected_at
    assert wallet.Object(request, timeout=5).objected_at == since
    assert insurer.Verify(asks.insurance_claim(NORMAL), timeout=5).decision == a.DECISION_QUALIFIED
    consented = asks.insurance_claim(NORMAL, ground=asks.consent(), occurred_at=asks.at(asks.days(-11)))
    assert_refused(refused(insurer.Verify, consented), CODE.PERMISSION_DENIED, "CONSENT_WITHDRAWN")
    objections = shows.consents(wallet, NORMAL).objections
    assert [(one.partner.partner_id, one.purpose) for one in objections] == [("insurer-demo", c.PURPOSE_INSURANCE_CLAIM)]


def test_the_driver_sees_every_look_up_and_nothing_of_anybody_else(own):
    wallet = own.wallet("wallet-demo")
    desk, recruiter, insurer = own.partner("rental-demo"), own.partner("recruiter-demo"), own.partner("insurer-demo")
    shown = desk.Verify(shows.rental(NORMAL, shows.qr(wallet, NORMAL).token), timeout=5)
    code = shows.share_code(wallet, NORMAL).code
    shared = recruiter.Verify(shows.recruitment(NORMAL, code), timeout=5)
    claimed = insurer.Verify(asks.insurance_claim(NORMAL), timeout=5)
    missed = desk.Verify(asks.rental(NORMAL.renamed("别人")), timeout=5)
    desk.Verify(asks.rental(OTHER), timeout=5)
    expected = [
        (missed, "rental-demo", a.AUTHORISED_BY_ASSERTED, s.GROUND_KIND_CONTRACT, p.ACCESS_OUTCOME_NOT_CONFIRMED),
        (claimed, "insurer-demo", a.AUTHORISED_BY_ASSERTED, s.GROUND_KIND_LEGAL_DUTY, p.ACCESS_OUTCOME_QUALIFIED),
        (shared, "recruiter-demo", a.AUTHORISED_BY_SHARE_CODE, s.GROUND_KIND_UNSPECIFIED, p.ACCESS_OUTCOME_QUALIFIED),
        (shown, "rental-demo", a.AUTHORISED_BY_QR, s.GROUND_KIND_UNSPECIFIED, p.ACCESS_OUTCOME_QUALIFIED),
    ]
    found = d.eventually(lambda: (lambda seen: seen if len(seen) >= 4 else None)(shows.accesses(wallet, NORMAL, 3)), 5, "four look-ups are listed")
    assert len(found) == 4
    for access, (answer, partner, authorised, ground, outcome) in zip(found, expected):
        assert access.evidence == answer.evidence and access.partner.partner_id == partner and access.partner.legal_name
        assert (access.authorised_by, access.ground, access.outcome) == (authorised, ground, outcome)
        assert access.case_category == "test" and "clerk-17" not in str(access) and "CASE-" not in str(access)
    assert list(found[3].fields) == [a.FIELD_MASKED_NAME] and not list(found[0].fields)
    assert shows.accesses(wallet, OTHER)[0].evidence.entry_index not in {one.evidence.entry_index for one in found}


def test_lists_are_the_wallets_and_the_holders(own):
    wallet = own.wallet("wallet-demo")
    request = w.ListAccessesRequest(holder=shows.holder(NORMAL))
    assert_refused(refused(own.wallet("rental-demo").ListAccesses, request), CODE.PERMISSION_DENIED, "METHOD_NOT_PERMITTED")
    assert_refused(refused(wallet.ListAccesses, w.ListAccessesRequest(holder=shows.holder(UNKNOWN))), CODE.NOT_FOUND, "HOLDER_NOT_KNOWN")
    assert_refused(refused(wallet.ListAccesses, w.ListAccessesRequest(holder=shows.holder(NORMAL), page_token=b"nonsense")), CODE.INVALID_ARGUMENT, "PAGE_TOKEN_NOT_KNOWN")
    assert_refused(refused(wallet.ListAccesses, w.ListAccessesRequest(holder=shows.holder(NORMAL), page_size=1000)), CODE.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    desk = own.partner("rental-demo")
    for _ in range(3):
        desk.Verify(asks.rental(NORMAL), timeout=5)
    d.eventually(lambda: len(shows.accesses(wallet, NORMAL)) == 3, 5, "three look-ups are listed")
    page = wallet.ListAccesses(w.ListAccessesRequest(holder=shows.holder(NORMAL), page_size=1), timeout=5)
    stolen = w.ListAccessesRequest(holder=shows.holder(OTHER), page_token=page.next_page_token)
    assert_refused(refused(wallet.ListAccesses, stolen), CODE.INVALID_ARGUMENT, "PAGE_TOKEN_NOT_KNOWN")
    unknown = w.WithdrawConsentRequest(holder=shows.holder(NORMAL), consent_id=b"\0" * 16)
    assert_refused(refused(wallet.WithdrawConsent, unknown), CODE.NOT_FOUND, "CONSENT_NOT_KNOWN")


def test_a_wallet_is_told_of_look_ups_as_they_come_and_goes_on_where_it_was(own):
    wallet, desk = own.wallet("wallet-demo"), own.partner("rental-demo")
    told: queue.Queue = queue.Queue()

    def watch(token: bytes):
        stream = wallet.WatchAccesses(w.WatchAccessesRequest(resume_token=token))

        def read():
            try:
                for item in stream:
                    told.put(item)
            except grpc.RpcError:
                pass

        threading.Thread(target=read, daemon=True).start()
        return stream

    def next_access():
        while True:
            item = told.get(timeout=15)
            if item.HasField("access"):
                return item

    # The stream stands when its first sign of life came, or its first access.
    stream = watch(b"")
    opening = told.get(timeout=15)
    assert opening.resume_token
    first = desk.Verify(asks.rental(NORMAL), timeout=5)
    item = next_access()
    assert item.access.evidence == first.evidence and item.first_of_partner
    issued = shows.qr(wallet, NORMAL)
    assert item.subject_ref == issued.subject_ref and item.subject_ref != first.subject_ref
    stream.cancel()
    missed = [desk.Verify(asks.rental(NORMAL), timeout=5).evidence.entry_index for _ in range(2)]
    stream = watch(item.resume_token)
    again = [next_access() for _ in range(2)]
    assert [one.access.evidence.entry_index for one in again] == missed and not any(one.first_of_partner for one in again)
    stream.cancel()
