"""The test drivers every sandbox holds (`docs/test-drivers.md`), by row and twin."""

import dataclasses
import json
import pathlib

import stubs  # noqa: F401
from drivegate.v1 import subject_pb2 as s

CATALOGUE = pathlib.Path(__file__).resolve().parents[1] / "drivers.json"


@dataclasses.dataclass(frozen=True)
class Driver:
    """Number and name as the driver would tell them."""

    key: str
    number: str
    name: str
    document_kind: int = s.DOCUMENT_KIND_RESIDENT_ID

    def renamed(self, name: str) -> "Driver":
        return dataclasses.replace(self, name=name)

    def renumbered(self, number: str) -> "Driver":
        return dataclasses.replace(self, number=number)


def _read() -> dict[str, Driver]:
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    kind = lambda word: s.DocumentKind.Value("DOCUMENT_KIND_" + word.upper().replace("-", "_"))  # noqa: E731
    return {e["key"]: Driver(e["key"], e["number"], e["name"], kind(e["document"])) for e in entries}


ALL = _read()


def driver(key: str) -> Driver:
    """The driver of a row: "1", or a twin such as "3-twin"."""
    return ALL[key]


def check_character(body: str) -> str:
    """GB 11643-1999: ISO 7064 MOD 11-2 over the first 17 digits."""
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, weights)) % 11]


def number_of(birth: str, order: str = "004", area: str = "099900") -> str:
    """A number that cannot be a real person's: its area begins with 0."""
    body = area + birth + order
    return body + check_character(body)


#: Nobody: a well-formed number that no record has.
UNKNOWN = Driver("unknown", number_of("19850617", "731", "098765"), "无名氏")
