"""Plug-ins are found by the name of their file, and nothing else is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import toys

from mocap import registry
from mocap.errors import ConfigError, UnknownName
from mocap.stages.base import Stage


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return toys.install(tmp_path, monkeypatch)


def test_names_are_the_files_but_base(package):
    assert registry.names(f"{package}.losses") == ("k3d", "smooth")


def test_naming_one_imports_only_that_one(package):
    registry.find(f"{package}.stages", "lift", Stage, "stage")
    assert f"{package}.stages.lift" in sys.modules
    assert f"{package}.stages.see" not in sys.modules


@pytest.mark.parametrize("spelling", ["fit_shape", "fitShape", "FIT_SHAPE", "fit-shape"])
def test_spelling_differs_in_case_and_underscores_only(package, spelling):
    assert registry.find(f"{package}.stages", spelling, Stage, "stage").__name__ == "FitShape"


def test_an_unknown_name_is_told_with_the_nearest_and_the_known(package):
    with pytest.raises(UnknownName, match=r'Unknown stage "lifft". Did you mean "lift"\? Known: fit_shape, lift'):
        registry.find(f"{package}.stages", "lifft", Stage, "stage")


def test_a_file_with_two_stages_is_refused(package, tmp_path):
    file = tmp_path / package / "stages" / "two.py"
    file.write_text((tmp_path / package / "stages" / "lift.py").read_text().replace("Lift", "One"))
    file.write_text(file.read_text() + "\n" + toys.STAGES["see"])
    with pytest.raises(ConfigError, match="exactly one stage derived from Stage, not One, See"):
        registry.find(f"{package}.stages", "two", Stage, "stage")


def test_a_file_may_name_a_type_beside_its_stage(package, tmp_path):
    file = tmp_path / package / "stages" / "lift.py"
    file.write_text(file.read_text() + "\nPair = tuple[str, int]\n")
    assert registry.find(f"{package}.stages", "lift", Stage, "stage").__name__ == "Lift"


@pytest.mark.parametrize("path", ["{}.stages.lift", "{}.stages.lift.Lift"])
def test_a_dotted_path_names_a_module_or_a_class(package, path):
    assert registry.find_dotted(path.format(package), Stage, "stage").__name__ == "Lift"


@pytest.mark.parametrize("path", ["nowhere.at.all", "{}.stages.lift.Nothing", "{}.nothing.Lift", "os.path"])
def test_a_dotted_path_that_leads_nowhere_is_told(package, path):
    with pytest.raises(ConfigError, match="stage"):
        registry.find_dotted(path.format(package), Stage, "stage")


def test_a_missing_import_inside_a_plugin_is_not_hidden(package, tmp_path):
    (tmp_path / package / "stages" / "broken.py").write_text("import a_library_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        registry.find_dotted(f"{package}.stages.broken", Stage, "stage")
