"""The licence authority's stream, from a client that shares no code with the server: every good path, every refusal."""

import datetime
import itertools
import queue
import subprocess
import threading
import time

import grpc
import pytest

import asks
import deployment as d
from drivers import UNKNOWN, driver
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import authority_pb2 as m
from drivegate.v1 import authority_service_pb2 as s
from drivegate.v1 import authority_service_pb2_grpc as rpc
from drivegate.v1 import question_pb2 as q
from drivegate.v1 import subject_pb2 as subject
from outcomes import assert_refused, refusal

DENIED = grpc.StatusCode.PERMISSION_DENIED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
NORMAL = driver("1")
SOON_SECONDS = 10
#: Ids never repeat within a run: the shared gateway remembers them.
IDS = (f"py-{number}" for number in itertools.count(1))


class Stream:
    """One stream: changes go in, acknowledgements come out."""

    def __init__(self, channel: grpc.Channel, **options):
        self.requests: queue.Queue = queue.Queue()
        self.call = rpc.AuthorityServiceStub(channel).ApplyChanges(iter(self.requests.get, None), **options)

    def send(self, *changes: m.LicenceChange) -> None:
        self.requests.put(s.ApplyChangesRequest(changes=changes))

    def read(self, count: int) -> list:
        """Reads so many acknowledgements; a stream that ends before raises its status."""
        told: list = []
        timer = threading.Timer(SOON_SECONDS, self.call.cancel)
        timer.start()
        try:
            while len(told) < count:
                told.extend(next(self.call).acknowledgements)
        finally:
            timer.cancel()
        assert len(told) == count
        return told

    def told(self, *changes: m.LicenceChange) -> list:
        self.send(*changes)
        return self.read(len(changes))

    def close(self) -> None:
        """Half-closes; the stream must then end well."""
        self.requests.put(None)
        assert list(self.call) == []

    def refused(self):
        with pytest.raises(grpc.RpcError) as fault:
            self.read(1)
        return refusal(fault.value)


@pytest.fixture
def stream(house):
    house.serve()
    return Stream(house.channel("authority-demo"))


def change(sequence: int, about=NORMAL, **fields) -> m.LicenceChange:
    """A change recorded and in effect now; a test sets its kind."""
    now = asks.at(asks.now())
    envelope = dict(
        source="main", change_id=next(IDS), sequence=sequence, document_kind=about.document_kind, licence_number=about.number
    )
    if "effective_day" not in fields:
        envelope["effective_at"] = now
    envelope.update(recorded_at=now)
    envelope.update(fields)
    empty = [name for name, value in envelope.items() if value == {}]
    made = m.LicenceChange(**{name: value for name, value in envelope.items() if name not in empty})
    for name in empty:
        getattr(made, name).SetInParent()
    return made


def letter(sequence: int, value: str, **fields) -> m.LicenceChange:
    return change(sequence, state_set=m.StateLetterSet(letter=value), **fields)


def decision(house, about=NORMAL):
    """What the police are told: always the same question."""
    answer = house.partner("enforcement-demo").Verify(asks.enforcement(about), timeout=5)
    return answer.decision, [criterion.reason for criterion in answer.criteria if criterion.reason]


def outcomes(told: list) -> list:
    return [one.outcome for one in told]


def test_changes_are_acknowledged_in_order_and_hold_in_the_next_answer(house, stream):
    assert decision(house)[0] == a.DECISION_QUALIFIED
    first, second = stream.told(letter(1, "H"), letter(2, "F"))
    assert (first.outcome, second.outcome) == (m.CHANGE_OUTCOME_APPLIED, m.CHANGE_OUTCOME_APPLIED)
    assert (first.number, second.number) == (1, 2)
    assert second.position.seq == first.position.seq + 1 and first.position.epoch >= 1
    assert decision(house)[0] == a.DECISION_NOT_QUALIFIED
    assert outcomes(stream.told(change(3, state_lifted="F"))) == [m.CHANGE_OUTCOME_APPLIED]
    assert decision(house)[0] == a.DECISION_QUALIFIED
    stream.close()


def test_a_change_sent_again_is_a_duplicate_and_happens_once(house, stream):
    one = letter(1, "F")
    (applied,) = stream.told(one)
    stream.close()
    (again,) = Stream(house.channel("authority-demo")).told(one)
    assert (again.outcome, again.stands) == (m.CHANGE_OUTCOME_DUPLICATE, m.CHANGE_OUTCOME_APPLIED)
    assert again.position == applied.position


