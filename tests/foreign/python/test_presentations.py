"""QR codes and share codes, from the wallet to the partner's answer: every good path, every refusal."""

import concurrent.futures
import datetime
import uuid

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import asks
import shows
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import contract_pb2 as c
from drivegate.v1 import presentation_pb2 as p
from drivegate.v1 import presentation_service_pb2 as w
from drivegate.v1 import verification_service_pb2 as v
from drivers import UNKNOWN, driver
from outcomes import assert_refused, refused

CODE = grpc.StatusCode
NORMAL = driver("1")
#: The catalogue's drivers whose e-licence cannot be shown, and why (docs/policy.md).
NOT_SHOWN = [
    ("12", "E_LICENCE_HIDDEN"),
    ("14", "E_LICENCE_HIDDEN"),
    ("18", "E_LICENCE_HIDDEN"),
    ("19", "E_LICENCE_HIDDEN"),
    ("21", "E_LICENCE_VOID"),
    ("26", "E_LICENCE_NOT_ISSUED"),
    ("26-superseded", "E_LICENCE_SUPERSEDED"),
    ("26-photo-withdrawn", "E_LICENCE_WITHDRAWN"),
]
RED = ["11", "15", "17", "23"]


@pytest.fixture(scope="session")
def wallet(gateway):
    return gateway.wallet("wallet-demo")


@pytest.fixture(scope="session")
def wallets_scanner(gateway):
    """Peer scans go over VerificationService, with the wallet's certificate."""
    return gateway.partner("wallet-demo")


def test_a_rental_desk_scans_and_is_answered_without_number_or_name(wallet, rental_desk):
    shown = shows.qr(wallet, NORMAL)
    assert shown.token.startswith("DG1:") and len(shown.token) <= 180
    assert shown.display == a.DISPLAY_NORMAL and not shown.deferred and len(shown.presentation_id) == 16
    alphanumeric = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    assert set(shown.token) <= alphanumeric, "QR's alphanumeric mode"
    answer = rental_desk.Verify(shows.rental(NORMAL, shown.token), timeout=5)
    assert answer.decision == a.DECISION_QUALIFIED and answer.authorised_by == a.AUTHORISED_BY_QR
    assert answer.charged and not answer.replayed and answer.subject_ref
    assert answer.disclosure.masked_name and answer.disclosure.masked_name != NORMAL.name
    claimed = rental_desk.Verify(asks.rental(NORMAL), timeout=5)
    assert claimed.subject_ref == answer.subject_ref and claimed.decision == answer.decision


def test_a_second_scan_is_refused_and_the_same_request_is_not(wallet, rental_desk):
    token = shows.qr(wallet, NORMAL).token
    request = shows.rental(NORMAL, token)
    first = rental_desk.Verify(request, timeout=5)
    again = rental_desk.Verify(request, timeout=5)
    assert again.replayed and again.evidence == first.evidence and again.provenance.observed_at == first.provenance.observed_at
    other = refused(rental_desk.Verify, shows.rental(NORMAL, token))
    assert_refused(other, CODE.FAILED_PRECONDITION, "PRESENTATION_ALREADY_USED")


def test_a_share_code_serves_its_recruiter_as_often_as_the_driver_said(wallet, recruiter):
    shared = shows.share_code(wallet, NORMAL, uses=2, lifetime=Duration(seconds=3600))
    assert shared.uses == 2
    ends = shared.expires_at.ToDatetime(tzinfo=datetime.timezone.utc)
    assert abs((ends - asks.now()).total_seconds() - 3600) < 60
    typed = [shared.code, shared.code.lower().replace("-", " ")]
    for code in typed:
        answer = recruiter.Verify(shows.recruitment(NORMAL, code), timeout=5)
        assert answer.authorised_by == a.AUTHORISED_BY_SHARE_CODE and answer.decision == a.DECISION_QUALIFIED
    third = refused(recruiter.Verify, shows.recruitment(NORMAL, shared.code))
    assert_refused(third, CODE.FAILED_PRECONDITION, "PRESENTATION_ALREADY_USED")


def test_a_code_for_one_partner_is_nobody_elses(gateway, wallet, rental_desk, recruiter):
    own = shows.share_code(wallet, NORMAL, audience=p.Audience(partner_id="recruiter-demo"))
    assert recruiter.Verify(shows.recruitment(NORMAL, own.code), timeout=5).charged
    shared = shows.share_code(wallet, NORMAL)
    found = refused(rental_desk.Verify, shows.rental(NORMAL, shared.code))
    assert_refused(found, CODE.PERMISSION_DENIED, "SHARE_CODE_NOT_ACCEPTED")
    token = shows.qr(wallet, NORMAL, c.PURPOSE_RECRUITMENT, shows.RECRUITER).token
    found = refused(rental_desk.Verify, shows.rental(NORMAL, token))
    assert_refused(found, CODE.PERMISSION_DENIED, "PRESENTATION_NOT_FOR_YOU")
    assert recruiter.Verify(shows.recruitment(NORMAL, token), timeout=5).charged, "a refusal does not spend it"


