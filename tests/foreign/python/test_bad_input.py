"""Malformed requests: INVALID_ARGUMENT with the field's path and the rule, never the value; the connection lives on."""

import grpc
import pytest

import asks
from drivers import driver, number_of
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import question_pb2 as q
from drivegate.v1 import subject_pb2 as s
from drivegate.v1 import verification_service_pb2 as v
from google.protobuf.timestamp_pb2 import Timestamp
from outcomes import assert_refused, refused

NORMAL = driver("1")


def spoil(**claim):
    """A rental request whose claim differs in the fields given."""
    request = asks.rental(NORMAL)
    for field, value in claim.items():
        setattr(request.claim, field, value)
    return request


def edited(request, edit):
    edit(request)
    return request


def rental_with(edit):
    return edited(asks.rental(NORMAL), edit)


def claim_with(edit):
    return edited(asks.insurance_claim(NORMAL), edit)


def swapped_last(number: str) -> str:
    return number[:-1] + ("0" if number[-1] != "0" else "1")


RENTAL = [
    ("no subject", lambda: rental_with(lambda r: r.ClearField("claim")), "subject"),
    ("no question", lambda: rental_with(lambda r: r.ClearField("rental")), "question"),
    ("nothing at all", lambda: v.VerifyRequest(), None),
    ("wrong check digit", lambda: spoil(licence_number=swapped_last(NORMAL.number)), "claim.licence_number"),
    ("impossible birth date", lambda: spoil(licence_number=number_of("19850231")), "claim.licence_number"),
    ("birth date in the future", lambda: spoil(licence_number=number_of("29850201")), "claim.licence_number"),
    ("number too short", lambda: spoil(licence_number=NORMAL.number[:17]), "claim.licence_number"),
    ("number too long", lambda: spoil(licence_number=NORMAL.number + "0"), "claim.licence_number"),
    ("full-width digits", lambda: spoil(licence_number="０" * 18), "claim.licence_number"),
    ("empty number", lambda: spoil(licence_number=""), "claim.licence_number"),
    ("number of 10 kB", lambda: spoil(licence_number="1" * 10_000), "claim.licence_number"),
    ("no document kind", lambda: spoil(document_kind=0), "claim.document_kind"),
    ("unknown document kind", lambda: spoil(document_kind=77), "claim.document_kind"),
    ("passport of 3 characters", lambda: spoil(document_kind=s.DOCUMENT_KIND_PASSPORT, licence_number="E12"), "claim.licence_number"),
    ("empty name", lambda: spoil(full_name=""), "claim.full_name"),
    ("blank name", lambda: spoil(full_name=" \u3000 "), "claim.full_name"),
    ("name of 10 kB", lambda: spoil(full_name="王" * 3_400), "claim.full_name"),
    ("name of 101 characters", lambda: spoil(full_name="王" * 101), "claim.full_name"),
    ("control character in the name", lambda: spoil(full_name="王\u0007伟"), "claim.full_name"),
    ("line break in the name", lambda: spoil(full_name="王\n伟"), "claim.full_name"),
    ("NUL in the name", lambda: spoil(full_name="王\u0000伟"), "claim.full_name"),
    ("bidi override in the name", lambda: spoil(full_name="王\u202e伟"), "claim.full_name"),
    ("bidi isolate in the name", lambda: spoil(full_name="王\u2066伟"), "claim.full_name"),
    ("file number of 11 digits", lambda: spoil(file_number="1" * 11), "claim.file_number"),
    ("letters in the file number", lambda: spoil(file_number="12345678901A"), "claim.file_number"),
    ("missing ground", lambda: rental_with(lambda r: r.claim.ClearField("ground")), "claim.ground"),
    ("unknown ground", lambda: rental_with(lambda r: setattr(r.claim.ground, "kind", 55)), "claim.ground.kind"),
    ("consent without evidence", lambda: asks.rental(NORMAL, s.Ground(kind=s.GROUND_KIND_CONSENT)), "claim.ground.consent"),
    ("consent from the future", lambda: asks.rental(NORMAL, asks.consent(obtained_at=asks.at(asks.days(1)))), "claim.ground.consent.obtained_at"),
    ("consent that has ended", lambda: asks.rental(NORMAL, asks.consent(obtained_at=asks.at(asks.days(-9)), expires_at=asks.at(asks.days(-2)))), "claim.ground.consent.expires_at"),
    ("consent that ends before it begins", lambda: asks.rental(NORMAL, asks.consent(expires_at=asks.at(asks.days(-2)))), "claim.ground.consent.expires_at"),
    ("consent without end in sight", lambda: asks.rental(NORMAL, asks.consent(expires_at=asks.at(asks.days(36500)))), "claim.ground.consent.expires_at"),
    ("digest of 31 bytes", lambda: asks.rental(NORMAL, asks.consent(evidence_sha256=b"\1" * 31)), "claim.ground.consent.evidence_sha256"),
    ("no notice version", lambda: asks.rental(NORMAL, asks.consent(notice_version="")), "claim.ground.consent.notice_version"),
    ("return before pick-up", lambda: asks.rental(NORMAL, pick_up=asks.at(asks.days(3)), back=asks.at(asks.days(2))), "rental.return"),
    ("return at pick-up", lambda: asks.rental(NORMAL, pick_up=asks.at(asks.days(3)), back=asks.at(asks.days(3))), "rental.return"),
    ("return after 367 days", lambda: asks.rental(NORMAL, back=asks.at(asks.days(368))), "rental.return"),
    ("pick-up two days ago", lambda: asks.rental(NORMAL, pick_up=asks.at(asks.days(-2))), "rental.pick_up"),
    ("pick-up in two years", lambda: asks.rental(NORMAL, pick_up=asks.at(asks.days(730)), back=asks.at(asks.days(731))), "rental.pick_up"),
    ("no pick-up", lambda: rental_with(lambda r: r.rental.ClearField("pick_up")), "rental.pick_up"),
    ("no return", lambda: rental_with(lambda r: r.rental.ClearField("return")), "rental.return"),
    ("impossible nanoseconds", lambda: asks.rental(NORMAL, back=Timestamp(seconds=asks.at(asks.days(3)).seconds, nanos=-1)), "rental.return"),
    ("seconds beyond the calendar", lambda: asks.rental(NORMAL, back=Timestamp(seconds=2**62)), "rental.return"),
    ("no vehicle", lambda: rental_with(lambda r: r.rental.ClearField("vehicle")), "rental.vehicle"),
    ("vehicle of no kind", lambda: asks.rental(NORMAL, vehicle=q.Vehicle(seats=5)), "rental.vehicle"),
    ("unknown class", lambda: rental_with(lambda r: setattr(r.rental.vehicle, "class", 99)), "rental.vehicle.class"),
    ("unknown use", lambda: rental_with(lambda r: setattr(r.rental.vehicle, "use", 99)), "rental.vehicle.use"),
    ("no seats", lambda: rental_with(lambda r: setattr(r.rental.vehicle, "seats", 0)), "rental.vehicle.seats"),
    ("4 billion seats", lambda: rental_with(lambda r: setattr(r.rental.vehicle, "seats", 2**32 - 1)), "rental.vehicle.seats"),
    ("a mass of 1,000 t", lambda: rental_with(lambda r: setattr(r.rental.vehicle, "total_mass_kg", 1_000_000)), "rental.vehicle.total_mass_kg"),
    ("vehicle code of one letter", lambda: rental_with(lambda r: setattr(r.rental.vehicle, "ga164_code", "K")), "rental.vehicle.ga164_code"),
    ("no case reference", lambda: rental_with(lambda r: r.ClearField("case_reference")), "case_reference"),
    ("case reference of 65 characters", lambda: rental_with(lambda r: setattr(r, "case_reference", "C" * 65)), "case_reference"),
    ("case reference in Chinese", lambda: rental_with(lambda r: setattr(r, "case_reference", "案一")), "case_reference"),
    ("case category in capitals", lambda: rental_with(lambda r: setattr(r, "case_category", "Collision")), "case_category"),
    ("no operator", lambda: rental_with(lambda r: r.ClearField("operator_id")), "operator_id"),
    ("request id of 7 characters", lambda: rental_with(lambda r: setattr(r, "request_id", "1234567")), "request_id"),
    ("request id with a space", lambda: rental_with(lambda r: setattr(r, "request_id", "1234 5678")), "request_id"),
    ("max_age below zero", lambda: rental_with(lambda r: r.max_age.FromSeconds(-1)), "max_age"),
    ("max_age of two days", lambda: rental_with(lambda r: r.max_age.FromSeconds(172_800)), "max_age"),
    ("known_at on a rental", lambda: rental_with(lambda r: r.known_at.CopyFrom(asks.at(asks.days(-1)))), "known_at"),
    ("unspecified field", lambda: rental_with(lambda r: r.fields.append(0)), "fields"),
    ("unknown field", lambda: rental_with(lambda r: r.fields.append(99)), "fields"),
    ("17 fields", lambda: rental_with(lambda r: r.fields.extend([a.FIELD_MASKED_NAME] * 17)), "fields"),
]