def test_a_gap_is_held_and_disputed_until_it_is_filled(house, stream):
    late, early = letter(1, "H"), letter(2, "F")
    assert outcomes(stream.told(early)) == [m.CHANGE_OUTCOME_HELD]
    assert decision(house) == (a.DECISION_INDETERMINATE, [a.REASON_RECORD_IN_DISPUTE])
    assert outcomes(stream.told(late)) == [m.CHANGE_OUTCOME_APPLIED]
    assert decision(house)[0] == a.DECISION_NOT_QUALIFIED
    (again,) = stream.told(early)
    assert (again.outcome, again.stands) == (m.CHANGE_OUTCOME_DUPLICATE, m.CHANGE_OUTCOME_APPLIED)


def test_after_five_seconds_a_gap_is_quarantine_and_still_heals(house, stream):
    late, early = letter(1, "H"), letter(2, "F")
    stream.told(early)
    time.sleep(6.5)
    (again,) = stream.told(early)
    assert (again.stands, again.quarantine_reason) == (m.CHANGE_OUTCOME_QUARANTINED, m.QUARANTINE_REASON_SEQUENCE_GAP)
    d.eventually(lambda: house.metric("drivegate_intake_waiting", state="quarantined") == 1, 5, "the gauge shows it")
    stream.told(late)
    assert decision(house)[0] == a.DECISION_NOT_QUALIFIED


def test_a_new_holder_begins_with_the_number(house, stream):
    day = a.CivilDate(year=2026, month=1, day=5)
    about = UNKNOWN
    steps = [
        dict(number_set=m.NumberSet(document_kind=about.document_kind, licence_number=about.number)),
        dict(name_set=about.name),
        dict(issued={}, effective_day=day),
        dict(class_added=q.VEHICLE_CLASS_C1, effective_day=day),
        dict(validity_set=m.LicenceValidity(term=m.VALIDITY_TERM_SIX_YEARS, last_day=a.CivilDate(year=2032, month=1, day=5)), effective_day=day),
    ]
    told = stream.told(*[change(index + 1, about, **step) for index, step in enumerate(steps)])
    assert outcomes(told) == [m.CHANGE_OUTCOME_APPLIED] * len(steps), told
    assert decision(house, about)[0] == a.DECISION_QUALIFIED


QUARANTINED = {
    "impossible: a class for a revoked licence": (
        lambda: [letter(1, "F"), change(2, class_added=q.VEHICLE_CLASS_A1)],
        m.QUARANTINE_REASON_LICENCE_ENDED,
    ),
    "a class held already": (lambda: [change(1, class_added=q.VEHICLE_CLASS_C1)], m.QUARANTINE_REASON_CLASS_HELD),
    "a class not held": (lambda: [change(1, class_removed=q.VEHICLE_CLASS_A1)], m.QUARANTINE_REASON_CLASS_NOT_HELD),
    "a letter not carried": (lambda: [change(1, state_lifted="U")], m.QUARANTINE_REASON_LETTER_NOT_CARRIED),
    "an endorsement not held": (
        lambda: [change(1, endorsement_lifted=m.LICENCE_ENDORSEMENT_SCHOOL_BUS)],
        m.QUARANTINE_REASON_ENDORSEMENT_NOT_HELD,
    ),
    "points never set": (lambda: [change(1, points_reversed={})], m.QUARANTINE_REASON_NOTHING_TO_REVERSE),
    "before birth": (
        lambda: [letter(1, "H", effective_day=a.CivilDate(year=1950, month=1, day=1))],
        m.QUARANTINE_REASON_BEFORE_BIRTH,
    ),
    "before issue": (
        lambda: [change(1, class_added=q.VEHICLE_CLASS_A1, effective_day=a.CivilDate(year=2000, month=1, day=1))],
        m.QUARANTINE_REASON_NOT_ISSUED,
    ),
    "ends before it begins": (
        lambda: [change(1, validity_set=m.LicenceValidity(term=m.VALIDITY_TERM_SIX_YEARS, last_day=a.CivilDate(year=2020, month=1, day=1)))],
        m.QUARANTINE_REASON_ENDS_BEFORE_IT_BEGINS,
    ),
    "recorded time back": (
        lambda: [letter(1, "H", recorded_at=asks.at(asks.days(-40_000)))],
        m.QUARANTINE_REASON_RECORDED_TIME_BACK,
    ),
    "recorded time ahead": (
        lambda: [letter(1, "H", recorded_at=asks.at(asks.now() + datetime.timedelta(minutes=5)))],
        m.QUARANTINE_REASON_RECORDED_TIME_AHEAD,
    ),
    "unknown subject": (lambda: [letter(1, "H", about=UNKNOWN)], m.QUARANTINE_REASON_UNKNOWN_SUBJECT),
    "a number of somebody else": (
        lambda: [change(1, number_set=m.NumberSet(document_kind=driver("2").document_kind, licence_number=driver("2").number))],
        m.QUARANTINE_REASON_NUMBER_TAKEN,
    ),
    "an unknown kind": (lambda: [change(1)], m.QUARANTINE_REASON_NOT_UNDERSTOOD),
    "an unknown class": (lambda: [change(1, class_added=99)], m.QUARANTINE_REASON_NOT_UNDERSTOOD),
    "no recorded time": (lambda: [letter(1, "H", recorded_at=None)], m.QUARANTINE_REASON_NOT_UNDERSTOOD),
    "no effective time": (lambda: [letter(1, "H", effective_at=None)], m.QUARANTINE_REASON_NOT_UNDERSTOOD),
    "two letters": (lambda: [letter(1, "SH")], m.QUARANTINE_REASON_NOT_UNDERSTOOD),
    "too many points": (lambda: [change(1, points_set=256)], m.QUARANTINE_REASON_NOT_UNDERSTOOD),
}


