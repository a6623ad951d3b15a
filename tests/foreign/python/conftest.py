"""Given: one sandbox deployment for the whole run, and fresh ones for tests that spoil theirs."""

import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import pytest  # noqa: E402

import deployment as d  # noqa: E402


#: The shared gateway's partners are not held back; limits have deployments of their own.
PLENTY = dict(rate_per_second=100_000, burst=10_000, in_flight_max=1_000, connections_max=2_000)
MISSES_FREELY = dict(subjects_max=100_000, slow_unconfirmed=1_000_000, suspend_unconfirmed=1_000_000)


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    server = d.Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, redis):
    """The gateway most tests share: Redis as the second cache level, nobody changes its contracts."""
    house = d.Deployment(tmp_path_factory.mktemp("shared") / "gateway", drivers=2000)
    house.configure(lambda config: config["cache"].update(redis={"url": redis.url}))
    house.configure(lambda config: config.update(bounds={"connections_per_address_max": 2_000}))
    for partner in sorted((house.folder / "partners").glob("*.toml")):
        house.contract(partner.stem, lambda document: document["allowance"].update(PLENTY))
        house.contract(partner.stem, lambda document: document.setdefault("claims", {}).update(MISSES_FREELY))
    house.serve()
    yield house
    assert house.stop() == 0, "a stop by SIGTERM is a clean one"


@pytest.fixture
def house(tmp_path):
    """A deployment of the test's own, not started yet."""
    own = d.Deployment(tmp_path / "own")
    yield own
    own.stop()


@pytest.fixture(scope="session")
def rental_desk(gateway):
    return gateway.partner("rental-demo")


@pytest.fixture(scope="session")
def insurer(gateway):
    return gateway.partner("insurer-demo")


@pytest.fixture(scope="session")
def recruiter(gateway):
    return gateway.partner("recruiter-demo")


@pytest.fixture(scope="session")
def carrier(gateway):
    return gateway.partner("transport-demo")


@pytest.fixture(scope="session")
def police(gateway):
    return gateway.partner("enforcement-demo")
