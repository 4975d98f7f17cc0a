from pathlib import Path

import pandas as pd

from faceneuro.report.summary import heading_and_lead, summary
from faceneuro.report.tables import Table, write_files


def test_a_summary_says_what_each_table_leads_with_and_where_it_is(tmp_path):
    numbers = pd.DataFrame({"metric": ["accuracy"], "value": [0.5]})
    write_files(tmp_path / "als", numbers, "ALS", ["Virtual cohort.", "Accuracy 0.5."], [Table("All", ["a"], [["1"]])])
    text = summary([tmp_path / "als.md"], [Path("results/figures/als_roc.png")])
    assert "ALS. Virtual cohort. Accuracy 0.5." in text
    assert "| ALS     |" in text
    assert str(tmp_path / "als.md") in text
    assert "| als roc | results/figures/als_roc.png" in text


def test_the_lead_ends_where_the_tables_begin():
    assert heading_and_lead("# Title\n\nOne.\n\nTwo.\n\n## Table\n\n| a |\n") == ("Title", ["One.", "Two."])
    assert heading_and_lead("# Title\n\n| a |\n") == ("Title", [])


def test_long_sentences_are_wrapped_for_a_terminal(tmp_path):
    write_files(tmp_path / "t", pd.DataFrame(), "T", ["word " * 60], [Table("All", ["a"], [["1"]])])
    text = summary([tmp_path / "t.md"], [])
    assert max(map(len, text.split("\n\n")[0].splitlines())) <= 100