@pytest.mark.parametrize("case", QUARANTINED)
def test_what_cannot_be_taken_waits_with_its_reason_and_is_never_silent(house, stream, case):
    made, reason = QUARANTINED[case]
    last = stream.told(*made())[-1]
    assert (last.outcome, last.quarantine_reason) == (m.CHANGE_OUTCOME_QUARANTINED, reason)
    assert not last.HasField("position")
    if reason == m.QUARANTINE_REASON_NOT_UNDERSTOOD:
        assert last.faults and last.faults[0].field
    if reason != m.QUARANTINE_REASON_UNKNOWN_SUBJECT:
        assert decision(house) == (a.DECISION_INDETERMINATE, [a.REASON_RECORD_IN_DISPUTE])


def test_an_id_used_twice_and_a_place_taken(house, stream):
    first = letter(1, "H")
    stream.told(first)
    (reused,) = stream.told(letter(1, "F", change_id=first.change_id))
    assert reused.quarantine_reason == m.QUARANTINE_REASON_CHANGE_ID_REUSED
    (taken,) = stream.told(letter(1, "F"))
    assert taken.quarantine_reason == m.QUARANTINE_REASON_OUT_OF_SEQUENCE
    assert outcomes(stream.told(letter(2, "S"))) == [m.CHANGE_OUTCOME_APPLIED]


REJECTED = {
    "source": dict(source="Not A Feed"),
    "change_id": dict(change_id="spaces are not visible"),
    "sequence": dict(sequence=0),
    "document_kind": dict(document_kind=subject.DOCUMENT_KIND_UNSPECIFIED),
    "licence_number": dict(licence_number="000000199001010115"),
}


@pytest.mark.parametrize("field", REJECTED)
def test_a_broken_envelope_is_rejected_by_name_and_the_stream_goes_on(stream, field):
    spoiled = letter(1, "H")
    for name, value in REJECTED[field].items():
        setattr(spoiled, name, value)
    rejected, applied = stream.told(spoiled, letter(1, "H"))
    assert (rejected.outcome, rejected.reject_reason) == (m.CHANGE_OUTCOME_REJECTED, m.REJECT_REASON_MALFORMED)
    assert [fault.field for fault in rejected.faults] == [field]
    assert "000000199001010115" not in str(rejected), "no value is repeated"
    assert applied.outcome == m.CHANGE_OUTCOME_APPLIED


def test_an_empty_change_is_rejected(stream):
    (rejected,) = stream.told(m.LicenceChange())
    assert rejected.outcome == m.CHANGE_OUTCOME_REJECTED and len(rejected.faults) == 4


def test_a_feed_is_bounded_per_subject(house, stream):
    first = letter(1, "H")
    told = stream.told(*[letter(sequence, "H") for sequence in range(2, 67)])
    assert outcomes(told[:64]) == [m.CHANGE_OUTCOME_HELD] * 64
    assert (told[64].outcome, told[64].reject_reason) == (m.CHANGE_OUTCOME_REJECTED, m.REJECT_REASON_SUBJECT_FULL)
    assert outcomes(stream.told(first)) == [m.CHANGE_OUTCOME_APPLIED]
    assert decision(house)[0] != a.DECISION_INDETERMINATE


@pytest.mark.parametrize("partner", ["rental-demo", "insurer-demo", "recruiter-demo", "transport-demo", "enforcement-demo", "wallet-demo"])
def test_other_kinds_are_refused(gateway, partner):
    found = Stream(gateway.channel(partner)).refused()
    assert_refused(found, DENIED, "METHOD_NOT_PERMITTED")


