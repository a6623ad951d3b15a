"""Every purpose, answered. What an answer must carry whatever the question."""

import uuid

import grpc
import pytest

import asks
import deployment as d
from drivers import UNKNOWN, driver
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import contract_pb2 as c
from drivegate.v1 import limits_pb2 as m
from drivegate.v1 import question_pb2 as q
from drivegate.v1 import verification_service_pb2 as v

NORMAL = driver("1")

PURPOSES = {
    "rental-demo": [(c.PURPOSE_RENTAL, lambda: asks.rental(NORMAL, tenure=12))],
    "insurer-demo": [
        (c.PURPOSE_INSURANCE_CLAIM, lambda: asks.insurance_claim(NORMAL)),
        (c.PURPOSE_INSURANCE_PURCHASE, lambda: asks.insurance_purchase(NORMAL)),
    ],
    "recruiter-demo": [(c.PURPOSE_RECRUITMENT, lambda: asks.recruitment(NORMAL, tenure=36))],
    "transport-demo": [(c.PURPOSE_TRANSPORT, lambda: asks.transport(NORMAL))],
    "enforcement-demo": [(c.PURPOSE_ENFORCEMENT, lambda: asks.enforcement(NORMAL))],
}
CASES = [(partner, purpose, ask) for partner, terms in PURPOSES.items() for purpose, ask in terms]


@pytest.mark.parametrize("partner, purpose, ask", CASES, ids=[c.Purpose.Name(case[1]) for case in CASES])
def test_a_driver_in_good_standing_is_qualified(gateway, partner, purpose, ask):
    answer = gateway.partner(partner).Verify(ask(), timeout=5)
    assert answer.decision == a.DECISION_QUALIFIED, answer
    assert answer.criteria, "a decision names the criteria it rests on"
    assert all(criterion.outcome in (a.OUTCOME_MET, a.OUTCOME_NOTED) for criterion in answer.criteria)
    assert all(criterion.reason == a.REASON_UNSPECIFIED for criterion in answer.criteria if criterion.outcome == a.OUTCOME_MET)
    assert len(answer.subject_ref) == 22
    assert answer.authorised_by == a.AUTHORISED_BY_ASSERTED
    assert answer.environment == a.ENVIRONMENT_SANDBOX
    assert answer.charged and not answer.replayed
    assert answer.evidence.log_origin
    assert answer.provenance.policy_version
    assert answer.provenance.HasField("observed_at") and answer.provenance.HasField("position")
    assert answer.provenance.source in (a.SOURCE_IN_PROCESS, a.SOURCE_REDIS, a.SOURCE_REGISTRY)
    assert answer.HasField("reliance_until") == (purpose != c.PURPOSE_INSURANCE_CLAIM)


def test_two_answers_stand_at_two_places_of_one_log(rental_desk):
    first = rental_desk.Verify(asks.rental(NORMAL), timeout=5)
    second = rental_desk.Verify(asks.rental(NORMAL), timeout=5)
    assert first.evidence.log_origin == second.evidence.log_origin
    assert second.evidence.entry_index > first.evidence.entry_index


def test_a_subject_reference_is_stable_for_a_partner_and_differs_between_partners(rental_desk, insurer):
    mine = {rental_desk.Verify(asks.rental(NORMAL), timeout=5).subject_ref for _ in range(2)}
    theirs = insurer.Verify(asks.insurance_purchase(NORMAL), timeout=5).subject_ref
    assert len(mine) == 1
    assert theirs not in mine


def test_only_the_masked_name_is_released_to_a_rental_desk(rental_desk):
    answer = rental_desk.Verify(asks.rental(NORMAL), timeout=5)
    released = [field.name for field, _ in answer.disclosure.ListFields()]
    assert released == ["masked_name"]
    mask = answer.disclosure.masked_name
    assert mask[0] == NORMAL.name[0] and set(mask[1:]) == {"*"}
    assert NORMAL.number.encode() not in answer.SerializeToString()
    assert NORMAL.name.encode() not in answer.SerializeToString()


