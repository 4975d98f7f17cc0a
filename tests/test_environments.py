"""The environments of the rules: their versions are those of the lock, and they have what their scripts import."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from pkgutil import iter_modules

import pytest
import yaml

from running import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
CLUSTER_LOCK = (ROOT / "requirements-cluster.lock").read_text()
ENVIRONMENTS = {path.stem: yaml.safe_load(path.read_text())["dependencies"] for path in ROOT.glob("envs/*.yaml")}
DISTRIBUTIONS = packages_distributions()
OPTIONAL = {"fastervit"}
"""Imported only where somebody has installed it."""
IMPLIED = {"torch-fidelity": "torchmetrics", "torchvision": "timm"}
"""What no script imports, but a package that scripts import: Inception for the FID; layers of torch's own build."""


def versions(lock: str, python: str = "3.12") -> dict[str, str]:
    """Version of every package in a lock for one Python version."""
    versions = {}
    for name, version, marker in re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)(?: ; (.*?))?(?: \\)?$", lock, re.MULTILINE):
        bounds = re.findall(r"python_full_version (<|>=) '(3\.\d+)'", marker)
        minor = int(python.split(".")[1])
        if all((minor < int(v.split(".")[1])) == (sign == "<") for sign, v in bounds):
            versions[name] = version
    return versions


def pins(environment: str) -> dict[str, str]:
    """Version of every package that an environment names."""
    packages = next(each["pip"] for each in ENVIRONMENTS[environment] if isinstance(each, dict))
    return dict(pin.split("==") for pin in packages)


def rules() -> dict[str, str]:
    """The text of every rule that runs something, by its name."""
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob("workflow/rules/*.smk")))
    found = dict(re.findall(r"^rule (\w+):\n((?:\n|    .*\n)+)", text + "\n", re.MULTILINE))
    return {name: body for name, body in found.items() if re.search(r"^    (script|shell):", body, re.MULTILINE)}


def environment_of(rule: str) -> str:
    return re.findall(r'^    conda:\n        "\.\./\.\./envs/(\w+)\.yaml"', rules()[rule], re.MULTILINE)[0]


def file_of(rule: str) -> Path:
    """The script of a rule, or the module that its command runs."""
    if script := re.search(r'"\.\./scripts/(\w+\.py)"', rules()[rule]):
        return ROOT / "workflow" / "scripts" / script[1]
    return _module(re.search(r"python -m ([\w.]+)", rules()[rule])[1])


def _module(name: str) -> Path | None:
    stem = ROOT.joinpath("src", *name.split("."))
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement, without what is there for type checkers alone."""
    if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _walk(child)


def _imports(node: ast.AST) -> list[str]:
    """Full names of the modules that a node may import; of a name that is put together, every module that fits."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
        package = node.args[0].values[0].value.rstrip(".")
        return [f"{package}.{module.name}" for module in iter_modules([_module(package).parent])]
    return []


@cache
def _statements(file: Path) -> list[tuple[set[str], set[str], set[str]]]:
    """Of every statement of a module: the names that it defines, what it imports, and the names that it uses."""
    found = []
    for statement in ast.parse(file.read_text()).body:
        nodes = list(_walk(statement))
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        defined = {statement.name} if isinstance(statement, ast.FunctionDef | ast.ClassDef) else set()
        defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        found.append((defined, {name for node in nodes for name in _imports(node)}, used))
    return found


@cache
def needs(script: Path) -> set[str]:
    """Distributions that a script imports by itself and through the package.

    An import inside a function counts if the function's name is used by what runs, whosever name it is: rather too much
    than too little.
    """
    files, used, names, seen = {script}, set(), set(), set()
    while True:
        size = len(seen)
        for file in list(files):
            for place, (defined, imports, uses) in enumerate(_statements(file)):
                if (file, place) in seen or (defined and file != script and not defined & used):
                    continue
                seen.add((file, place))
                used |= uses
                names |= imports
                for name in imports:
                    parts = name.split(".")
                    parents = (".".join(parts[: length + 1]) for length in range(len(parts)))
                    files |= {found for parent in parents if parts[0] == "faceneuro" and (found := _module(parent))}
        if len(seen) == size:
            break
    roots = {name.split(".")[0] for name in names} - {"faceneuro", *sys.stdlib_module_names, *OPTIONAL}
    return {DISTRIBUTIONS[root][0].lower().replace("_", "-") for root in roots}


@pytest.mark.parametrize("environment", sorted(ENVIRONMENTS))
def test_every_pin_is_that_of_the_lock(environment):
    python = next(each for each in ENVIRONMENTS[environment] if str(each).startswith("python=")).partition("=")[2]
    locked = versions(LOCK, python)
    assert pins(environment) == {name: locked[name] for name in sorted(pins(environment))}


