"""Receipts, held against a second implementation that was made from docs/evidence.md alone."""

import concurrent.futures
import dataclasses
import struct
import subprocess
import uuid

import grpc
import pytest

import asks
import deployment as d
import receipt_verifier
from drivers import UNKNOWN, driver
from drivegate.v1 import answer_pb2 as a
from drivegate.v1 import verification_service_pb2 as v
from outcomes import assert_refused, refused

NORMAL = driver("1")


@dataclasses.dataclass
class Kept:
    request: v.VerifyRequest
    answer: v.VerifyResponse
    file: bytes


@pytest.fixture(scope="module")
def key(gateway) -> str:
    return gateway.run("audit", "key", str(gateway.folder)).stdout.strip()


@pytest.fixture(scope="module")
def kept(rental_desk) -> list[Kept]:
    """Two receipts of one driver and one of nobody, the first by its request id. Fetched last first: so the tree has grown
    before any is made, and every proof has a hash at least."""
    asked = []
    for who, request_id in ((NORMAL, f"rq-{uuid.uuid4()}"), (NORMAL, ""), (UNKNOWN, "")):
        request = asks.rental(who)
        request.request_id = request_id
        asked.append((request, rental_desk.Verify(request, timeout=5)))
    found = []
    for request, answer in reversed(asked):
        place = dict(request_id=request.request_id) if request.request_id else dict(evidence=answer.evidence)
        receipt = rental_desk.GetReceipt(v.GetReceiptRequest(**place), timeout=5)
        assert receipt.evidence == answer.evidence and not receipt.subject_erased
        found.insert(0, Kept(request, answer, receipt.receipt.encode()))
    return found


