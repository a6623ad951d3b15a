"""The test drivers of `docs/test-drivers.md`, asked over the wire.

The table is written from the policy, not from the gateway's code: where the two differ, one of them is wrong.
Q qualified, N not qualified, I indeterminate; the word is a reason that must be among the answer's criteria.
"""

import datetime

import pytest

import asks
from drivers import driver
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import question_pb2 as q

DECISIONS = {"Q": a.DECISION_QUALIFIED, "N": a.DECISION_NOT_QUALIFIED, "I": a.DECISION_INDETERMINATE}
OUTCOMES = {"Q": a.OUTCOME_NOTED, "N": a.OUTCOME_NOT_MET, "I": a.OUTCOME_UNKNOWN}
NIF = "N LICENCE_NOT_IN_FORCE"
LOST = [NIF] * 3

# key: claim, rental, recruitment, transport; None: not asked
ROWS = {
    "1": ("Q", "Q", "Q", "Q"),
    "1-pending": ("Q", "Q", "Q", "Q PENDING"),
    "2": ("Q PROBATION", "N TENURE_SHORT", "N TENURE_SHORT", None),
    "3": ("Q", "Q", "Q", "Q"),
    "4": ("N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED"),
    "5": ("N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED", None),
    "6": ("Q", "Q", "Q", "Q"),
    "7": ("Q", "Q", "Q", "Q"),
    "8": ("N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED", "N CLASS_NOT_COVERED", None),
    "9": ("Q", "N ENDS_WITHIN_PERIOD", "Q", "Q"),
    "11": ("Q EXPIRED_UNDER_ONE_YEAR", *LOST),
    "11-no-letter": ("Q EXPIRED_UNDER_ONE_YEAR", *LOST),
    "12": ("N CANCELLED_RESTORABLE", *LOST),
    "13": ("N CANCELLED_RESTORABLE", *LOST),
    "14": ("N CANCELLED", *LOST),
    "15": ("Q POINTS_FULL", *LOST),
    "16": ("Q", "Q", "Q", "Q"),
    "17": ("N SUSPENDED", *LOST),
    "18": ("N REVOKED", *LOST),
    "19": ("N ANNULLED", *LOST),
    "20": ("Q", "Q", "Q", "Q"),
    "21": ("Q STOPPED", *LOST),
    "22": ("I STATE_UNRESOLVED", *LOST),
    "22-locked": ("I STATE_UNRESOLVED",) * 4,
    "23": ("Q REVIEW_OVERDUE", NIF, NIF, "N REVIEW_OVERDUE"),
    "24": ("Q", "Q", "Q", "Q"),
    "24-renewal-past": ("Q DEFERRED", *LOST),
    "24-medical-past": ("Q DEFERRED", *LOST),
    "24-review-past": ("Q DEFERRED", *LOST),
    "25": ("I STATE_UNRESOLVED",) * 4,
    "25-unknown-letter": ("I STATE_UNRESOLVED",) * 4,
    "26": ("Q", "Q", "Q", "Q"),
    "26-superseded": ("Q", "Q", "Q", "Q"),
    "26-photo-withdrawn": ("Q", "Q", "Q", "Q"),
    "29-no-such-number": ("I SUBJECT_NOT_CONFIRMED",) * 4,
    "29-protected": ("I SUBJECT_NOT_CONFIRMED",) * 4,
    "30": ("Q", "Q", "Q", "Q"),
    "30-middle-dot": ("Q", "Q", "Q", "Q"),
    "30-latin": ("Q", "Q", "Q", "Q"),
    "31": ("Q", "Q", "Q", "Q"),
    "32": ("Q", "Q", "Q", "Q"),
}
COLUMNS = (
    ("insurer-demo", lambda subject: asks.insurance_claim(subject, occurred_at=asks.on(asks.days(-10).date()))),
    ("rental-demo", lambda subject: asks.rental(subject, tenure=12)),
    ("recruiter-demo", lambda subject: asks.recruitment(subject, tenure=36)),
    ("transport-demo", lambda subject: asks.transport(subject)),
)


def assert_answer(answer, expected: str) -> None:
    word, _, reason = expected.partition(" ")
    assert answer.decision == DECISIONS[word], answer
    if reason:
        shown = [(criterion.outcome, a.Reason.Name(criterion.reason)) for criterion in answer.criteria]
        assert (OUTCOMES[word], f"REASON_{reason}") in shown, answer


@pytest.mark.parametrize("key", ROWS)
def test_a_row_of_the_catalogue(gateway, key):
    for (partner, ask), expected in zip(COLUMNS, ROWS[key]):
        if expected is not None:
            assert_answer(gateway.partner(partner).Verify(ask(driver(key)), timeout=5), expected)


