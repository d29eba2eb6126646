"""A headless Chromium for tests, without a network; where none can be had they are skipped, and fail in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""As root in a container there is no sandbox; WebGL is computed without a graphics card."""
MODULES = Path(__file__).parent / "node_modules"


def _missing(why: str) -> NoReturn:
    told = f"{why}; `make test-browser` sets it up"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(told)
    pytest.skip(told)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Playwright's Browser: the system's Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        _missing("there is no Chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield chromium
        chromium.close()


class Said:
    """What a page did beside being shown: errors it told, and addresses of a network it asked for."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.asked: list[str] = []


@pytest.fixture
def said() -> Said:
    """Of the `page` of the same test."""
    return Said()


@pytest.fixture
def page(browser: Any, said: Said) -> Iterator[Any]:
    """A fresh Playwright Page, 1280x800. What is not file:, data: or blob: is refused and noted in `said.asked`."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    fresh = context.new_page()

    def pass_on(route: Any) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            said.asked.append(route.request.url)
            route.abort()

    context.route("**/*", pass_on)
    fresh.on("console", lambda message: said.errors.append(message.text) if message.type == "error" else None)
    fresh.on("pageerror", lambda error: said.errors.append(str(error)))
    yield fresh
    context.close()


@pytest.fixture(scope="session")
def modules() -> Path:
    """`node_modules` with what package.json lists (three, gltf-validator)."""
    if not (MODULES / "three").is_dir():
        _missing("the packages of tests/browser/package.json are not installed")
    return MODULES