def micros(stamp) -> bytes:
    return struct.pack(">q", stamp.seconds * 1_000_000 + stamp.nanos // 1000)


def known(one: Kept) -> dict[str, bytes]:
    """What a rental desk knows, as the bytes of docs/evidence.md §4."""
    asked = one.request.rental
    vehicle = bytes([1, 6, 0, 0, 1, 1]) + b"\x01\x00\x05" + b"\x01" + struct.pack(">I", 1900) + b"\x01\x00\x00\x00\x00" + b"\x01"
    tenure = struct.pack(">?H", asked.min_tenure_months > 0, asked.min_tenure_months)
    question = b"\x03" + micros(asked.pick_up) + micros(getattr(asked, "return")) + tenure + struct.pack(">H", 0) + vehicle
    claim = one.request.claim
    values = {
        "licence-number": bytes([1]) + claim.licence_number.encode(),
        "full-name": claim.full_name.encode(),
        "case-reference": one.request.case_reference.encode(),
        "operator": one.request.operator_id.encode(),
        "question": question,
    }
    if one.request.request_id:
        values["request-id"] = one.request.request_id.encode()
    if one.answer.HasField("reliance_until"):
        values["reliance-until"] = micros(one.answer.reliance_until)
    shown = one.answer.disclosure
    if shown.HasField("masked_name"):
        values["masked-name"] = shown.masked_name.encode()
    if shown.tenure_band:
        values["tenure-band"] = bytes([shown.tenure_band])
    return values


def ours(path, key: str) -> bool:
    """What the product says of a file, without opening anything."""
    done = subprocess.run([str(d.BINARY), "receipt", "verify", str(path), "--key", key], capture_output=True, timeout=60)
    assert done.returncode in (0, 1) and b"panicked" not in done.stderr, done
    return done.returncode == 0


def theirs(data: bytes, key: str) -> bool:
    try:
        receipt_verifier.verify(data, receipt_verifier.Key.parse(key, 1))
    except receipt_verifier.Refused:
        return False
    return True


def judge(folder, files: dict[str, bytes], key: str) -> dict[str, bool]:
    """Asks both verifiers about every file; they must agree. Returns what they said."""

    def one(named):
        name, data = named
        path = folder / f"{name}.tlog-proof"
        path.write_bytes(data)
        said = ours(path, key), theirs(data, key)
        path.unlink()
        assert said[0] == said[1], f"{name}: ours says {said[0]}, the other {said[1]}"
        return name, said[0]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return dict(pool.map(one, files.items()))


def test_a_receipt_holds_and_every_value_of_it_can_be_shown(kept, key):
    log = receipt_verifier.Key.parse(key, 1)
    for one in kept:
        values = known(one)
        receipt = receipt_verifier.verify(one.file, log, values)
        assert receipt.index == one.answer.evidence.entry_index and receipt.origin == one.answer.evidence.log_origin
        assert receipt.entry.partner == "rental-demo" and receipt.entry.decision == one.answer.decision
        assert {receipt_verifier.LEAVES[code] for code in receipt.entry.leaves} == set(values)
        with pytest.raises(receipt_verifier.Refused):
            receipt_verifier.verify(one.file, log, values | {"operator": b"clerk-18"})
        with pytest.raises(receipt_verifier.Refused):
            receipt_verifier.verify(one.file, log, {"operator": values["operator"]})


def test_both_verifiers_agree_whatever_was_done_to_a_receipt(tmp_path, kept, key):
    good, other = kept[0].file, kept[1].file
    assert judge(tmp_path, {f"good-{place}": one.file for place, one in enumerate(kept)}, key) == {
        f"good-{place}": True for place in range(len(kept))
    }
    flipped = {f"flip-{at}": good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(len(good))}
    log, values = receipt_verifier.Key.parse(key, 1), known(kept[0])
    extra = range(good.index(b"extra "), good.index(b"\nindex "))
    for name, holds in judge(tmp_path, flipped, key).items():
        if holds:  # a salt: it is held against the entry as soon as values are shown
            assert int(name.removeprefix("flip-")) in extra
            with pytest.raises(receipt_verifier.Refused):
                receipt_verifier.verify(flipped[name], log, values)
    cut = {f"cut-{length}": good[:length] for length in range(0, len(good), 7)}
    assert not any(judge(tmp_path, cut, key).values())

    mine, others = good.split(b"\n"), other.split(b"\n")
    blank, other_blank = mine.index(b""), others.index(b"")
    swapped = {
        "entry": mine[:1] + others[1:2] + mine[2:],
        "index": mine[:2] + others[2:3] + mine[3:],
        "entry-and-index": mine[:1] + others[1:3] + mine[3:],
        "proof": mine[:3] + others[3:other_blank] + mine[blank:],
        "unsigned": mine[: blank + 4] + [b"", b""],
        "no-proof": mine[:3] + mine[blank:],
        "twice-signed": mine[:-1] + mine[-2:],
        "padded": good.split(b"\n") + [b""],
    }
    verdicts = judge(tmp_path, {name: b"\n".join(lines) for name, lines in swapped.items()}, key)
    assert [name for name, holds in verdicts.items() if holds] == ["twice-signed"]
    checkpoint = b"\n".join(mine[:blank] + others[other_blank:])
    judge(tmp_path, {"checkpoint": checkpoint}, key)  # of the same size both are one; else the proof does not lead there


def test_another_partner_is_told_the_same_of_what_is_there_and_what_is_not(insurer, kept):
    there = kept[0].answer.evidence
    nowhere = a.Evidence(log_origin=there.log_origin, entry_index=there.entry_index + 1_000_000)
    unknown = a.Evidence(log_origin="nobody-0123456789abcdef", entry_index=0)
    asked = [dict(evidence=there), dict(evidence=nowhere), dict(evidence=unknown), dict(request_id=kept[0].request.request_id)]
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        calls = [pool.submit(refused, insurer.GetReceipt, v.GetReceiptRequest(**one)) for one in asked]
        for call in calls:
            assert_refused(call.result(), grpc.StatusCode.NOT_FOUND, "ENTRY_NOT_FOUND")


def test_nothing_asked_for_is_a_fault_of_the_request(rental_desk):
    assert_refused(refused(rental_desk.GetReceipt, v.GetReceiptRequest()), grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    short = v.GetReceiptRequest(request_id="short")
    assert_refused(refused(rental_desk.GetReceipt, short), grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
