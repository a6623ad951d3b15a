"""Refusals of a request that is well formed: what the contract, the policy or the law does not allow."""

import grpc
import pytest

import asks
import shows
from drivers import ALL, Driver, check_character, driver, number_of
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import question_pb2 as q
from drivegate.v1 import subject_pb2 as s
from drivegate.v1 import verification_service_pb2 as v
from outcomes import assert_refused, refused

NORMAL = driver("1")
DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT

ALL_QUESTIONS = {
    "insurance_claim": lambda: asks.insurance_claim(NORMAL),
    "insurance_purchase": lambda: asks.insurance_purchase(NORMAL),
    "rental": lambda: asks.rental(NORMAL),
    "recruitment": lambda: asks.recruitment(NORMAL),
    "transport": lambda: asks.transport(NORMAL),
    "enforcement": lambda: asks.enforcement(NORMAL),
}
OWN = {
    "insurer-demo": {"insurance_claim", "insurance_purchase"},
    "rental-demo": {"rental"},
    "recruiter-demo": {"recruitment"},
    "transport-demo": {"transport"},
    "enforcement-demo": {"enforcement"},
    "wallet-demo": set(),
    "authority-demo": set(),
}
FOREIGN = [(partner, question) for partner, own in OWN.items() for question in ALL_QUESTIONS if question not in own]


@pytest.mark.parametrize("partner, question", FOREIGN)
def test_a_purpose_outside_the_contract_is_refused(gateway, partner, question):
    found = refused(gateway.partner(partner).Verify, ALL_QUESTIONS[question]())
    assert_refused(found, DENIED, "PURPOSE_NOT_PERMITTED")


def test_over_asking_is_refused_naming_the_fields(rental_desk):
    request = asks.rental(NORMAL)
    request.fields.extend([a.FIELD_MASKED_NAME, a.FIELD_STATES, a.FIELD_CLASSES])
    found = assert_refused(refused(rental_desk.Verify, request), DENIED, "FIELD_NOT_PERMITTED")
    named = {word.strip() for word in found.metadata["fields"].split(",")}
    assert len(named) == 2
    joined = found.metadata["fields"].upper().replace("-", "_")
    assert "STATES" in joined and "CLASSES" in joined and "MASKED_NAME" not in joined


GROUNDS = {"consent": asks.consent, "contract": asks.contract_ground, "legal-duty": asks.legal_duty}
NOT_ACCEPTED = [
    ("rental-demo", "rental", "legal-duty"),
    ("recruiter-demo", "recruitment", "contract"),
    ("recruiter-demo", "recruitment", "legal-duty"),
    ("insurer-demo", "insurance_purchase", "contract"),
    ("insurer-demo", "insurance_purchase", "legal-duty"),
    ("enforcement-demo", "enforcement", "contract"),
]


@pytest.mark.parametrize("partner, question, ground", NOT_ACCEPTED)
def test_a_ground_the_purpose_does_not_accept_is_refused_and_the_accepted_ones_are_named(gateway, partner, question, ground):
    request = getattr(asks, question)(NORMAL, GROUNDS[ground]())
    found = refused(gateway.partner(partner).Verify, request)
    assert_refused(found, DENIED, "CONSENT_BASIS_NOT_ACCEPTED")
    assert found.preconditions, "PreconditionFailure says which grounds are accepted"


def test_a_contract_the_driver_is_no_party_to_is_no_ground(rental_desk):
    found = refused(rental_desk.Verify, asks.rental(NORMAL, asks.contract_ground(is_party=False)))
    assert found.reason in ("CONSENT_BASIS_NOT_ACCEPTED", "REQUEST_MALFORMED"), found
    assert found.code in (DENIED, INVALID)


def test_an_unfiled_driver_cannot_be_asked_about_by_legal_duty(carrier):
    found = refused(carrier.Verify, asks.transport(NORMAL, asks.legal_duty(), filed=False))
    assert_refused(found, DENIED, "CONSENT_BASIS_NOT_ACCEPTED")


@pytest.mark.parametrize("tenure", [1, 7, 13, 18, 60])
def test_a_tenure_outside_the_contracts_set_is_refused(rental_desk, tenure):
    found = refused(rental_desk.Verify, asks.rental(NORMAL, tenure=tenure))
    assert_refused(found, INVALID, "QUESTION_NOT_IN_CONTRACT")
    assert "rental.min_tenure_months" in found.violations


@pytest.mark.parametrize("margin", [1, 29, 61])
def test_a_margin_outside_the_contracts_set_is_refused(rental_desk, margin):
    found = refused(rental_desk.Verify, asks.rental(NORMAL, margin=margin))
    assert_refused(found, INVALID, "QUESTION_NOT_IN_CONTRACT")
    assert "rental.validity_margin_days" in found.violations


def test_a_threshold_beyond_any_calendar_is_malformed(rental_desk):
    for path, request in {
        "rental.min_tenure_months": asks.rental(NORMAL, tenure=2**32 - 1),
        "rental.validity_margin_days": asks.rental(NORMAL, margin=2**32 - 1),
    }.items():
        found = assert_refused(refused(rental_desk.Verify, request), INVALID, "REQUEST_MALFORMED")
        assert path in found.violations