def test_the_generator_finds_nothing_to_change_and_mends_what_differs(tmp_path):
    for file in ("requirements.lock", "envs"):
        subprocess.run(["cp", "-r", ROOT / file, tmp_path], check=True)
    pin = [sys.executable, tmp_path / "envs" / "pin.py"]
    files = {path.name: path.read_bytes() for path in ROOT.glob("envs/*.yaml")}
    report = tmp_path / "envs" / "report.yaml"
    # Another version, and a package that somebody has just added.
    report.write_text(re.sub(r"numpy==\S+", "numpy==1.0", re.sub(r"scipy==\S+", "scipy", report.read_text())))
    subprocess.run(pin, check=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "envs").glob("*.yaml")} == files
    report.write_text(report.read_text().replace("tqdm==", "tqmd=="))
    refused = subprocess.run(pin, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "report.yaml" in refused.stderr
    assert "tqmd" in refused.stderr


def test_every_rule_runs_in_one_of_the_environments():
    assert {environment_of(rule) for rule in rules()} == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", sorted(ENVIRONMENTS))
def test_an_environment_has_what_its_scripts_import_and_nothing_else(environment):
    wanted = set().union(*(needs(file_of(rule)) for rule in rules() if environment_of(rule) == environment))
    wanted |= {name for name, package in IMPLIED.items() if package in wanted}
    assert set(pins(environment)) == wanted


CONDA = """#!/bin/sh
case "$1 $2" in
    "info --json") echo '{"conda_prefix": "HERE", "platform": "linux-64"}' ;;
    "--version ") echo conda 24.9.2 ;;
    "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
    "env create") eval "PYTHON -m venv --without-pip $(echo "$@" | sed "s/.*--prefix//")" ;;
esac
"""
"""What Snakemake asks of conda, done by Python: an environment without any package."""


@pytest.mark.workflow
def test_an_environment_of_a_rule_finds_the_package_that_is_not_installed_there(tmp_path, landmarker_model):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "conda").write_text(CONDA.replace("HERE", str(tmp_path)).replace("PYTHON", sys.executable))
    (programs / "conda").chmod(0o755)
    (programs / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    own = {"folder": str(tmp_path / "assets"), "face_landmarker": str(landmarker_model)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"assets": own}))
    command = [sys.executable, "-m", "snakemake", "--sdm", "conda", "--cores", "1", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", tmp_path, "--configfile", tmp_path / "config.yaml", "--"]
    path = os.pathsep.join([str(programs), *os.get_exec_path()])
    ran = subprocess.run(
        [*command, tmp_path / "assets" / "face_landmarker.task"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Activating conda environment" in ran.stderr
    assert (tmp_path / "assets" / "face_landmarker.task").read_bytes() == landmarker_model.read_bytes()


def test_imports_inside_functions_count_where_they_are_used():
    scripts = ROOT / "workflow" / "scripts"
    assert {"torch", "timm", "filelock", "scikit-learn"} <= needs(scripts / "train_als_fold.py")
    # The same module, of which it uses constants alone.
    assert needs(scripts / "tabulate_palsy.py").isdisjoint({"torch", "timm", "safetensors"})
    # Every study may be evaluated.
    assert "opencv-python-headless" in needs(scripts / "evaluate_study.py")


@pytest.mark.parametrize("lock", [LOCK, CLUSTER_LOCK], ids=["requirements", "requirements-cluster"])
def test_a_lock_has_a_hash_for_everything_and_names_no_host(lock):
    blocks = re.split(r"^(?=[a-z0-9._-]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in lock


def test_the_clusters_lock_adds_programs_and_changes_no_version():
    ours, clusters = versions(LOCK), versions(CLUSTER_LOCK)
    assert {name: clusters[name] for name in ours.keys() & clusters.keys()} == {
        name: ours[name] for name in ours.keys() & clusters.keys()
    }
    assert {name for name in clusters if "executor-plugin" in name and name.startswith("snakemake-executor")}
    assert {"pytest", "ruff", "uv"}.isdisjoint(clusters)


def test_both_images_hold_the_same_and_all_that_a_run_reads():
    docker, apptainer = ((ROOT / name).read_text() for name in ("Dockerfile", "envs/faceneuro.def"))
    admitted = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^    (\S+) /opt/faceneuro/(\S+)$", apptainer, re.MULTILINE)
    assert sorted(admitted) == sorted(source for source, _ in copied)
    assert all(source == target and (ROOT / source).exists() for source, target in copied)
    base = re.search(r"^ARG PYTHON_IMAGE=(.+)$", docker, re.MULTILINE)[1]
    assert re.search(r"^From: (.+)$", apptainer, re.MULTILINE)[1] == base
    assert base.startswith("python:3.12-")
    # The steps that follow the copying.
    steps = re.findall(r"^(?:RUN |    )((?:sh|uv) .+)$", docker, re.MULTILINE)
    assert steps == re.findall(r"^(?:RUN |    )((?:sh|uv) .+)$", apptainer, re.MULTILINE)
    assert len(steps) == 2


def test_mediapipe_is_the_last_version_that_reports_to_nobody():
    assert versions(LOCK)["mediapipe"] == versions(CLUSTER_LOCK)["mediapipe"] == "0.10.31"
