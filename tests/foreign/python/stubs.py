"""Generates the client stubs from `proto/`, as a partner would, into a cache folder outside the sources."""

import importlib.resources
import pathlib
import sys

from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROTO = ROOT / "proto"
CACHE = ROOT / "tests" / ".cache" / "python-stubs"


def generate() -> None:
    """Generates anew when a proto file is younger than the stubs, and puts them on the import path."""
    sources = sorted(PROTO.rglob("*.proto"))
    stamp = CACHE / "stamp"
    newest = max(source.stat().st_mtime for source in sources)
    if not stamp.exists() or stamp.stat().st_mtime < newest:
        CACHE.mkdir(parents=True, exist_ok=True)
        well_known = importlib.resources.files("grpc_tools") / "_proto"
        arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={CACHE}", f"--grpc_python_out={CACHE}"]
        outcome = protoc.main(arguments + [str(source.relative_to(PROTO)) for source in sources])
        if outcome != 0:
            raise RuntimeError("the contract does not compile with protoc")
        stamp.touch()
    if str(CACHE) not in sys.path:
        sys.path.insert(0, str(CACHE))


generate()
