"""The helper around every script: its log, its provenance, and what it says when something goes wrong."""

from types import SimpleNamespace

import pytest

from faceneuro.errors import InputError
from faceneuro.workflow import job, log


class Named(dict):
    """Items by name, as Snakemake's own containers give them."""


@pytest.fixture
def snakemake(tmp_path):
    return SimpleNamespace(
        rule="compute_flow",
        wildcards=Named(cohort="virtual", shard="V001"),
        params=Named(grid=[120, 160], code="abc"),
        log=[str(tmp_path / "logs" / "job.log")],
    )


def text(snakemake) -> str:
    with open(snakemake.log[0]) as file:
        return file.read()


def test_messages_go_to_the_log_and_warnings_to_the_screen_too(snakemake, capfd):
    with job(snakemake):
        log.info("by the way")
        log.warning("look here")
    assert "by the way" in text(snakemake)
    assert "look here" in text(snakemake)
    screen = capfd.readouterr().err
    assert "look here" in screen
    assert "by the way" not in screen


def test_provenance_names_rule_wildcards_and_parameters(snakemake):
    with job(snakemake) as run:
        origin = run.provenance
    assert (origin["rule"], origin["wildcards"]["shard"]) == ("compute_flow", "V001")
    assert origin["params"] == {"grid": [120, 160], "code": "abc"}


def test_a_mistake_of_the_user_is_a_sentence_on_the_screen_and_a_traceback_in_the_log(snakemake, capfd):
    with pytest.raises(SystemExit) as ended, job(snakemake):
        raise InputError("clips.csv, line 3: no such side")
    assert ended.value.code == 1
    screen = capfd.readouterr().err
    assert "clips.csv, line 3: no such side" in screen
    assert "Traceback" not in screen
    assert "Traceback" in text(snakemake)


def test_a_mistake_of_ours_is_a_traceback_in_both(snakemake):
    with pytest.raises(ZeroDivisionError), job(snakemake):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in text(snakemake)


def test_a_progress_bar_is_quiet_where_nobody_watches(snakemake, capfd):
    with job(snakemake) as run:
        assert list(run.progress(range(3))) == [0, 1, 2]
    assert capfd.readouterr().err == ""


def test_a_second_job_in_one_process_does_not_write_to_the_first_log(snakemake, tmp_path):
    with job(snakemake):
        pass
    other = SimpleNamespace(**{**vars(snakemake), "log": [str(tmp_path / "other.log")]})
    with job(other):
        log.info("only here")
    assert "only here" not in text(snakemake)