def test_the_driver_agreed_to_one_purpose(wallet, insurer):
    token = shows.qr(wallet, NORMAL, c.PURPOSE_INSURANCE_PURCHASE, p.Audience(kind=c.PARTNER_KIND_INSURER)).token
    found = refused(insurer.Verify, shows.shown(asks.insurance_claim(NORMAL), token))
    assert_refused(found, CODE.PERMISSION_DENIED, "PRESENTATION_PURPOSE_MISMATCH")
    answer = insurer.Verify(shows.shown(asks.insurance_purchase(NORMAL), token), timeout=5)
    assert answer.disclosure.tenure_band


def test_the_driver_may_keep_the_fields(wallet, rental_desk):
    token = shows.qr(wallet, NORMAL, no_fields=True).token
    request = shows.rental(NORMAL, token)
    request.fields.append(a.FIELD_MASKED_NAME)
    found = assert_refused(refused(rental_desk.Verify, request), CODE.PERMISSION_DENIED, "FIELD_NOT_PERMITTED")
    assert "masked-name" in found.metadata["fields"] or "MASKED_NAME" in found.metadata["fields"]
    del request.fields[:]
    answer = rental_desk.Verify(request, timeout=5)
    assert answer.decision == a.DECISION_QUALIFIED and not answer.disclosure.HasField("masked_name")


def test_a_revoked_presentation_is_refused_on_the_next_request(wallet, rental_desk, recruiter):
    shown, shared = shows.qr(wallet, NORMAL), shows.share_code(wallet, NORMAL, uses=3)
    assert recruiter.Verify(shows.recruitment(NORMAL, shared.code), timeout=5).charged
    for presentation, left, spent in ((shown, 1, 0), (shared, 2, 1)):
        request = w.RevokeRequest(holder=shows.holder(NORMAL), presentation_id=presentation.presentation_id)
        for _ in range(2):
            answer = wallet.Revoke(request, timeout=5)
        assert answer.uses_spent == spent and answer.uses_revoked in (0, left), "safe to repeat"
    found = refused(rental_desk.Verify, shows.rental(NORMAL, shown.token))
    assert_refused(found, CODE.FAILED_PRECONDITION, "PRESENTATION_REVOKED")
    found = refused(recruiter.Verify, shows.recruitment(NORMAL, shared.code))
    assert_refused(found, CODE.FAILED_PRECONDITION, "PRESENTATION_REVOKED")
    strange = w.RevokeRequest(holder=shows.holder(driver("9")), presentation_id=shared.presentation_id)
    assert_refused(refused(wallet.Revoke, strange), CODE.NOT_FOUND, "PRESENTATION_NOT_KNOWN")


def test_of_many_who_scan_at_once_one_is_answered(wallet, gateway):
    token = shows.qr(wallet, NORMAL).token
    desks = [gateway.partner("rental-demo") for _ in range(4)]

    def scan(number):
        try:
            return desks[number % 4].Verify(shows.rental(NORMAL, token), timeout=5)
        except grpc.RpcError as error:
            return error.code()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(scan, range(32)))
    answers = [outcome for outcome in outcomes if isinstance(outcome, v.VerifyResponse)]
    assert len(answers) == 1 and outcomes.count(CODE.FAILED_PRECONDITION) == 31


def test_one_request_sent_many_times_at_once_is_one_answer(wallet, gateway):
    request = shows.rental(NORMAL, shows.qr(wallet, NORMAL).token)
    desks = [gateway.partner("rental-demo") for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: desks[number % 4].Verify(request, timeout=5), range(16)))
    assert len({answer.evidence.entry_index for answer in answers}) == 1
    assert sum(answer.charged for answer in answers if not answer.replayed) == 1


def test_what_is_not_ours_is_refused_before_anything_is_looked_up(wallet, rental_desk):
    token = shows.qr(wallet, NORMAL).token
    body = token.removeprefix("DG1:")
    for spoiled in (body, "DG1:", "DG1:" + body[:-2], "DG2:" + body, token.lower(), token + "00", "https://example.com/", "1" * 5000):
        found = refused(rental_desk.Verify, shows.rental(NORMAL, spoiled))
        assert found.code == CODE.INVALID_ARGUMENT, (spoiled[:20], found)
        assert found.reason in ("PRESENTATION_MALFORMED", "PRESENTATION_NOT_GENUINE", "SHARE_CODE_MISTYPED", "REQUEST_MALFORMED"), found
        assert body[:24] not in found.message and body[:24].encode() not in found.raw
    flipped = "DG1:" + ("0" if body[40] != "0" else "1").join((body[:40], body[41:]))
    found = refused(rental_desk.Verify, shows.rental(NORMAL, flipped))
    assert found.reason in ("PRESENTATION_MALFORMED", "PRESENTATION_NOT_GENUINE"), found
    assert rental_desk.Verify(shows.rental(NORMAL, token), timeout=5).charged