def test_messages_that_cannot_be_read_end_the_stream_with_the_rule(house):
    house.serve()
    none = Stream(house.channel("authority-demo"))
    none.send()
    assert_refused(none.refused(), INVALID, "REQUEST_MALFORMED")
    many = Stream(house.channel("authority-demo"))
    many.send(*[letter(sequence, "H") for sequence in range(1, 130)])
    found = assert_refused(many.refused(), INVALID, "REQUEST_MALFORMED")
    assert "128" in found.violations["changes"]
    large = Stream(house.channel("authority-demo"))
    large.send(change(1, name_set="x" * 70_000))
    found = assert_refused(large.refused(), EXHAUSTED, "REQUEST_TOO_LARGE")
    assert "65536" in found.violations[""]
    assert decision(house)[0] == a.DECISION_QUALIFIED, "nothing of it was taken"


def test_what_came_before_a_message_that_cannot_be_read_is_still_acknowledged(house):
    house.serve()
    stream = Stream(house.channel("authority-demo"))
    stream.send(letter(1, "F"))
    stream.send()
    assert outcomes(stream.read(1)) == [m.CHANGE_OUTCOME_APPLIED]
    assert_refused(stream.refused(), INVALID, "REQUEST_MALFORMED")


def test_raw_bytes_are_no_message(house):
    house.serve()
    method = house.channel("authority-demo").stream_stream("/drivegate.v1.AuthorityService/ApplyChanges")
    with pytest.raises(grpc.RpcError) as fault:
        list(method(iter([b"\xff\xff\xff\xff"]), timeout=5))
    assert_refused(refusal(fault.value), INVALID, "REQUEST_MALFORMED")


def test_a_compressed_message_is_refused(house):
    house.serve()
    stream = Stream(house.channel("authority-demo"), compression=grpc.Compression.Gzip)
    stream.send(letter(1, "H", source="m" * 40, change_id="x" * 64))
    found = stream.refused()
    assert_refused(found, grpc.StatusCode.UNIMPLEMENTED, "COMPRESSION_NOT_ACCEPTED")


def test_so_many_streams_at_once(house):
    house.serve()
    held = [Stream(house.channel("authority-demo")) for _ in range(4)]
    for index, stream in enumerate(held):
        stream.told(letter(1, "H", source=f"f{index}"))
    assert_refused(Stream(house.channel("authority-demo")).refused(), EXHAUSTED, "IN_FLIGHT_EXCEEDED")
    held.pop().close()
    d.eventually(lambda: _opens(house), 5, "a stream that ended makes room")


def _opens(house) -> bool:
    stream = Stream(house.channel("authority-demo"))
    try:
        stream.told(letter(9, "H", source="again"))
        return True
    except grpc.RpcError:
        return False


def test_a_suspension_ends_an_idle_stream_within_a_second(house, stream):
    stream.told(letter(1, "H"))
    house.run("partner", "suspend", "--dir", str(house.folder), "authority-demo", "--reason", "test")
    began = time.monotonic()
    assert_refused(stream.refused(), DENIED, "PARTNER_SUSPENDED")
    assert time.monotonic() - began < 1.6
    house.run("partner", "resume", "--dir", str(house.folder), "authority-demo")


def test_a_client_that_reads_nothing_is_held_back_and_loses_nothing(house, stream):
    everybody = [driver(row) for row in ("1", "4", "8")]
    for sequence in range(1, 501):
        stream.send(*[change(sequence, about, points_set=1) for about in everybody])
    time.sleep(1)
    told = stream.read(1_500)
    assert outcomes(told) == [m.CHANGE_OUTCOME_APPLIED] * 1_500
    assert [one.number for one in told] == list(range(1, 1_501))
    stream.close()


def test_a_stop_drains_the_stream(house, stream):
    stream.told(letter(1, "H"))
    waiting = threading.Thread(target=house.stop)
    waiting.start()
    assert_refused(stream.refused(), UNAVAILABLE, "DRAINING")
    waiting.join()
    assert house.process.returncode == 0


def test_the_operator_settles_what_is_stuck(house, stream):
    stream.told(letter(1, "F"), change(2, class_added=q.VEHICLE_CLASS_A1), change(3, state_lifted="F"))
    place = ("--dir", str(house.folder))
    listed = house.run("registry", "quarantine", "list", *place).stdout
    assert "licence-ended" in listed and NORMAL.number not in listed
    handle = listed.splitlines()[1].split()[0]
    refused = subprocess.run(
        [str(d.BINARY), "registry", "quarantine", "replay", handle, *place], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1 and "licence-ended" in refused.stderr
    house.run("registry", "quarantine", "discard", handle, *place)
    assert decision(house)[0] == a.DECISION_QUALIFIED
    assert "nothing waits" in house.run("registry", "quarantine", "list", *place).stdout