def claim(insurer, key, day, known_day=None, **options):
    request = asks.insurance_claim(driver(key), occurred_at=asks.on(asks.days(day).date()), **options)
    if known_day is not None:
        request.known_at.CopyFrom(asks.on(asks.days(known_day).date()))
    return insurer.Verify(request, timeout=5)


def test_an_automatic_car_is_covered_by_c2(insurer):
    assert_answer(claim(insurer, "4", -10, vehicle=asks.small_car(automatic=True)), "Q")


@pytest.mark.parametrize("mass, expected", [(4499, "Q"), (4500, "N CLASS_NOT_COVERED")])
def test_a_train_below_4500_kg_is_covered_by_c6(insurer, mass, expected):
    vehicle = q.Vehicle(
        ga164_code="K33", automatic=True, adapted=False, total_mass_kg=2000, combination_mass_kg=mass, use=q.VEHICLE_USE_PRIVATE
    )
    assert_answer(claim(insurer, "7", -10, vehicle=vehicle), expected)


def test_a_claim_is_about_the_moment_of_the_accident_not_about_today(insurer):
    assert_answer(claim(insurer, "14", -30), "Q")
    assert_answer(claim(insurer, "15", -5), "N DETAINED")


def test_a_claim_before_the_first_licence_says_so(insurer):
    assert_answer(claim(insurer, "2", -365), "N NO_LICENCE_AT_T")


def test_what_was_recorded_later_counts_now_but_not_as_known_then(insurer):
    """Row 19: annulled yesterday with effect from long ago. Row 20: a penalty reversed yesterday."""
    assert_answer(claim(insurer, "19", -10, known_day=-5), "Q")
    now = claim(insurer, "19", -10)
    assert_answer(now, "N ANNULLED")
    assert now.provenance.HasField("changed_since")
    assert_answer(claim(insurer, "20", -10, known_day=-5), "N DETAINED")
    now = claim(insurer, "20", -10)
    assert_answer(now, "Q")
    assert now.provenance.HasField("changed_since")


def test_a_question_from_before_the_record_is_not_answered_by_a_guess(insurer):
    assert_answer(claim(insurer, "31", -400), "I HISTORY_NOT_HELD")


def test_the_last_day_of_validity_is_inclusive(insurer, rental_desk):
    """Row 10: the last valid day is today; a rental into tomorrow ends within the period."""
    assert_answer(rental_desk.Verify(asks.rental(driver("10"), tenure=12), timeout=5), "N ENDS_WITHIN_PERIOD")
    midnight = datetime.datetime.combine(asks.now().date(), datetime.time(), asks.CHINA)
    request = asks.insurance_claim(driver("10"), occurred_at=asks.at(midnight))
    assert_answer(insurer.Verify(request, timeout=5), "Q")


def test_a_number_that_changed_still_leads_to_the_same_subject(rental_desk):
    now = rental_desk.Verify(asks.rental(driver("30"), tenure=12), timeout=5)
    formerly = rental_desk.Verify(asks.rental(driver("30-old-number"), tenure=12), timeout=5)
    assert now.subject_ref == formerly.subject_ref != ""


@pytest.mark.parametrize("key, expected", [("33", "Q"), ("33-too-old", "N AGE"), ("33-no-endorsement", "N ENDORSEMENT_MISSING")])
def test_school_buses_have_their_own_rules(carrier, key, expected):
    request = asks.transport(driver(key), role=q.ROLE_SCHOOL_BUS, needs=q.VEHICLE_CLASS_UNSPECIFIED)
    answer = carrier.Verify(request, timeout=5)
    assert_answer(answer, expected)
    assert a.NOT_COVERED_CRIMINAL_DRINK_DRUG_RECORD in answer.not_covered


def test_ride_hailing_looks_back_three_periods(recruiter):
    role = dict(role=q.ROLE_RIDE_HAILING, needs=q.VEHICLE_CLASS_UNSPECIFIED)
    assert_answer(recruiter.Verify(asks.recruitment(driver("1"), **role), timeout=5), "Q")
    assert_answer(recruiter.Verify(asks.recruitment(driver("16"), **role), timeout=5), "N POINTS_RECORD")
    assert_answer(recruiter.Verify(asks.recruitment(driver("31"), **role), timeout=5), "I PERIODS_NOT_HELD")


def test_enforcement_sees_the_exact_state_and_what_heals_it(police):
    answer = police.Verify(asks.enforcement(driver("23")), timeout=5)
    assert sorted(answer.disclosure.states) == ["H", "S"]
    assert list(answer.disclosure.classes)
    assert answer.remedies


def test_nobody_else_sees_states_classes_or_remedies(gateway):
    for partner, ask in COLUMNS:
        for key in ("17", "23", "24-medical-past"):
            answer = gateway.partner(partner).Verify(ask(driver(key)), timeout=5)
            assert not answer.disclosure.states and not answer.disclosure.classes and not answer.remedies