def test_a_mistyped_share_code_is_told_apart_from_an_unknown_one(gateway, wallet):
    gateway_recruiter = gateway.partner("recruiter-demo")
    code = shows.share_code(wallet, NORMAL).code
    symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    swapped = symbols[(symbols.index(code[2]) + 1) % 32]
    found = refused(gateway_recruiter.Verify, shows.recruitment(NORMAL, code[:2] + swapped + code[3:]))
    assert_refused(found, CODE.INVALID_ARGUMENT, "SHARE_CODE_MISTYPED")
    assert code not in found.message
    assert gateway_recruiter.Verify(shows.recruitment(NORMAL, code), timeout=5).charged


def test_guessing_share_codes_trips_the_partners_budget(house):
    house.serve()
    desk = house.partner("recruiter-demo")
    # Well-formed codes that nobody was given: 13 symbols, then the check symbol of their number modulo 37.
    symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    checks = symbols + "*~$=U"

    def guess(number: int) -> str:
        digits, rest = "", number
        for _ in range(13):
            digits, rest = symbols[rest % 32] + digits, rest // 32
        return digits + checks[number % 37]

    reasons = [refused(desk.Verify, shows.recruitment(NORMAL, guess(10**18 + number))) for number in range(40)]
    assert reasons[0].reason == "SHARE_CODE_NOT_ACCEPTED"
    last = assert_refused(reasons[-1], CODE.RESOURCE_EXHAUSTED, "SHARE_CODE_ATTEMPTS_EXCEEDED")
    assert last.retry_seconds > 0
    assert desk.Verify(asks.recruitment(NORMAL), timeout=5).charged, "claims go on"


