import sys

import pytest

from faceneuro import stamp


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules: flow imports tables, tables imports errors, models stands alone."""
    sources = {
        "__init__": "",
        "errors": "class InputError(ValueError): ...",
        "tables": "from faceneuro.errors import InputError",
        "features/__init__": "",
        "features/flow": "from faceneuro import tables",
        "models": "def lazily():\n    import numpy",
    }
    for name, text in sources.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(stamp, "PACKAGE", tmp_path)
    stamp._closure.cache_clear()
    stamp._imports.cache_clear()
    yield tmp_path
    stamp._closure.cache_clear()
    stamp._imports.cache_clear()


def edit(file, text):
    file.write_text(text)
    stamp._closure.cache_clear()
    stamp._imports.cache_clear()


def test_a_stamp_follows_imports_through_modules(package):
    before = stamp.code_stamp("features.flow")
    edit(package / "errors.py", "class InputError(ValueError): pass")
    assert stamp.code_stamp("features.flow") != before


def test_a_stamp_ignores_what_is_not_imported(package):
    before = stamp.code_stamp("features.flow")
    edit(package / "models.py", "changed = True")
    assert stamp.code_stamp("features.flow") == before
    assert stamp.code_stamp("models") != stamp.code_stamp("tables")


def test_the_order_of_names_does_not_matter(package):
    assert stamp.code_stamp("models", "tables") == stamp.code_stamp("tables", "models")


def test_a_module_that_does_not_exist_is_refused(package):
    with pytest.raises(ModuleNotFoundError, match=r"faceneuro\.nothing"):
        stamp.code_stamp("nothing")


def test_a_stamp_imports_nothing():
    loaded = set(sys.modules)
    stamp.code_stamp("tables")
    assert set(sys.modules) == loaded


def test_a_template_is_part_of_the_module_that_fills_it_in(package):
    templates = package / "features" / "templates"
    templates.mkdir()
    (templates / "page.html.j2").write_text("{{ title }}")
    edit(package / "features" / "pages.py", 'loader = PackageLoader("faceneuro.features")')
    before, other = stamp.code_stamp("features.pages"), stamp.code_stamp("features.flow")
    edit(templates / "page.html.j2", "<h1>{{ title }}</h1>")
    assert stamp.code_stamp("features.pages") != before
    assert stamp.code_stamp("features.flow") == other
