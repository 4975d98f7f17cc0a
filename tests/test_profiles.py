"""Profiles say what jobs need of a machine: of every rule that needs something, and of no rule that is not there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser

from running import ASSETS, NO_COHORT, NO_STUDY, ROOT

PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))
RULES = {path.name: path.read_text() for path in sorted(ROOT.glob("workflow/rules/*.smk"))}
BODIES = {
    name: body for text in RULES.values() for name, body in re.findall(r"^rule (\w+):\n((?:\n|[ \t].*\n)+)", text, re.M)
}
# A rule that is made of another asks for what that asks for.
BODIES |= {
    new: BODIES[old]
    for text in RULES.values()
    for old, new in re.findall(r"^use rule (\w+) as (\w+) with:", text, re.M)
}
GPU_RULES = {name for name, body in BODIES.items() if re.search(r"^ +gpu=", body, re.M)}

ONE_STUDY = {
    "assets": {"folder": str(ASSETS)},
    "cohorts": {**NO_COHORT, "virtual_als": {"groups": {"healthy": 3, "als": 3}, "tasks": ["open"]}},
    "studies": {
        **NO_STUDY,
        "als": {"protocols": {"published": None, "grouped": {"folds": 2}}, "models": ["dual_branch"]},
    },
    "meta_analysis": None,
}


def profile(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())


def planned(workdir: Path, *options: str | Path) -> str:
    """What a dry run on the command line says of the jobs that train."""
    workdir.mkdir(exist_ok=True)
    (workdir / "config.yaml").write_text(yaml.safe_dump(ONE_STUDY))
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "CUDA_", "SLURM_"))}
    call = [sys.executable, "-m", "snakemake", "als", "--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    done = subprocess.run(
        [*call, "--dry-run", *options],
        cwd=workdir,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^rule train_als_fold:\n(?:    .*\n)+", done.stdout, re.M)
    assert len(jobs) == 2
    resources = {re.search(r"resources: (.*)", job)[1] for job in jobs}
    assert len(resources) == 1
    return resources.pop()


def test_the_rules_are_found():
    assert {"render_patients", "train_als_fold", "train_generator", "all"} - set(BODIES) == {"all"}
    assert {"train_als_fold", "cache_activations", "train_generator"} <= GPU_RULES
    assert "compute_flow" not in GPU_RULES


@pytest.mark.parametrize("name", PROFILES)
def test_snakemake_reads_the_profile(name):
    with (ROOT / "profiles" / name / "profile.yaml").open() as stream:
        parsed = ProfileConfigFileParser().parse(stream)
    given = profile(name)
    # A key with a block that Snakemake does not expect is dropped without a word.
    assert set(parsed) == set(given)
    assert len(parsed.get("set-resources", [])) == sum(map(len, given.get("set-resources", {}).values()))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_only_rules_that_there_are(name):
    for key in ("set-resources", "set-threads"):
        assert set(profile(name).get(key, {})) <= set(BODIES)


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_cluster_gives_one_gpu_to_every_rule_that_can_use_one(name):
    blocks = profile(name)["set-resources"]
    assert {rule for rule, block in blocks.items() if block.get("gpu") == 1} == GPU_RULES
    assert {rule for rule, block in blocks.items() if "gpu" in block} == GPU_RULES


@pytest.mark.parametrize("name", ["local-gpu", "slurm", "kubernetes"])
def test_every_rule_with_a_gpu_has_its_own_amount_of_memory(name):
    assert {rule for rule, block in profile(name)["set-resources"].items() if "mem_mb" in block} >= GPU_RULES


def test_gpu_jobs_have_a_partition_of_their_own_and_others_the_usual_one():
    settings = profile("slurm")
    partitions = {rule: block.get("slurm_partition") for rule, block in settings["set-resources"].items()}
    usual = settings["default-resources"]["slurm_partition"]
    [of_gpus] = {partition for rule, partition in partitions.items() if rule in GPU_RULES}
    assert of_gpus != usual
    assert {partition for rule, partition in partitions.items() if rule not in GPU_RULES} == {None}


@pytest.mark.parametrize("name", RULES)
def test_no_rule_names_a_partition_or_an_amount(name):
    for word in ("partition", "mem_mb", "runtime", "slurm"):
        assert not re.search(rf"^ +\w*{word}\w* *=", RULES[name], re.M), f"{name}: {word}"


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_retry_asks_for_more(name):
    settings = profile(name)
    assert settings["retries"] >= 1
    blocks = {"default": settings["default-resources"], **settings["set-resources"]}
    for rule, block in blocks.items():
        for resource in {"mem_mb", "runtime"} & set(block):
            if (rule, resource) == ("train_generator", "runtime"):
                continue  # goes on from a checkpoint
            first, second, third = (eval(block[resource], {"attempt": attempt}) for attempt in (1, 2, 3))
            assert 0 < first < second < third, f"{rule}: {resource}"


def test_the_profile_for_slurm_reaches_the_jobs(tmp_path):
    """All of it but the plugin, which is not part of this environment."""
    settings = {
        key: value for key, value in profile("slurm").items() if key != "executor" and not key.startswith("slurm-")
    }
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "profile.yaml").write_text(yaml.safe_dump(settings))
    resources = planned(tmp_path / "run", "--workflow-profile", tmp_path / "profile")
    for entry in ("mem_mb=8000", "runtime=60", "slurm_partition=gpu", "gpu=1"):
        assert entry in resources.split(", ")


def test_a_bare_call_computes_on_one_gpu_at_a_time(tmp_path):
    """A request above the limit is cut to it, which shows the limit: of profiles/default, unless another is named."""
    two = ("--set-resources", "train_als_fold:gpu=2")
    assert "gpu=1" in planned(tmp_path, *two).split(", ")
    assert "gpu=2" in planned(tmp_path, *two, "--resources", "gpu=2").split(", ")
    assert "gpu=2" in planned(tmp_path, *two, "--workflow-profile", "none").split(", ")


def test_a_bare_call_goes_on_after_a_kill_and_past_a_failure():
    settings = profile("default")
    assert settings["rerun-incomplete"]
    assert settings["keep-going"]
    assert settings["show-failed-logs"]
