"""A real browser: the distribution's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

EXECUTABLE = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_chromium = pytest.mark.skipif(
    EXECUTABLE is None and not os.environ.get("CI"),
    reason="no Chromium on this machine: install your distribution's package `chromium`",
)


@contextmanager
def open_page(**context: Any) -> Iterator[Page]:
    """A page in a browser of its own, which knows nothing from before."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        try:
            yield browser.new_context(**context).new_page()
        finally:
            browser.close()
