"""What is installed is what is declared, pinned and needed, and nothing points at one machine or registry."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from mocap import __version__

IMPORTED_AS = {
    "opencv-contrib-python": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "ffmpeg-python": "ffmpeg",
    "typing-extensions": "typing_extensions",
    "annotated-types": "annotated_types",
    "imageio-ffmpeg": "imageio_ffmpeg",
}


@pytest.fixture(scope="module")
def declared(repository) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(repository / "setup.cfg", encoding="utf-8")
    return parser


def names(text: str) -> set[str]:
    return {re.split(r"[\[;<>=! ]", line.strip(), maxsplit=1)[0] for line in text.strip().splitlines() if line.strip()}


def imported(folder: Path) -> set[str]:
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"mocap"}


def test_every_library_imported_is_declared_and_every_one_declared_is_imported(repository, declared):
    required = {IMPORTED_AS.get(n, n) for n in names(declared["options"]["install_requires"])}
    assert names(declared["options.extras_require"]["view"]) == {"rerun-sdk"}  # imported where it is asked for
    assert names(declared["options.extras_require"]["parquet"]) == {"pyarrow"}  # likewise
    required |= {"rerun", "pyarrow"}
    assert imported(repository / "mocap") == required | ({"tomllib"} - set(sys.stdlib_module_names))


def test_everything_declared_is_pinned_exactly_once_for_each_python(repository, declared):
    lines = [s for s in (repository / "constraints.txt").read_text().splitlines() if s and not s.startswith("#")]
    assert all(re.fullmatch(r'[a-z0-9.-]+==[^;+]+(; python_version (<|>=) "3\.11")?', line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    wanted = names(declared["options"]["install_requires"])
    for extra in declared["options.extras_require"].values():
        wanted |= names(extra)
    assert wanted <= pinned
    for name in pinned:
        markers = [line.partition(";")[2].strip() for line in lines if line.startswith(f"{name}==")]
        assert markers in ([""], ['python_version < "3.11"'], ['python_version < "3.11"', 'python_version >= "3.11"'])


def test_metadata_is_in_setup_cfg_and_pyproject_only_builds(repository, declared):
    lines = (repository / "pyproject.toml").read_text().strip().splitlines()
    assert lines[0] == "[build-system]"
    assert len(lines) == 3
    assert declared["options.packages.find"]["include"] == "mocap*"
    assert declared["options"]["python_requires"] == ">=3.10,<3.14"


def test_nothing_names_a_package_registry_or_this_machine(repository):
    if shutil.which("git") is None:
        pytest.skip("git, which knows the project's files, is not installed")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tracked.returncode:
        pytest.skip("not a git checkout")
    hosts = re.compile(
        "|".join(("py" + r"pi\.org", "pythonhosted" + r"\.org", r"download\.py" + r"torch\.org", "/op" + "t/wheels"))
    )
    texts = {".py", ".cfg", ".toml", ".txt", ".yml", ".yaml", ".md", ".json", ""}
    for name in tracked.stdout.splitlines():
        path = repository / name
        if path.suffix in texts and path.is_file() and path.stat().st_size < 1_000_000:
            assert not hosts.search(path.read_text(encoding="utf-8", errors="replace")), name


def test_the_licence_is_there(repository):
    assert "Apache License" in (repository / "LICENSE").read_text()


def test_the_version_is_said_once(repository, declared):
    assert declared["metadata"]["version"] == "attr: mocap.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert (repository / "CHANGELOG.md").read_text().startswith("# Changelog")


def test_a_wheel_holds_the_package_its_body_and_the_configuration(repository, tmp_path):
    found = next((d.version for d in metadata.distributions(name="setuptools")), "0")
    if int(found.partition(".")[0]) < 77:
        pytest.skip(f"building needs setuptools 77, here is {found}, and tests fetch nothing")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "mocap", "config"):
        (source / name).symlink_to(repository / name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("mocap-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    assert "mocap/cli.py" in held
    assert not [n for n in held if n.startswith(("tests/", "tools/", "benchmarks/"))]
    for file in (repository / "config").rglob("*.yml"):
        assert any(n.endswith("share/mocap/" + file.relative_to(repository).as_posix()) for n in held), file
    for file in (repository / "mocap").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert file.relative_to(repository).as_posix() in held, file
    assert wheel.stat().st_size < 10_000_000