CLAIM = [
    ("an accident in the future", lambda: asks.insurance_claim(NORMAL, occurred_at=asks.at(asks.days(1))), "insurance_claim.occurred_at"),
    ("an accident in 1949", lambda: asks.insurance_claim(NORMAL, occurred_at=Timestamp(seconds=-650_000_000)), "insurance_claim.occurred_at"),
    ("no accident", lambda: claim_with(lambda r: r.insurance_claim.ClearField("occurred_at")), "insurance_claim.occurred_at"),
    ("no edition", lambda: asks.insurance_claim(NORMAL, edition=0), "insurance_claim.coverage_edition"),
    ("unknown edition", lambda: asks.insurance_claim(NORMAL, edition=42), "insurance_claim.coverage_edition"),
    ("known_at in the future", lambda: claim_with(lambda r: r.known_at.CopyFrom(asks.at(asks.days(1)))), "known_at"),
]


def judge(stub, request, path):
    found = assert_refused(refused(stub.Verify, request), grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    if path is not None:
        assert path in found.violations, f"expected the path {path}, found {found.violations}"
    assert all(rule for rule in found.violations.values()), "every violation states its rule"
    assert_silent(found, request)
    return found


def assert_silent(found, request):
    """Nothing the gateway says repeats what was sent."""
    said = found.raw + found.message.encode() + repr(sorted(found.headers.items())).encode()
    for value in (request.claim.licence_number, request.claim.full_name, request.claim.file_number, request.case_reference):
        if len(value) >= 2:
            assert value.encode() not in said
            assert value.encode().hex().encode() not in said


@pytest.mark.parametrize("make, path", [case[1:] for case in RENTAL], ids=[case[0] for case in RENTAL])
def test_a_malformed_rental_request_names_field_and_rule(rental_desk, make, path):
    judge(rental_desk, make(), path)


@pytest.mark.parametrize("make, path", [case[1:] for case in CLAIM], ids=[case[0] for case in CLAIM])
def test_a_malformed_claim_request_names_field_and_rule(insurer, make, path):
    judge(insurer, make(), path)


def test_a_malformed_recruitment_names_the_role(recruiter):
    judge(recruiter, asks.recruitment(NORMAL, role=0), "recruitment.role")
    judge(recruiter, asks.recruitment(NORMAL, role=77), "recruitment.role")


def test_several_faults_are_told_at_once(rental_desk):
    request = spoil(licence_number="", full_name="")
    request.ClearField("operator_id")
    found = judge(rental_desk, request, None)
    assert {"claim.licence_number", "claim.full_name", "operator_id"} <= set(found.violations)


def test_a_malformed_request_costs_neither_connection_nor_quota(gateway):
    stub = gateway.partner("rental-demo")
    before = [limit.remaining for limit in stub.GetLimits(v.GetLimitsRequest(), timeout=5).limits[1:]]
    connections = gateway.metric("drivegate_handshakes_total")
    for _ in range(5):
        judge(stub, spoil(full_name="\u202e"), "claim.full_name")
    assert [limit.remaining for limit in stub.GetLimits(v.GetLimitsRequest(), timeout=5).limits[1:]] == before
    assert stub.Verify(asks.rental(NORMAL), timeout=5).decision == a.DECISION_QUALIFIED
    assert gateway.metric("drivegate_handshakes_total") == connections, "no new connection was needed"


GARBAGE = {
    "random bytes": bytes(range(255, 0, -1)),
    "a truncated field": b"\x12\xff\xff\xff\xff\x0f",
    "an endless varint": b"\xff" * 64,
    "text that is no UTF-8": v.VerifyRequest(case_reference="AA").SerializeToString().replace(b"AA", b"\xff\xfe"),
    "a wrong wire type": b"\x10\x01",
    "a group that never ends": b"\x13" * 40,
    "a hundred nested claims": b"\x12\x7e" * 100,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_bytes_that_are_no_request_are_refused_and_the_connection_lives_on(gateway, garbage):
    channel = gateway.channel("rental-demo")
    verify = channel.unary_unary("/drivegate.v1.VerificationService/Verify")
    found = refused(verify, garbage)
    assert_refused(found, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    answer = v.VerifyResponse.FromString(verify(asks.rental(NORMAL).SerializeToString(), timeout=5))
    assert answer.decision == a.DECISION_QUALIFIED


@pytest.mark.parametrize("size", [16 * 1024 + 1, 1 << 20, 8 << 20])
def test_a_message_over_16_kib_is_refused_by_its_size(gateway, size):
    channel = gateway.channel("rental-demo")
    verify = channel.unary_unary("/drivegate.v1.VerificationService/Verify")
    found = refused(verify, b"\xa2\x01" + b"\x00" * size)
    assert_refused(found, grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    answer = v.VerifyResponse.FromString(verify(asks.rental(NORMAL).SerializeToString(), timeout=5))
    assert answer.decision == a.DECISION_QUALIFIED


def test_a_message_just_under_16_kib_is_read(rental_desk):
    request = asks.rental(NORMAL)
    request.MergeFromString(b"\xfa\xff\x03" + b"\xac\x7e" + b"\x00" * 16_172)  # an unknown field, skipped
    assert len(request.SerializeToString()) <= 16 * 1024 + 600


def test_an_unknown_method_and_service_are_told_so(gateway):
    channel = gateway.channel("rental-demo")
    for path in (
        "/drivegate.v1.VerificationService/GiveMeEverything",
        "/drivegate.v1.RecordService/Get",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ):
        found = refused(channel.unary_unary(path), b"")
        assert_refused(found, grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_KNOWN")


def test_a_deadline_that_has_passed_is_exceeded_and_not_charged(gateway):
    """What the server says to a deadline in the header is asked in `tests/it/deadline.rs`: a library ends the call itself."""
    stub = gateway.partner("insurer-demo")
    before = [limit.remaining for limit in stub.GetLimits(v.GetLimitsRequest(), timeout=5).limits[1:]]
    with pytest.raises(grpc.RpcError) as fault:
        stub.Verify(asks.insurance_purchase(NORMAL), timeout=-1)
    assert fault.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert [limit.remaining for limit in stub.GetLimits(v.GetLimitsRequest(), timeout=5).limits[1:]] == before
