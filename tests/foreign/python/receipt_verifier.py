"""Verifies receipts, from docs/evidence.md alone: the standard library, and Ed25519 from `cryptography`.

As a program: `receipt_verifier.py KEY [--witness KEY]… [--open NAME=HEX]… < FILE`, exit status 0 if the receipt holds.
"""

import base64
import binascii
import dataclasses
import hashlib
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FILE_BYTES_MAX = 64 * 1024
ENTRY_BYTES_MAX = 350
TREE_SIZE_MAX = 2**48
SIGNATURES_MAX = 100
PROOF_HASHES_MAX = 64

LEAVES = {
    0: "licence-number", 1: "full-name", 2: "file-number", 3: "case-reference", 4: "operator", 5: "question", 6: "consent",
    7: "request-id", 8: "presentation", 12: "reliance-until", 13: "remedies", 17: "masked-name", 18: "expired-on", 19: "probation",
    20: "tenure-band", 21: "pending", 22: "states", 23: "classes", 24: "paper-licence-needed",
    25: "display", 26: "class-groups",
}  # fmt: skip


class Refused(Exception):
    """The first thing wrong with a receipt."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def unbase64(text: str) -> bytes:
    """Base64 in the one way it can be written."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("not base64") from error
    demand(base64.b64encode(data).decode() == text, "base64 written otherwise")
    return data


def number(text: str, most: int) -> int:
    demand(text.isascii() and text.isdigit() and (text == "0" or text[0] != "0"), "not a number")
    value = int(text)
    demand(value <= most, "a number too large")
    return value


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@dataclasses.dataclass
class Key:
    name: str
    id: bytes
    public: bytes

    @classmethod
    def parse(cls, line: str, kind: int) -> "Key":
        name, key_id, typed = line.strip().split("+", 2)
        material = unbase64(typed)
        demand(len(material) == 33 and material[0] == kind, "not an Ed25519 key of this kind")
        expected = sha256(name.encode() + b"\n" + material)[:4]
        demand(key_id == expected.hex(), "the key's id is not its own")
        return cls(name, expected, material[1:])

    def verify(self, signature: bytes, message: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature as error:
            raise Refused(f"false signature of {self.name}") from error


class Fields:
    """Reads bytes in order."""

    def __init__(self, data: bytes):
        self.rest = data

    def take(self, count: int) -> bytes:
        demand(len(self.rest) >= count, "too short")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def text(self, longest: int) -> str:
        length = self.byte()
        demand(length <= longest, "a text too long")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise Refused("not UTF-8") from error


@dataclasses.dataclass
class Entry:
    at: int
    partner: str
    purpose: int
    decision: int
    leaves: list
    root: bytes


def read_entry(data: bytes) -> Entry:
    """An answer's entry, as far as a verifier needs it (§3, kind 1)."""
    demand(len(data) <= ENTRY_BYTES_MAX, "an entry too long")
    fields = Fields(data)
    version = fields.byte()
    demand(version in (1, 2), "an entry of another version")
    demand(fields.byte() == 1, "not the entry of an answer")
    (at,) = struct.unpack(">q", fields.take(8))
    purpose, ground, authorised, decision, flags = fields.take(5)
    demand((ground == 0) == (authorised != 3), "a ground that does not fit")
    fields.take(14 + 8 + 16 + 16 + 16)
    (bits,) = struct.unpack(">I", fields.take(4))
    leaves = [code for code in range(32) if bits >> code & 1]
    demand(all(code in LEAVES for code in leaves), "a leaf nobody knows")
    newer = authorised != 3 or flags & 8 or purpose == 7 or any(code in (8, 25, 26) for code in leaves)
    demand(version == (2 if newer else 1), "an entry written in another version than its own")
    root = fields.take(32)
    fields.take(16 + 16 + (16 if flags & 4 else 0))
    partner = fields.text(40)
    fields.text(24)
    fields.text(32)
    fields.take(3 * fields.byte())
    demand(not fields.rest, "an entry with something behind it")
    return Entry(at, partner, purpose, decision, leaves, root)


@dataclasses.dataclass
class Receipt:
    entry_bytes: bytes
    entry: Entry
    #: code → (hash or None, salt or None)
    openings: dict
    index: int
    proof: list
    text: bytes
    origin: str
    size: int
    root: bytes
    #: (name, key id, signature), in order
    signatures: list


def read(data: bytes) -> Receipt:
    """Step 1."""
    demand(len(data) <= FILE_BYTES_MAX, "too long")
    try:
        file = data.decode()
    except UnicodeDecodeError as error:
        raise Refused("not UTF-8") from error
    demand(not any(char < " " and char != "\n" for char in file), "a control character")
    demand("\n\n" in file, "no checkpoint")
    head, note = file.split("\n\n", 1)
    lines = head.split("\n")
    demand(lines[0] == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    demand(len(lines) >= 3 and lines[1].startswith("extra ") and lines[2].startswith("index "), "not its lines")
    extra, index = unbase64(lines[1][len("extra "):]), number(lines[2][len("index "):], 2**64 - 1)
    proof = [unbase64(line) for line in lines[3:]]
    demand(len(proof) <= PROOF_HASHES_MAX and all(len(hash) == 32 for hash in proof), "not a proof")

    fields = Fields(extra)
    demand(fields.byte() == 1, "another version")
    (length,) = struct.unpack(">H", fields.take(2))
    entry_bytes = fields.take(length)
    entry = read_entry(entry_bytes)
    openings = {}
    for code in entry.leaves:
        demand(fields.byte() == code, "not the leaves of the entry")
        parts = fields.byte()
        demand(parts <= 3, "parts nobody knows")
        openings[code] = (fields.take(32) if parts & 2 else None, fields.take(16) if parts & 1 else None)
    demand(not fields.rest, "something behind the openings")

    demand("\n\n" in note, "no signatures")
    text, signed = note.rsplit("\n\n", 1)
    demand(signed.endswith("\n"), "the last line has no end")
    signatures = [read_signature(line) for line in signed[:-1].split("\n")]
    demand(len(signatures) <= SIGNATURES_MAX, "too many signatures")
    head_lines = text.split("\n")
    demand(len(head_lines) == 3 and head_lines[0] != "", "not the lines of a checkpoint")
    size, root = number(head_lines[1], 2**64 - 1), unbase64(head_lines[2])
    demand(len(root) == 32, "not a root")
    whole = (text + "\n").encode()
    return Receipt(entry_bytes, entry, openings, index, proof, whole, head_lines[0], size, root, signatures)


def read_signature(line: str) -> tuple:
    demand(line.startswith("— "), "not a signature line")
    name, blank, signature = line[2:].partition(" ")
    demand(bool(blank), "not a signature line")
    demand(name != "" and "+" not in name and not any(char.isspace() for char in name), "not a key's name")
    data = unbase64(signature)
    demand(len(data) >= 5, "a signature too short")
    return name, data[:4], data[4:]


def signature_by(receipt: Receipt, key: Key):
    """The first signature of this name and id counts."""
    for name, key_id, signature in receipt.signatures:
        if (name, key_id) == (key.name, key.id):
            return signature
    return None


def check_checkpoint(receipt: Receipt, log: Key) -> None:
    """Step 2."""
    signature = signature_by(receipt, log)
    demand(signature is not None and len(signature) == 64, "not signed by the log")
    log.verify(signature, receipt.text)
    demand(receipt.origin == log.name, "of another log")
    demand(receipt.size <= TREE_SIZE_MAX, "a tree too large")


def check_inclusion(receipt: Receipt) -> None:
    """Step 3: RFC 9162 §2.1.3.2, whose proofs are those of RFC 6962."""
    demand(receipt.index < receipt.size, "the checkpoint does not reach the entry")
    place, last = receipt.index, receipt.size - 1
    found = sha256(b"\x00" + receipt.entry_bytes)
    for sibling in receipt.proof:
        demand(last > 0, "a proof too long")
        if place & 1 or place == last:
            found = sha256(b"\x01" + sibling + found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = sha256(b"\x01" + found + sibling)
        place, last = place >> 1, last >> 1
    demand(last == 0 and found == receipt.root, "not in the tree")


def check_witnesses(receipt: Receipt, witnesses: list, quorum: int) -> None:
    """Step 4."""
    seen = 0
    for witness in witnesses:
        signature = signature_by(receipt, witness)
        if signature is None:
            continue
        demand(len(signature) == 72, "not a cosignature")
        (moment,) = struct.unpack(">Q", signature[:8])
        witness.verify(signature[8:], b"cosignature/v1\ntime %d\n" % moment + receipt.text)
        seen += 1
    demand(seen >= quorum, "too few witnesses")


def tree_hash(leaves: list) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:]))