def test_a_presentation_needs_a_request_id(wallet, rental_desk):
    request = shows.rental(NORMAL, shows.qr(wallet, NORMAL).token)
    request.request_id = ""
    found = assert_refused(refused(rental_desk.Verify, request), CODE.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert "request_id" in found.violations


def test_police_and_peers_scan_what_was_shown_to_nobody_in_particular(wallet, police, rental_desk, wallets_scanner):
    token = shows.qr(wallet, NORMAL, purpose=None).token
    found = refused(rental_desk.Verify, shows.rental(NORMAL, token))
    assert_refused(found, CODE.PERMISSION_DENIED, "PRESENTATION_NOT_FOR_YOU")
    answer = police.Verify(shows.shown(asks.enforcement(NORMAL), token), timeout=5)
    assert answer.authorised_by == a.AUTHORISED_BY_QR and list(answer.disclosure.states) == ["A"]
    token = shows.qr(wallet, NORMAL, purpose=None).token
    answer = wallets_scanner.Verify(shows.peer_scan(NORMAL, driver("9"), token), timeout=5)
    assert answer.disclosure.display == a.DISPLAY_NORMAL and answer.disclosure.class_groups.car
    assert answer.disclosure.masked_name != NORMAL.name and not answer.disclosure.states
    token = shows.qr(wallet, NORMAL, purpose=None).token
    found = refused(wallets_scanner.Verify, shows.peer_scan(NORMAL, driver("18"), token))
    assert_refused(found, CODE.FAILED_PRECONDITION, "SCANNER_NOT_ACCEPTED")


@pytest.mark.parametrize("key", RED)
def test_a_licence_out_of_force_is_issued_red_and_not_qualified(wallet, rental_desk, wallets_scanner, key):
    who = driver(key)
    shown = shows.qr(wallet, who)
    assert shown.display == a.DISPLAY_RED
    assert rental_desk.Verify(shows.rental(who, shown.token), timeout=5).decision == a.DECISION_NOT_QUALIFIED
    peer = wallets_scanner.Verify(shows.peer_scan(who, NORMAL, shows.qr(wallet, who, purpose=None).token), timeout=5)
    assert peer.disclosure.display == a.DISPLAY_RED
    assert {one.reason for one in peer.criteria} <= {a.REASON_UNSPECIFIED, a.REASON_LICENCE_NOT_IN_FORCE}, "colour only"


@pytest.mark.parametrize("key,reason", NOT_SHOWN)
def test_what_cannot_be_shown_is_refused_with_its_reason(wallet, key, reason):
    for issue, request in (
        (wallet.IssueQr, w.IssueQrRequest(holder=shows.holder(driver(key)))),
        (wallet.IssueShareCode, w.IssueShareCodeRequest(holder=shows.holder(driver(key)), purpose=c.PURPOSE_RENTAL, audience=shows.RENTAL)),
    ):
        assert_refused(refused(issue, request), CODE.FAILED_PRECONDITION, reason)


def test_only_a_wallet_issues(gateway):
    request = w.IssueQrRequest(holder=shows.holder(NORMAL))
    for partner in ("rental-demo", "insurer-demo", "recruiter-demo", "transport-demo", "enforcement-demo", "authority-demo"):
        found = refused(gateway.wallet(partner).IssueQr, request)
        assert_refused(found, CODE.PERMISSION_DENIED, "METHOD_NOT_PERMITTED")


def test_bad_terms_are_refused_with_their_field(wallet):
    who = shows.holder(NORMAL)
    for request, path in (
        (w.IssueQrRequest(), "holder"),
        (w.IssueQrRequest(holder=who, purpose=c.PURPOSE_RENTAL), "audience"),
        (w.IssueQrRequest(holder=who, audience=shows.RENTAL), "purpose"),
        (w.IssueQrRequest(holder=who, purpose=c.PURPOSE_RECRUITMENT, audience=shows.RENTAL), "purpose"),
        (w.IssueQrRequest(holder=who, purpose=c.PURPOSE_RENTAL, audience=shows.RENTAL, fields=[a.FIELD_MASKED_NAME], no_fields=True), "no_fields"),
        (w.IssueQrRequest(holder=who, purpose=c.PURPOSE_RENTAL, audience=p.Audience(partner_id="nobody-known")), "audience.partner_id"),
    ):
        found = assert_refused(refused(wallet.IssueQr, request), CODE.INVALID_ARGUMENT, "REQUEST_MALFORMED")
        assert any(violation.startswith(path) for violation in found.violations), (path, found.violations)
    for more, path in ((dict(uses=11), "uses"), (dict(lifetime=Duration(seconds=60)), "lifetime"), (dict(lifetime=Duration(seconds=22 * 86400)), "lifetime")):
        request = w.IssueShareCodeRequest(holder=who, purpose=c.PURPOSE_RENTAL, audience=shows.RENTAL, **more)
        found = assert_refused(refused(wallet.IssueShareCode, request), CODE.INVALID_ARGUMENT, "REQUEST_MALFORMED")
        assert path in found.violations
    never = w.IssueQrRequest(holder=who, purpose=c.PURPOSE_RENTAL, audience=shows.RENTAL, fields=[a.FIELD_STATES])
    assert_refused(refused(wallet.IssueQr, never), CODE.PERMISSION_DENIED, "FIELD_NOT_PERMITTED")
    for nobody in (UNKNOWN, driver("29-protected")):
        unknown = w.IssueQrRequest(holder=shows.holder(nobody))
        assert_refused(refused(wallet.IssueQr, unknown), CODE.NOT_FOUND, "HOLDER_NOT_KNOWN")


def test_an_expired_code_says_so_to_its_audience_alone(house):
    house.configure(lambda config: config.setdefault("presentations", {}).update(qr_lifetime_s=10))
    house.serve()
    shown = shows.qr(house.wallet("wallet-demo"), NORMAL)
    left = shown.expires_at.ToDatetime(tzinfo=datetime.timezone.utc) - asks.now()
    assert left.total_seconds() <= 10
    # Clocks may differ by 30 s: until then it is answered, as the next scan shows.
    assert house.partner("rental-demo").Verify(shows.rental(NORMAL, shown.token), timeout=5).charged


def test_an_operator_may_demand_presentations(house):
    house.contract("rental-demo", lambda document: document.update(presentations_only=True))
    house.serve()
    desk, wallet = house.partner("rental-demo"), house.wallet("wallet-demo")
    assert_refused(refused(desk.Verify, asks.rental(NORMAL)), CODE.PERMISSION_DENIED, "PRESENTATION_REQUIRED")
    assert desk.Verify(shows.rental(NORMAL, shows.qr(wallet, NORMAL).token), timeout=5).charged


def test_another_deployment_opens_no_token_of_ours(house, wallet):
    house.serve()
    token = shows.qr(wallet, NORMAL).token
    found = refused(house.partner("rental-demo").Verify, shows.rental(NORMAL, token))
    assert_refused(found, CODE.INVALID_ARGUMENT, "PRESENTATION_NOT_GENUINE")


def test_a_request_id_belongs_to_its_content(wallet, rental_desk):
    request_id = f"rq-{uuid.uuid4()}"
    assert rental_desk.Verify(shows.rental(NORMAL, shows.qr(wallet, NORMAL).token, request_id), timeout=5).charged
    other = shows.rental(NORMAL, shows.qr(wallet, NORMAL).token, request_id)
    assert_refused(refused(rental_desk.Verify, other), CODE.ABORTED, "IDEMPOTENCY_CONFLICT")
