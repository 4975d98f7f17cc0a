"""The lock and the environments of the rules say the same."""

import re

import pytest
import yaml

from running import ROOT

LOCK = (ROOT / "requirements.lock").read_text()


def locked(python: str) -> dict[str, str]:
    """Version of every package in the lock for one Python version."""
    versions = {}
    for name, version, marker in re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)(?: ; (.*?))?(?: \\)?$", LOCK, re.MULTILINE):
        bounds = re.findall(r"python_full_version (<|>=) '(3\.\d+)'", marker)
        minor = int(python.split(".")[1])
        if all((minor < int(v.split(".")[1])) == (sign == "<") for sign, v in bounds):
            versions[name] = version
    return versions


@pytest.mark.parametrize("path", sorted(ROOT.glob("envs/*.yaml")), ids=lambda path: path.stem)
def test_every_pin_of_a_rules_environment_is_that_of_the_lock(path):
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    python = next(each for each in dependencies if str(each).startswith("python=")).partition("=")[2]
    pins = next(each["pip"] for each in dependencies if isinstance(each, dict))
    versions = locked(python)
    assert pins == sorted(f"{pin.partition('==')[0]}=={versions[pin.partition('==')[0]]}" for pin in pins)


def test_every_rule_runs_in_one_of_the_environments():
    named = set()
    for rules in sorted(ROOT.glob("workflow/rules/*.smk")):
        text = rules.read_text()
        named |= set(re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', text))
        jobs = len(re.findall(r"^    (?:script|shell):", text, re.MULTILINE))
        assert len(re.findall(r"^    conda:", text, re.MULTILINE)) == jobs, rules.name
    assert named == {path.stem for path in ROOT.glob("envs/*.yaml")}


def test_the_lock_has_a_hash_for_everything_and_names_no_host():
    blocks = re.split(r"^(?=[a-z0-9._-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK


def test_mediapipe_is_the_last_version_that_reports_to_nobody():
    assert locked("3.12")["mediapipe"] == "0.10.31"