def test_a_compound_surname_is_kept_whole_in_the_mask(rental_desk):
    compound = driver("30")
    answer = rental_desk.Verify(asks.rental(compound), timeout=5)
    assert answer.disclosure.masked_name.startswith("欧阳")
    assert set(answer.disclosure.masked_name[2:]) == {"*"}


def test_nothing_is_released_to_a_recruiter(recruiter):
    answer = recruiter.Verify(asks.recruitment(NORMAL), timeout=5)
    assert not answer.disclosure.ListFields()


def test_a_request_may_narrow_the_fields_to_those_it_names(police):
    request = asks.enforcement(NORMAL)
    request.fields.append(a.FIELD_CLASSES)
    answer = police.Verify(request, timeout=5)
    assert list(answer.disclosure.classes) == [q.VEHICLE_CLASS_C1]
    assert not answer.disclosure.states and not answer.disclosure.HasField("paper_licence_needed")


def test_max_age_zero_reads_the_registry_and_the_next_reading_may_come_from_memory(rental_desk):
    fresh = asks.rental(NORMAL)
    fresh.max_age.SetInParent()
    assert rental_desk.Verify(fresh, timeout=5).provenance.source == a.SOURCE_REGISTRY
    assert rental_desk.Verify(asks.rental(NORMAL), timeout=5).provenance.source == a.SOURCE_IN_PROCESS


def test_three_ways_of_not_confirming_are_one_answer_of_one_size(rental_desk):
    """A wrong name, a number nobody has and a protected person must look alike: the gateway never says "unlicensed"."""
    wrong_name = asks.rental(NORMAL.renamed("张伟国"))
    no_such_number = asks.rental(UNKNOWN)
    protected = asks.rental(driver("29-protected"))
    answers = [rental_desk.Verify(request, timeout=5) for request in (wrong_name, no_such_number, protected)]
    sizes = [len(answer.SerializeToString()) for answer in answers]
    for answer in answers:
        assert answer.decision == a.DECISION_INDETERMINATE
        assert [criterion.reason for criterion in answer.criteria] == [a.REASON_SUBJECT_NOT_CONFIRMED]
        assert answer.subject_ref == "" and not answer.disclosure.ListFields()
        assert answer.advice == a.ADVICE_CHECK_INPUT
        assert answer.charged
    shapes = set()
    for answer in answers:
        answer.ClearField("evidence")
        for moment in ("observed_at", "known_at", "position"):
            answer.provenance.ClearField(moment)
        shapes.add(answer.SerializeToString(deterministic=True))
    assert len(shapes) == 1, "nothing but the time and place of the record may differ"
    assert max(sizes) - min(sizes) <= 4, f"only the varints of times and places may differ: {sizes}"


def test_a_file_number_that_does_not_fit_does_not_confirm(rental_desk):
    request = asks.rental(NORMAL)
    request.claim.file_number = "999999999999"
    assert rental_desk.Verify(request, timeout=5).decision == a.DECISION_INDETERMINATE


def test_a_contract_is_described_as_enforced(rental_desk):
    answer = rental_desk.DescribeContract(v.DescribeContractRequest(), timeout=5)
    contract = answer.contract
    assert contract.partner_id == "rental-demo"
    assert contract.kind == c.PARTNER_KIND_RENTAL
    assert [terms.purpose for terms in contract.purposes] == [c.PURPOSE_RENTAL]
    assert a.FIELD_MASKED_NAME in contract.purposes[0].fields
    assert contract.starts_at.seconds < asks.at(asks.now()).seconds < contract.ends_at.seconds
    assert contract.certificate_expires_at.seconds > asks.at(asks.now()).seconds
    assert contract.policy_version and contract.legal_name and contract.display_name
    assert answer.environment == a.ENVIRONMENT_SANDBOX


@pytest.mark.parametrize("partner", ["wallet-demo", "authority-demo"])
def test_partners_without_a_purpose_have_a_contract_too(gateway, partner):
    contract = gateway.partner(partner).DescribeContract(v.DescribeContractRequest(), timeout=5).contract
    assert contract.partner_id == partner


