"""The README's example in Python runs as it stands: only folder and address are this test's."""

import re
import subprocess
import sys

import stubs

README = (stubs.ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first fenced block of a language."""
    return re.search(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[1]


def replaced(text: str, old: str, new: str) -> str:
    """Replaces what must be there."""
    assert old in text, f"the README's example does not name {old}"
    return text.replace(old, new)


def test_the_readmes_example_is_answered(gateway, tmp_path):
    program = block("python")
    # The command in its first line makes the stubs where the reader stands.
    command = program.splitlines()[0].removeprefix("# ").removeprefix("python3 ")
    arguments = replaced(command, "proto/drivegate/v1/*.proto", "").split()
    arguments = [replaced(word, "proto", str(stubs.PROTO)) if word.startswith("-I") else word for word in arguments]
    sources = sorted(str(source) for source in (stubs.PROTO / "drivegate" / "v1").glob("*.proto"))
    made = subprocess.run([sys.executable, *arguments, *sources], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    program = replaced(program, "sandbox/pki/", f"{gateway.pki}/")
    program = replaced(program, "localhost:8443", gateway.address.replace("127.0.0.1", "localhost"))
    (tmp_path / "verify.py").write_text(program, encoding="utf-8")
    ran = subprocess.run([sys.executable, "verify.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "decision: DECISION_QUALIFIED" in ran.stdout and 'masked_name: "' in ran.stdout, ran.stdout
