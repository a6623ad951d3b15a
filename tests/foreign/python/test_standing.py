"""Who may call: found at the handshake, read again on every request, cut off within a second."""

import datetime
import time

import grpc
import pytest

import asks
import deployment as d
from drivers import driver
from drivegate.v1 import verification_service_pb2 as v
from outcomes import assert_refused, refusal, refused

NORMAL = driver("1")
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
CUT_OFF_SECONDS = 1.0


def cut_off(stub, seconds: float = CUT_OFF_SECONDS):
    """Asks on an open connection until it is refused; fails when that takes longer than promised."""
    end = time.monotonic() + seconds + 0.15  # one request's own time
    while True:
        try:
            stub.DescribeContract(v.DescribeContractRequest(), timeout=5)
        except grpc.RpcError as fault:
            return refusal(fault)
        assert time.monotonic() < end, f"still answered after {seconds} s"
        time.sleep(0.02)


def handshake_refused(channel) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as fault:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=3)
    return fault.value.code()


def test_no_certificate_no_connection(gateway):
    assert handshake_refused(gateway.channel(None)) == grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_authority_is_no_certificate(gateway, house, tmp_path):
    other = d.authority(tmp_path / "other")
    house.issue("rental-demo", house.uris("rental-demo"), authority=other)
    key, chain = (house.pki / "rental-demo.key").read_bytes(), (house.pki / "rental-demo.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials((gateway.pki / "ca.pem").read_bytes(), key, chain)
    assert handshake_refused(gateway.channel(None, credentials)) == grpc.StatusCode.UNAVAILABLE


def test_a_certificate_no_contract_lists_is_told_so(house):
    house.issue("stranger", ["spiffe://drivegate.test/partner/stranger"])
    house.serve()
    found = refused(house.partner("stranger").DescribeContract, v.DescribeContractRequest())
    assert_refused(found, UNKNOWN, "PARTNER_NOT_KNOWN")


def test_a_common_name_identifies_nobody(house):
    house.issue("rental-demo", ["spiffe://drivegate.test/partner/nobody"])
    house.serve()
    found = refused(house.partner("rental-demo").DescribeContract, v.DescribeContractRequest())
    assert_refused(found, UNKNOWN, "PARTNER_NOT_KNOWN")


def test_a_suspended_partner_is_cut_off_on_its_open_connection_and_comes_back(house):
    house.serve()
    desk = house.partner("rental-demo")
    desk.Verify(asks.rental(NORMAL), timeout=5)
    house.run("partner", "suspend", "--dir", str(house.folder), "rental-demo", "--reason", "invoice overdue")
    found = cut_off(desk)
    assert_refused(found, DENIED, "PARTNER_SUSPENDED")
    assert "invoice" not in found.message and b"invoice" not in found.raw, "the operator's words stay inside"
    assert_refused(refused(house.partner("rental-demo").Verify, asks.rental(NORMAL)), DENIED, "PARTNER_SUSPENDED")
    house.partner("insurer-demo").Verify(asks.insurance_claim(NORMAL), timeout=5)
    house.run("partner", "resume", "--dir", str(house.folder), "rental-demo")
    d.eventually(lambda: _answers(desk), 1.5, "a resumed partner is served")


def _answers(stub) -> bool:
    try:
        return bool(stub.DescribeContract(v.DescribeContractRequest(), timeout=5))
    except grpc.RpcError:
        return False


def test_a_suspension_survives_a_restart(house):
    house.serve()
    house.run("partner", "suspend", "--dir", str(house.folder), "rental-demo", "--reason", "test")
    cut_off(house.partner("rental-demo"))
    assert house.stop() == 0
    house.serve()
    assert_refused(refused(house.partner("rental-demo").Verify, asks.rental(NORMAL)), DENIED, "PARTNER_SUSPENDED")


def test_a_suspension_in_the_contract_file_bites_within_a_second(house):
    house.serve()
    desk = house.partner("rental-demo")
    desk.Verify(asks.rental(NORMAL), timeout=5)
    house.contract("rental-demo", lambda document: document.__setitem__("suspended", True))
    assert_refused(cut_off(desk), DENIED, "PARTNER_SUSPENDED")


def test_a_revoked_certificate_is_cut_off_on_its_open_connection_and_at_the_next_handshake(house):
    house.serve()
    desk = house.partner("rental-demo")
    desk.Verify(asks.rental(NORMAL), timeout=5)
    house.run("pki", "revoke", "--dir", str(house.pki), "--cert", str(house.pki / "rental-demo.pem"))
    assert_refused(cut_off(desk), UNKNOWN, "CERTIFICATE_NOT_ACCEPTED")
    assert handshake_refused(house.channel("rental-demo")) == grpc.StatusCode.UNAVAILABLE
    house.partner("insurer-demo").Verify(asks.insurance_claim(NORMAL), timeout=5)


@pytest.mark.parametrize("days_from, days_until", [(-400, -1), (2, 400)], ids=["ended", "not begun"])
def test_outside_the_contracts_dates_nothing_is_answered(house, days_from, days_until):
    today = asks.now().date()
    dates = {"from": today + datetime.timedelta(days_from), "until": today + datetime.timedelta(days_until)}
    house.contract("rental-demo", lambda document: document.__setitem__("validity", dates))
    house.serve()
    found = refused(house.partner("rental-demo").Verify, asks.rental(NORMAL))
    assert_refused(found, DENIED, "CONTRACT_NOT_IN_FORCE")


def test_the_last_day_of_a_contract_is_part_of_it(house):
    today = asks.now().date()
    house.contract("rental-demo", lambda document: document["validity"].update(until=today))
    house.serve()
    assert house.partner("rental-demo").Verify(asks.rental(NORMAL), timeout=5).charged


def test_a_contract_that_is_removed_no_longer_lists_its_certificate(house):
    house.serve()
    desk = house.partner("rental-demo")
    desk.Verify(asks.rental(NORMAL), timeout=5)
    (house.folder / "partners" / "rental-demo.toml").unlink()
    assert_refused(cut_off(desk), UNKNOWN, "PARTNER_NOT_KNOWN")


def test_a_bad_contract_file_keeps_the_last_good_one_and_degrades_health(house):
    house.serve()
    desk = house.partner("rental-demo")
    path = house.folder / "partners" / "rental-demo.toml"
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("rate_per_second", "rate_per_secnod"), encoding="utf-8")
    reasons = d.eventually(lambda: _not_ready(house), 2, "/readyz names the bad file")
    assert "rental-demo.toml" in reasons and "rate_per_secnod" in reasons
    assert desk.Verify(asks.rental(NORMAL), timeout=5).charged
    path.write_text(good, encoding="utf-8")
    d.eventually(lambda: not _not_ready(house), 2, "/readyz is well again")


def _not_ready(house) -> str:
    status, text = house.fetch("/readyz")
    return text if "rental-demo.toml" in text else ""


def test_a_changed_contract_holds_within_a_second(house):
    house.serve()
    desk = house.partner("rental-demo")
    desk.Verify(asks.rental(NORMAL, tenure=12), timeout=5)
    house.contract("rental-demo", lambda document: document["purpose"][0].__setitem__("tenure_months", [6]))
    time.sleep(1.0)
    found = refused(desk.Verify, asks.rental(NORMAL, tenure=12))
    assert_refused(found, grpc.StatusCode.INVALID_ARGUMENT, "QUESTION_NOT_IN_CONTRACT")