def test_asking_for_the_limits_spends_nothing(gateway):
    desk = gateway.partner("rental-demo")
    first = desk.GetLimits(v.GetLimitsRequest(), timeout=5)
    quotas = lambda found: {limit.kind: limit.remaining for limit in found.limits if limit.kind != m.LIMIT_KIND_RATE}  # noqa: E731
    for _ in range(5):
        last = desk.GetLimits(v.GetLimitsRequest(), timeout=5)
    assert quotas(first) == quotas(last)
    assert set(quotas(first)) == {m.LIMIT_KIND_QUOTA_MINUTE, m.LIMIT_KIND_QUOTA_HOUR, m.LIMIT_KIND_QUOTA_DAY}
    assert last.mode == m.LIMIT_MODE_LOCAL
    assert last.connections >= 1 and last.connections <= last.connections_max
    assert last.in_flight_max > 0


def test_an_answer_is_charged_once_per_request_id(gateway):
    desk = gateway.partner("rental-demo")
    request = asks.rental(NORMAL)
    request.request_id = str(uuid.uuid4())
    assert desk.Verify(request, timeout=5).charged
    assert not desk.Verify(request, timeout=5).charged


def test_a_trace_context_is_accepted(rental_desk):
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    metadata = [("traceparent", parent), ("tracestate", "partner=1")]
    assert rental_desk.Verify(asks.rental(NORMAL), timeout=5, metadata=metadata).decision == a.DECISION_QUALIFIED
    broken = [("traceparent", "00-zz-zz-01")]
    assert rental_desk.Verify(asks.rental(NORMAL), timeout=5, metadata=broken).decision == a.DECISION_QUALIFIED


def test_identity_comes_from_the_certificate_never_from_metadata(gateway):
    claimed = [("x-partner-id", "insurer-demo"), ("authorization", "Bearer insurer-demo")]
    answer = gateway.partner("rental-demo").DescribeContract(v.DescribeContractRequest(), timeout=5, metadata=claimed)
    assert answer.contract.partner_id == "rental-demo"


def test_health_is_served_to_partners(gateway):
    check = gateway.channel("rental-demo").unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=5) == b"\x08\x01", "SERVING"


def test_the_answer_survives_the_loss_of_redis(tmp_path_factory):
    """Redis may lose, hang or die: it can only cost time."""
    redis = d.Redis(tmp_path_factory.mktemp("redis-lost"))
    house = d.Deployment(tmp_path_factory.mktemp("lost") / "gateway")
    house.configure(lambda config: config["cache"].update(redis={"url": redis.url}))
    house.serve()
    try:
        desk = house.partner("rental-demo")
        assert desk.Verify(asks.rental(NORMAL), timeout=5).decision == a.DECISION_QUALIFIED
        redis.stop()
        for key in ("1", "6", "20"):
            answer = desk.Verify(asks.rental(driver(key)), timeout=2)
            assert answer.decision == a.DECISION_QUALIFIED
            assert answer.provenance.source in (a.SOURCE_REGISTRY, a.SOURCE_IN_PROCESS)
    finally:
        redis.stop()
        house.stop()


def test_redis_holds_no_number_and_no_name_in_the_clear(gateway, redis, rental_desk):
    for key in ("1", "2", "4", "6"):
        rental_desk.Verify(asks.rental(driver(key)), timeout=5)
    keys = redis.command("KEYS", "*")
    assert keys.startswith(b"*") and keys != b"*0\r\n", "the second level is in use"
    names = [line for line in keys.split(b"\r\n") if line and line[:1] not in b"*$"]
    stored = keys + b"".join(redis.command("GET", name.decode("latin-1")) for name in names)
    for key in ("1", "2", "4", "6"):
        assert driver(key).number.encode() not in stored
        assert driver(key).name.encode() not in stored


def test_a_channel_without_our_trust_is_not_opened(gateway, tmp_path):
    """The server proves itself, too: a client that trusts another authority gets nowhere."""
    other = d.authority(tmp_path / "other")
    stub = gateway.channel("rental-demo", gateway.credentials("rental-demo", trust=other))
    with pytest.raises(grpc.RpcError) as fault:
        stub.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=3)
    assert fault.value.code() == grpc.StatusCode.UNAVAILABLE