def check_values(receipt: Receipt, values: dict) -> bool:
    """Step 5. Values by leaf name, as the bytes of §4; tells whether the root was made."""
    codes = {name: code for code, name in LEAVES.items()}
    hashes = {code: hash for code, (hash, _salt) in receipt.openings.items()}
    for name, value in values.items():
        code = codes[name]
        demand(code in receipt.openings, f"{name} was not part of it")
        told, salt = receipt.openings[code]
        demand(salt is not None, f"{name} cannot be opened")
        word = name.encode()
        hashes[code] = sha256(b"\x00" + salt + bytes([len(word)]) + word + value)
        demand(told in (None, hashes[code]), f"{name} is another")
    if None in hashes.values():
        demand(not values, "values without which nothing can be said are missing")
        return False
    root = tree_hash([hashes[code] for code in receipt.entry.leaves]) if hashes else sha256(b"")
    demand(root == receipt.entry.root, "at least one value is another")
    return True


def verify(data: bytes, log: Key, values=None, witnesses=(), quorum=None) -> Receipt:
    """Returns the receipt, or raises `Refused` with the first thing wrong."""
    receipt = read(data)
    check_checkpoint(receipt, log)
    check_inclusion(receipt)
    check_witnesses(receipt, list(witnesses), len(witnesses) if quorum is None else quorum)
    check_values(receipt, values or {})
    return receipt


def main(arguments: list) -> int:
    log, witnesses, values = Key.parse(arguments[0], 1), [], {}
    for flag, text in zip(arguments[1::2], arguments[2::2]):
        if flag == "--witness":
            witnesses.append(Key.parse(text, 4))
        else:
            name, value = text.split("=", 1)
            values[name] = bytes.fromhex(value)
    try:
        receipt = verify(sys.stdin.buffer.read(), log, values, witnesses)
    except Refused as refused:
        print(f"refused: {refused}")
        return 1
    print(f"holds: entry {receipt.index} of {receipt.origin}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
