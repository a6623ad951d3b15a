"""Builds questions. Every builder gives a request that is right; a test then spoils one thing."""

import datetime
import uuid

import stubs  # noqa: F401  (puts the generated modules on the path)
from drivegate.v1 import question_pb2 as q
from drivegate.v1 import subject_pb2 as s
from drivegate.v1 import verification_service_pb2 as v
from google.protobuf.timestamp_pb2 import Timestamp

CHINA = datetime.timezone(datetime.timedelta(hours=8))

#: Moments are counted from here, so that a question asked twice in one run is the same question: only three different
#: ones are admitted about one subject.
BEGUN = datetime.datetime.now(CHINA).replace(microsecond=0)


def now() -> datetime.datetime:
    return datetime.datetime.now(CHINA)


def days(count: float) -> datetime.datetime:
    """A moment so many days from the beginning of the run."""
    return BEGUN + datetime.timedelta(days=count)


def at(moment: datetime.datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(datetime.timezone.utc))
    return stamp


def on(day: datetime.date, hour: int = 12, minute: int = 0, second: int = 0) -> Timestamp:
    """A moment of a civil day in China."""
    return at(datetime.datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=CHINA))


def consent(**changes) -> s.Ground:
    evidence = dict(obtained_at=at(days(-1)), expires_at=at(days(20)), notice_version="2026-03", evidence_sha256=b"\x5a" * 32)
    evidence.update(changes)
    return s.Ground(kind=s.GROUND_KIND_CONSENT, consent=s.ConsentEvidence(**evidence))


def contract_ground(is_party: bool = True) -> s.Ground:
    return s.Ground(kind=s.GROUND_KIND_CONTRACT, subject_is_party=is_party)


def legal_duty() -> s.Ground:
    return s.Ground(kind=s.GROUND_KIND_LEGAL_DUTY)


def claim_of(driver, ground: s.Ground) -> s.Claim:
    """A claim about a driver of the catalogue."""
    return s.Claim(
        document_kind=driver.document_kind, licence_number=driver.number, full_name=driver.name, ground=ground
    )


def small_car(**changes) -> q.Vehicle:
    vehicle = q.Vehicle(automatic=False, adapted=False, seats=5, total_mass_kg=1900, combination_mass_kg=0, use=q.VEHICLE_USE_PRIVATE)
    setattr(vehicle, "class", q.VEHICLE_CLASS_C1)
    for field, value in changes.items():
        setattr(vehicle, field, value)
    return vehicle


def _request(claim: s.Claim, **question) -> v.VerifyRequest:
    return v.VerifyRequest(
        claim=claim, case_reference=f"CASE-{uuid.uuid4()}", case_category="test", operator_id="clerk-17", **question
    )


def rental(driver, ground=None, pick_up=None, back=None, vehicle=None, tenure=0, margin=0) -> v.VerifyRequest:
    """Three days from in an hour, a small car."""
    pick_up = pick_up or at(days(1 / 24))
    question = q.RentalQuestion(
        pick_up=pick_up, vehicle=vehicle or small_car(), min_tenure_months=tenure, validity_margin_days=margin
    )
    getattr(question, "return").CopyFrom(back or at(days(3)))
    return _request(claim_of(driver, ground or contract_ground()), rental=question)


def insurance_claim(driver, ground=None, occurred_at=None, vehicle=None, edition=q.COVERAGE_EDITION_COMMERCIAL_2020):
    """An accident ten days ago."""
    question = q.InsuranceClaimQuestion(
        occurred_at=occurred_at or at(days(-10)), vehicle=vehicle or small_car(), coverage_edition=edition
    )
    return _request(claim_of(driver, ground or legal_duty()), insurance_claim=question)


def insurance_purchase(driver, ground=None, vehicle=None) -> v.VerifyRequest:
    question = q.InsurancePurchaseQuestion(vehicle=vehicle or small_car())
    return _request(claim_of(driver, ground or consent()), insurance_purchase=question)


def recruitment(driver, ground=None, role=q.ROLE_DRIVER, tenure=0, needs=q.VEHICLE_CLASS_C1) -> v.VerifyRequest:
    question = q.RecruitmentQuestion(role=role, min_tenure_months=tenure)
    setattr(question, "class", needs)
    return _request(claim_of(driver, ground or consent()), recruitment=question)


def transport(driver, ground=None, role=q.ROLE_DRIVER, filed=True, needs=q.VEHICLE_CLASS_C1) -> v.VerifyRequest:
    question = q.TransportQuestion(role=role, filed=filed)
    setattr(question, "class", needs)
    return _request(claim_of(driver, ground or legal_duty()), transport=question)


def enforcement(driver, ground=None, vehicle=None) -> v.VerifyRequest:
    question = q.EnforcementQuestion()
    if vehicle is not None:
        question.vehicle.CopyFrom(vehicle)
    request = _request(claim_of(driver, ground or legal_duty()), enforcement=question)
    request.enforcement.SetInParent()
    return request
