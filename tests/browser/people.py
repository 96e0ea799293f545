"""What people do in the browser tests: find fields and buttons, fill in forms, press Tab."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page

from tests.support import PASSWORD


def address(page: Page) -> Locator:
    return page.get_by_label("E-mail address")


def password(page: Page) -> Locator:
    return page.get_by_label(re.compile("^(New p|P)assword$"))


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def sign_in(page: Page, email: str, secret: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    address(page).fill(email)
    password(page).fill(secret)
    button(page, "Sign in").click()


def register(page: Page, email: str, secret: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    page.goto("/register")
    address(page).fill(email)
    password(page).fill(secret)
    button(page, "Create account").click()


def tab_to(target: Locator) -> None:
    """Press Tab until the focus is there."""
    for _ in range(15):
        if target.evaluate("element => element === document.activeElement"):
            return
        target.page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached by Tab")
