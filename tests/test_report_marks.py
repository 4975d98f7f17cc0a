"""What Snakemake's own report is told of every table and figure: where it belongs, its name, a caption that holds."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from snakemake.api import SnakemakeApi
from snakemake.io import get_flag_value
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

from running import ROOT

CAPTIONS = ROOT / "workflow" / "report"
OF_NOBODY = {"meta_analysis", "meta_analysis_recovery", "intake"}
"""Captions of numbers in print, and of files that are somebody's own: nothing in them is ever virtual."""
WILDCARDS = {"collection": "living", "cohort": "virtual_als", "study": "als"}


@pytest.fixture(scope="module")
def default(tmp_path_factory) -> SimpleNamespace:
    """Every rule and the configuration of the default workflow, as Snakemake reads them."""
    quiet = OutputSettings(dryrun=True, quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(quiet) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(),
            snakefile=ROOT / "Snakefile",
            workdir=tmp_path_factory.mktemp("read"),
        )
        workflow.list_rules(only_targets=True)
        read = workflow._workflow
        return SimpleNamespace(rules=list(read.rules), config=read.config, text=read.report_text)


@pytest.fixture(scope="module")
def outputs(default) -> list[tuple]:
    """Every table, figure and page that any rule makes, with its rule and its mark."""
    parts = ("results/tables/", "results/figures/", "results/report/", "results/comparison/")
    files = [(rule, file) for rule in default.rules for file in rule.output if str(file).startswith(parts)]
    return [(rule, str(file), get_flag_value(file, "report")) for rule, file in files]


@pytest.fixture(scope="module")
def captions(outputs) -> list[tuple]:
    """The captions of every rule, each once."""
    return list(
        {(rule.name, file_of(mark.caption)): (rule, file_of(mark.caption)) for rule, _, mark in outputs}.values()
    )


def file_of(caption) -> Path:
    return Path(str(caption.get_path_or_uri(secret_free=True)))


def resolved(argument):
    """A category or labels, which a rule of several studies tells by its wildcards."""
    return argument(SimpleNamespace(**WILDCARDS)) if callable(argument) else argument


def told(caption: Path, rule, config: dict) -> str:
    """The caption of a rule's output; a name in it that is not there is an error."""
    given = SimpleNamespace(params=rule.params, wildcards=SimpleNamespace(**WILDCARDS), config=config)
    strict = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return strict.from_string(caption.read_text()).render(snakemake=given)


def test_every_table_and_figure_is_marked_once_by_study_name_and_format(outputs):
    assert len(outputs) > 60
    assert not [file for _, file, mark in outputs if mark is None]
    labels = {tuple(resolved(mark.labels).items()) for _, _, mark in outputs}
    assert len(labels) == len(outputs)
    for _, file, mark in outputs:
        folder, labels, category = Path(file).parent.name, resolved(mark.labels), resolved(mark.category)
        # Snakemake takes a function for all labels, not for one.
        assert {type(value) for value in labels.values()} == {str}
        assert list(labels) == ["study", folder.removesuffix("s"), "format"]
        assert labels["format"] == Path(file).suffix[1:]
        assert (category, mark.subcategory) == (labels["study"], folder.capitalize())
        # Snakemake makes each category a link that is a line of JavaScript.
        assert category.replace(" ", "").replace("-", "").isalnum()


def test_every_caption_says_what_is_shown_how_to_read_it_and_what_it_is_not_for(captions, default):
    for rule, caption in captions:
        text = told(caption, rule, default.config)
        first, how, *_, last = [part for part in text.split("\n\n") if not part.startswith("**")]
        assert len(first) > 30
        assert how.startswith("How to read it: ")
        assert last.startswith("Not ")
        assert "system-message" not in publish_parts(text, writer="html")["body"]
        # All cohorts of the default are.
        assert ("virtual" in text.lower()) or (caption.stem in OF_NOBODY), caption


def test_a_cohort_of_people_is_not_called_virtual(captions, default):
    for rule, caption in captions:
        params = dict(rule.params.items())
        if "virtual" in params:
            people = SimpleNamespace(params=SimpleNamespace(**params | {"virtual": False}))
            assert "Virtual cohort" in told(caption, rule, default.config)
            assert "Virtual cohort" not in told(caption, people, default.config)


def test_no_caption_is_left_over(captions, default):
    used = {caption.name for _, caption in captions} | {file_of(default.text).name}
    assert {path.name for path in CAPTIONS.iterdir()} == used