def test_an_edition_and_a_role_outside_the_contract_are_refused(house):
    narrow = lambda key, values: lambda document: [purpose.__setitem__(key, values) for purpose in document["purpose"] if key in purpose]  # noqa: E731
    house.contract("insurer-demo", narrow("editions", ["commercial-2020"]))
    house.contract("recruiter-demo", narrow("roles", ["driver"]))
    house.serve()
    request = asks.insurance_claim(NORMAL, edition=q.COVERAGE_EDITION_COMPULSORY)
    found = assert_refused(refused(house.partner("insurer-demo").Verify, request), INVALID, "QUESTION_NOT_IN_CONTRACT")
    assert "insurance_claim.coverage_edition" in found.violations
    request = asks.recruitment(NORMAL, role=q.ROLE_RIDE_HAILING)
    found = assert_refused(refused(house.partner("recruiter-demo").Verify, request), INVALID, "QUESTION_NOT_IN_CONTRACT")
    assert "recruitment.role" in found.violations


def test_a_subject_under_18_by_the_number_is_refused_before_any_look_up(gateway, rental_desk):
    today = asks.now().date()
    child = Driver("child", number_of(f"{today.year - 17}0101"), "小明")
    before = gateway.metric("drivegate_cache_look_ups_total")
    found = refused(rental_desk.Verify, asks.rental(child))
    assert_refused(found, grpc.StatusCode.FAILED_PRECONDITION, "SUBJECT_UNDER_AGE")
    assert gateway.metric("drivegate_cache_look_ups_total") == before, "nothing was looked up"


def test_the_fourth_different_question_about_a_subject_is_refused_and_the_first_may_be_repeated(house):
    house.serve()
    desk = house.partner("rental-demo")
    subject = driver("6")
    questions = [asks.rental(subject, tenure=tenure) for tenure in (0, 12, 24)]
    for request in questions:
        desk.Verify(request, timeout=5)
    found = refused(desk.Verify, asks.rental(subject, margin=30))
    assert_refused(found, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUESTION_VARIATION_EXCEEDED")
    assert found.retry_seconds and found.retry_seconds > 0
    again = v.VerifyRequest()
    again.CopyFrom(questions[0])
    assert desk.Verify(again, timeout=5).decision == a.DECISION_QUALIFIED


def test_one_accident_per_case_plus_one_correction(house):
    house.serve()
    insurer = house.partner("insurer-demo")
    case = asks.insurance_claim(driver("6"))
    for days in (-10, -11):
        case.insurance_claim.occurred_at.CopyFrom(asks.at(asks.days(days)))
        insurer.Verify(case, timeout=5)
    case.insurance_claim.occurred_at.CopyFrom(asks.at(asks.days(-12)))
    found = refused(insurer.Verify, case)
    assert_refused(found, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUESTION_VARIATION_EXCEEDED")


def narrow(house, **terms):
    house.contract("rental-demo", lambda document: document["claims"].update(terms))
    house.serve()
    return house.partner("rental-demo")


def test_one_number_more_than_the_contract_allows_is_refused_and_a_known_one_is_not(house):
    desk = narrow(house, subjects_max=2)
    for row in ("1", "6"):
        desk.Verify(asks.rental(driver(row)), timeout=5)
    for stranger in (driver("2"), driver("29-no-such-number")):
        found = refused(desk.Verify, asks.rental(stranger))
        assert_refused(found, grpc.StatusCode.RESOURCE_EXHAUSTED, "SUBJECT_BUDGET_EXCEEDED")
        assert found.retry_seconds and 0 < found.retry_seconds <= 24 * 3600
    assert desk.Verify(asks.rental(driver("6")), timeout=5).decision == a.DECISION_QUALIFIED
    claims = desk.GetLimits(v.GetLimitsRequest(), timeout=5).claims
    assert (claims.subjects_max, claims.subjects_left, claims.suspended) == (2, 0, False)


def test_too_many_unconfirmed_claims_suspend_claims_and_not_presentations(house):
    desk = narrow(house, slow_unconfirmed=2, suspend_unconfirmed=2, suspend_percent=100)
    for _ in range(2):
        desk.Verify(asks.rental(NORMAL.renamed("不对")), timeout=5)
    assert_refused(refused(desk.Verify, asks.rental(NORMAL)), DENIED, "CLAIMS_SUSPENDED")
    shown = shows.qr(house.wallet("wallet-demo"), NORMAL)
    assert desk.Verify(shows.rental(NORMAL, shown.token), timeout=5).decision == a.DECISION_QUALIFIED


def test_a_real_looking_number_is_accepted_and_simply_not_confirmed(rental_desk):
    """The sandbox holds test numbers only; a number whose area could exist is a number nobody has here."""
    body = "11010519491231002"
    answer = rental_desk.Verify(asks.rental(Driver("real", body + check_character(body), "某人")), timeout=5)
    assert [criterion.reason for criterion in answer.criteria] == [a.REASON_SUBJECT_NOT_CONFIRMED]


def test_a_lower_case_check_character_is_read_as_upper_case(rental_desk):
    ending = next(found for found in ALL.values() if found.number.endswith("X"))
    upper = rental_desk.Verify(asks.rental(ending), timeout=5)
    lower = rental_desk.Verify(asks.rental(ending.renumbered(ending.number.lower())), timeout=5)
    assert upper.subject_ref == lower.subject_ref != ""


def test_other_documents_are_accepted_by_their_own_rule(rental_desk):
    passport = Driver("passport", "E12345678", "JOHN SMITH", s.DOCUMENT_KIND_PASSPORT)
    answer = rental_desk.Verify(asks.rental(passport), timeout=5)
    assert answer.decision == a.DECISION_INDETERMINATE
