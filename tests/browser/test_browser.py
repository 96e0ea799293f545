"""The pages in a real browser: what people do, by mouse, by keyboard and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Neighbour, Site, complaints_of, open_page
from tests.chromium import needs_chromium
from tests.support import PASSWORD
from tests.test_pages import ELSEWHERE, OWN_THOUGH_STRANGE

pytestmark = [pytest.mark.browser, needs_chromium]

COOKIE = "foxtrot_session"


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


@pytest.fixture
def account(page: Page, site: Site, alice: str) -> Page:
    """Alice's account page."""
    site.sign_in(page, alice)
    page.goto("/account")
    return page


@pytest.fixture
def with_token(account: Page) -> Page:
    """Alice's account page, after she asked for a token."""
    button(account, "Get a token").click()
    expect(account.locator("#token-claims")).to_be_visible()
    return account


# By mouse


def test_a_person_registers_signs_out_and_signs_in_again(page: Page, site: Site) -> None:
    """From the start page on, by what is to be seen."""
    email = site.new_address("dave")
    page.goto("/")
    page.get_by_role("link", name="Create an account").click()
    address(page).fill(email)
    password(page).fill(PASSWORD)
    button(page, "Create account").click()
    button(page, "Sign out").click()
    sign_in(page, email)
    expect(page).to_have_url(f"{site.url}/account")
    expect(page.get_by_text(email, exact=True)).to_be_visible()


def test_whoever_was_sent_to_sign_in_lands_where_they_wanted(
    page: Page, site: Site, alice: str
) -> None:
    """The page that was asked for comes after the form."""
    page.goto("/account?from=bookmark")
    sign_in(page, alice)
    expect(page).to_have_url(f"{site.url}/account?from=bookmark")


def test_the_link_of_the_terminal_opens_the_page_for_the_first_administrator(
    page: Page, site: Site
) -> None:
    """As `flask setup-link` prints it."""
    page.goto(site.link("setup-link"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Make the first administrator")


def test_a_reset_link_lets_a_person_choose_a_new_password(page: Page, site: Site) -> None:
    """As `flask users reset-link` prints it; then the new password signs in."""
    email, secret = site.add_user("erin"), "seven green lamps above the harbour"
    page.goto(site.link("users", "reset-link", email))
    password(page).fill(secret)
    button(page, "Save password").click()
    sign_in(page, email, secret)
    expect(page).to_have_url(f"{site.url}/account")


def test_the_address_for_password_managers_is_in_nobodys_way(page: Page, site: Site) -> None:
    """The page of a reset link has one field to see, and the keyboard finds no other."""
    email = site.add_user("erin")
    page.goto(site.link("users", "reset-link", email))
    hidden = page.locator("input[autocomplete=username]")
    expect(hidden).to_have_value(email)
    expect(hidden).to_be_hidden()
    tab_to(password(page))
    page.keyboard.press("Shift+Tab")
    expect(hidden).not_to_be_focused()


def test_the_advice_of_a_reset_knows_whose_password_it_is(page: Page, site: Site) -> None:
    """What is made of one's own address is refused when it is sent, too."""
    email = site.add_user("erin.of.the.valley")
    page.goto(site.link("users", "reset-link", email))
    password(page).fill(email)
    expect(page.locator("#password-advice")).to_contain_text("made of your address")


def test_the_pages_work_at_every_loopback_name(page: Page, site: Site, alice: str) -> None:
    """A number, or a name below localhost."""
    for name in ("127.0.0.1", "app.localhost"):
        page.goto(f"{site.url.replace('localhost', name)}/login")
        sign_in(page, alice)
        button(page, "Get a token").click()
        expect(page.locator("#token-claims")).to_be_visible()


def test_the_back_button_shows_nothing_after_signing_out(account: Page, alice: str) -> None:
    """Whoever sits down next sees nobody's account."""
    button(account, "Sign out").click()
    account.wait_for_url("**/login")
    account.go_back()
    expect(account.get_by_text(alice)).to_have_count(0)
    expect(account.get_by_role("heading", level=1)).to_have_text("Sign in")


# The token panel


def test_the_panel_shows_what_the_token_says(with_token: Page, site: Site) -> None:
    """Header and claims, decoded."""
    expect(with_token.locator("#token-header")).to_contain_text('"typ": "at+jwt"')
    expect(with_token.locator("#token-claims")).to_contain_text(f'"iss": "{site.url}"')


def test_the_countdown_runs(with_token: Page) -> None:
    """A second later it says less."""
    countdown = with_token.get_by_role("timer")
    expect(countdown).to_have_text(re.compile(r"^Expires in (15:00|14:5\d)$"))
    shown = countdown.inner_text()
    expect(countdown).not_to_have_text(shown, timeout=3000)
    expect(countdown).to_have_text(re.compile(r"^Expires in 14:5\d$"))


def test_the_countdown_ends(page: Page, site: Site, alice: str) -> None:
    """After a quarter of an hour the token is said to have expired."""
    page.clock.install()
    site.sign_in(page, alice)
    page.goto("/account")
    button(page, "Get a token").click()
    expect(page.locator("#token-claims")).to_be_visible()
    page.clock.fast_forward("15:01")
    expect(page.get_by_role("timer")).to_have_text("Expired")


def test_the_panel_calls_the_api_and_shows_request_and_answer(with_token: Page, alice: str) -> None:
    """With 200 and who it is."""
    with with_token.expect_response("**/api/me") as answer:
        button(with_token, "Call the API with it").click()
    assert answer.value.status == 200
    expect(with_token.locator("#request")).to_contain_text("GET /api/me HTTP/1.1")
    expect(with_token.locator("#answer")).to_contain_text("HTTP/1.1 200 OK")
    expect(with_token.locator("#answer")).to_contain_text(alice)


def test_the_answer_is_near_the_button_that_asks_for_it(with_token: Page) -> None:
    """Half a phone's height at most, not below the whole token."""
    with_token.set_viewport_size({"width": 390, "height": 844})
    button(with_token, "Call the API with it").click()
    answer = with_token.locator("#answer")
    expect(answer).to_contain_text("HTTP/1.1 200 OK")
    asked, answered = with_token.locator("#call-api").bounding_box(), answer.bounding_box()
    assert asked is not None
    assert answered is not None
    assert answered["y"] - asked["y"] < 844 / 2


def test_the_request_that_is_shown_does_not_give_the_token_away(with_token: Page) -> None:
    """Screens are shared."""
    button(with_token, "Call the API with it").click()
    request = with_token.locator("#request")
    expect(request).to_contain_text("Authorization: Bearer eyJ")
    expect(request).not_to_contain_text(str(with_token.locator("#token-text").text_content()))


def test_a_new_token_replaces_the_old_one(with_token: Page) -> None:
    """Each has an identifier of its own."""
    before = str(with_token.locator("#token-text").text_content())
    button(with_token, "Get a new token").click()
    expect(with_token.locator("#token-text")).not_to_have_text(before)


def test_an_ended_session_leads_to_the_sign_in_page(with_token: Page, site: Site) -> None:
    """Signed out in another tab; afterwards the account page comes back."""
    headers = {"Origin": site.url}
    with_token.request.post(f"{site.url}/logout", headers=headers, max_redirects=0)
    button(with_token, "Get a new token").click()
    with_token.wait_for_url("**/login?next=/account")


def test_a_token_of_an_ended_session_is_shown_to_be_refused(with_token: Page, site: Site) -> None:
    """With the answer as it came."""
    headers = {"Origin": site.url}
    with_token.request.post(f"{site.url}/logout", headers=headers, max_redirects=0)
    button(with_token, "Call the API with it").click()
    expect(with_token.locator("#answer")).to_contain_text("HTTP/1.1 401")
    expect(with_token.locator("#answer")).to_contain_text("invalid_token")


def test_a_network_that_fails_is_said(account: Page) -> None:
    """In words, as an alert, and the button can be pressed again."""
    account.route("**/auth/token", lambda route: route.abort())
    button(account, "Get a token").click()
    expect(account.get_by_role("alert")).not_to_be_empty()
    expect(button(account, "Get a token")).to_be_enabled()


STORED = """async () => [
  ...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie,
  ...(await indexedDB.databases()).map((database) => database.name),
  ...await caches.keys(), ...await navigator.serviceWorker.getRegistrations(),
  window.name, history.state, location.search, location.hash,
].filter(Boolean)"""


def test_scripts_find_nothing_stored(with_token: Page) -> None:
    """Neither the token nor the cookie; the token lives in memory alone."""
    button(with_token, "Call the API with it").click()
    expect(with_token.locator("#answer")).to_be_visible()
    assert with_token.evaluate(STORED) == []


def test_a_reload_forgets_the_token(with_token: Page) -> None:
    """It was nowhere but in memory."""
    with_token.reload()
    expect(button(with_token, "Get a token")).to_be_visible()
    expect(with_token.locator("#token-text")).to_be_empty()


# By keyboard alone


def tab_to(target: Locator) -> None:
    """Press Tab until the focus is there."""
    for _ in range(15):
        if target.evaluate("element => element === document.activeElement"):
            return
        target.page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached by Tab")


def test_the_whole_way_can_be_gone_by_keyboard(page: Page, site: Site) -> None:
    """Register, get a token, call the API, sign out; with Tab, Enter and letters."""
    page.goto("/login")
    tab_to(page.get_by_role("link", name="Create an account"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/register")
    expect(address(page)).to_be_focused()
    page.keyboard.type(site.new_address("frank"))
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")
    tab_to(button(page, "Get a token"))
    page.keyboard.press("Enter")
    expect(page.locator("#token-claims")).to_be_visible()
    tab_to(button(page, "Call the API with it"))
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("HTTP/1.1 200")
    page.reload()
    tab_to(button(page, "Sign out"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")


def test_signing_in_takes_the_keyboard_and_nothing_else(page: Page, site: Site, alice: str) -> None:
    """The focus is where one begins, and Enter sends."""
    page.goto("/login")
    page.keyboard.type(alice)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/account")


def test_the_first_stop_skips_to_the_content(account: Page) -> None:
    """And the next stop is in it."""
    account.keyboard.press("Tab")
    expect(account.get_by_role("link", name="Skip to the content")).to_be_focused()
    account.keyboard.press("Enter")
    account.keyboard.press("Tab")
    expect(button(account, "Get a token")).to_be_focused()


FOCUSED = """() => {
  const { left, width } = document.activeElement.getBoundingClientRect();
  const style = getComputedStyle(document.activeElement);
  return { isPage: document.activeElement === document.body, left, width,
           outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth) };
}"""


def test_every_stop_of_the_keyboard_can_be_seen(with_token: Page) -> None:
    """Each has a broad outline, and lies within the page."""
    stops = []
    for _ in range(12):
        with_token.keyboard.press("Tab")
        stops.append(with_token.evaluate(FOCUSED))
    seen = [stop for stop in stops if not stop["isPage"]]
    assert len(seen) >= 8
    assert [stop for stop in seen if stop["outline"] < 2 or stop["left"] < 0] == []


# Without JavaScript


def test_the_whole_way_can_be_gone_without_javascript(plain: Page, site: Site) -> None:
    """Register, sign out, mistype, sign in."""
    email = site.new_address("grace")
    register(plain, email)
    button(plain, "Sign out").click()
    sign_in(plain, email, "wrong")
    expect(plain.get_by_role("alert")).to_contain_text("do not match an account")
    expect(address(plain)).to_have_value(email)
    password(plain).fill(PASSWORD)
    button(plain, "Sign in").click()
    expect(plain).to_have_url(f"{site.url}/account")


def test_without_javascript_the_panel_says_how_to_get_a_token(
    plain: Page, site: Site, alice: str
) -> None:
    """And shows no button that does nothing."""
    site.sign_in(plain, alice)
    plain.goto("/account")
    command = plain.locator("pre", has_text="curl")
    expect(command).to_contain_text(f"{site.url}/auth/login")
    expect(command).to_be_visible()
    expect(button(plain, "Get a token")).to_be_hidden()


def test_the_command_that_gets_a_token_is_not_cut(plain: Page, site: Site, alice: str) -> None:
    """All of it can be read without scrolling to the side, on a desktop too."""
    site.sign_in(plain, alice)
    plain.goto("/account")
    command = plain.locator("pre", has_text="curl").element_handle()
    assert plain.evaluate("(pre) => pre.scrollWidth - pre.clientWidth", command) == 0


def test_without_javascript_the_advice_comes_with_the_answer(plain: Page, site: Site) -> None:
    """At the field, with the focus in it."""
    register(plain, site.new_address("heidi"), "passwordpassword")
    expect(plain.locator("#password-wrong")).not_to_be_empty()
    expect(password(plain)).to_be_focused()


def test_without_javascript_there_is_no_button_to_show_the_password(plain: Page) -> None:
    """It could not do anything."""
    plain.goto("/login")
    expect(plain.get_by_role("button")).to_have_count(1)


def test_without_javascript_the_api_is_described_by_its_document(plain: Page) -> None:
    """The page of the API links to it."""
    plain.goto("/docs")
    expect(plain.get_by_role("link", name="openapi.json")).to_be_visible()


# Forms


def test_advice_appears_while_a_password_is_typed(page: Page) -> None:
    """First what is missing, then that it is good."""
    page.goto("/register")
    advice = page.locator("#password-advice")
    password(page).press_sequentially("short")
    expect(advice).to_have_text("Use at least 15 characters: 10 characters to go.")
    password(page).fill(PASSWORD)
    expect(advice).to_have_text("That is a good password.")
    password(page).fill("")
    expect(advice).to_be_empty()


def live_regions(page: Page) -> list[str]:
    """The live regions that a screen reader knows of, by the id of their element."""
    session = page.context.new_cdp_session(page)
    regions = [node for node in tree_of(page) if property_of(node, "live") == "polite"]
    ids: list[str] = []
    for node in regions:
        found = session.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})
        attributes = found["node"]["attributes"]
        ids.append(attributes[attributes.index("id") + 1])
    return ids


def tree_of(page: Page) -> list[dict[str, Any]]:
    """What assistive technology is told of a page, element by element."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    return [node for node in nodes if not node["ignored"]]


def property_of(node: dict[str, Any], name: str) -> Any:
    found = [entry["value"]["value"] for entry in node["properties"] if entry["name"] == name]
    return found[0] if found else None


@pytest.mark.parametrize("state", ["before", "after"])
def test_advice_is_announced(page: Page, state: str) -> None:
    """A screen reader must know the region before there is anything in it."""
    page.goto("/register")
    if state == "after":
        password(page).fill("short")
        expect(page.locator("#password-advice")).not_to_be_empty()
    assert live_regions(page) == ["password-advice"]


def test_advice_belongs_to_its_field(page: Page) -> None:
    """Whoever comes back to the field hears it again."""
    page.goto("/register")
    password(page).fill("short")
    expect(page.locator("#password-advice")).not_to_be_empty()
    expect(password(page)).to_have_accessible_description(re.compile("Use at least 15 characters"))


def test_no_advice_is_given_on_the_password_of_a_sign_in(page: Page) -> None:
    """It is checked when it is sent, and goes nowhere before."""
    sent: list[str] = []
    page.goto("/login")
    page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
    password(page).fill("short")
    page.wait_for_timeout(500)
    assert [line for line in sent if not line.startswith("GET ")] == []


def test_a_password_can_be_shown_and_hidden(page: Page) -> None:
    """The button says what it does next, and the text stays."""
    page.goto("/login")
    password(page).fill("seen")
    button(page, "Show the password").click()
    expect(password(page)).to_have_attribute("type", "text")
    expect(password(page)).to_have_value("seen")
    page.get_by_role("button").filter(has_text="Hide").click()
    expect(password(page)).to_have_attribute("type", "password")


def test_the_button_is_called_what_is_written_on_it(page: Page) -> None:
    """Who speaks to the computer says what they see (WCAG 2.5.3)."""
    page.goto("/login")
    toggle = page.locator(".entry").get_by_role("button")
    expect(toggle).to_have_accessible_name(re.compile("Show"))
    toggle.click()
    expect(toggle).to_have_text("Hide")
    expect(toggle).to_have_accessible_name(re.compile("Hide"))


def test_a_shown_password_is_sent_as_a_hidden_one(page: Page, site: Site, alice: str) -> None:
    """Or the browser would remember it among ordinary texts."""
    page.goto("/login")
    types: list[str] = []
    page.expose_function("noteType", lambda type_: types.append(type_))
    page.evaluate(
        "addEventListener('submit', () => noteType(document.getElementById('password').type))"
    )
    button(page, "Show the password").click()
    sign_in(page, alice)
    page.wait_for_url("**/account")
    assert types == ["password"]


def test_a_password_can_be_pasted(page: Page) -> None:
    """As password managers and people do."""
    page.goto("/register")
    address(page).fill(PASSWORD)
    address(page).press("Control+A")
    address(page).press("Control+C")
    password(page).press("Control+V")
    expect(password(page)).to_have_value(PASSWORD)


@pytest.mark.parametrize(
    ("email", "secret", "focused"),
    [
        ("nobody@nowhere", PASSWORD, "email"),
        ("nobody@nowhere", "short", "email"),
        ("judy@example.com", "short", "password"),
        ("taken", PASSWORD, "email"),
    ],
)
def test_the_focus_lands_on_the_first_wrong_field(
    page: Page, alice: str, email: str, secret: str, focused: str
) -> None:
    """So that one can go on typing."""
    register(page, alice if email == "taken" else email, secret)
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator(f"#{focused}")).to_be_focused()


def test_after_a_refused_sign_in_the_focus_is_in_the_password(page: Page, alice: str) -> None:
    """The address is there already."""
    page.goto("/login")
    sign_in(page, alice, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(password(page)).to_be_focused()
    expect(password(page)).to_be_empty()


def test_what_is_wrong_is_read_with_its_field(page: Page, site: Site) -> None:
    """As its description, and as invalid."""
    register(page, site.new_address("kim"), "passwordpassword")
    expect(password(page)).to_have_attribute("aria-invalid", "true")
    words = page.locator("#password-wrong li").first.inner_text()
    expect(password(page)).to_have_accessible_description(re.compile(re.escape(words)))


def test_a_new_judgement_replaces_what_was_wrong(page: Page, site: Site) -> None:
    """Beside praise for the new password, blame for the old one would confuse."""
    register(page, site.new_address("kim"), "passwordpassword")
    expect(password(page)).to_have_attribute("aria-invalid", "true")
    password(page).fill(PASSWORD)
    expect(page.locator("#password-advice")).to_have_text("That is a good password.")
    expect(page.locator("#password-wrong")).to_have_count(0)
    expect(password(page)).not_to_have_attribute("aria-invalid", "true")
    expect(password(page)).to_have_accessible_description(re.compile("That is a good password"))
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_good_password_does_not_mend_the_address(page: Page) -> None:
    """What is wrong with another field stays marked."""
    register(page, "nobody@nowhere", "short")
    password(page).fill(PASSWORD)
    expect(page.locator("#password-wrong")).to_have_count(0)
    expect(page.locator("#email-wrong")).not_to_be_empty()
    expect(page.get_by_role("alert")).to_be_visible()


# Other sites


@pytest.mark.parametrize("path", ["/logout", "/auth/logout"])
def test_another_site_cannot_sign_anybody_out(
    account: Page, site: Site, neighbour: Neighbour, path: str
) -> None:
    """Its form is sent, and the cookie stays."""
    neighbour.html = f'<form method="post" action="{site.url}{path}"><button>'
    account.goto(neighbour.url)
    with account.expect_response(f"**{path}"):
        account.get_by_role("button").click()
    assert [cookie["name"] for cookie in account.context.cookies(site.url)] == [COOKIE]


def test_another_site_cannot_sign_anybody_in(
    page: Page, site: Site, neighbour: Neighbour, alice: str
) -> None:
    """Not even with a password that is right."""
    fields = f'<input name="email" value="{alice}"><input name="password" value="{PASSWORD}">'
    neighbour.html = f'<form method="post" action="{site.url}/login">{fields}<button>'
    page.goto(neighbour.url)
    with page.expect_response("**/login") as answer:
        page.get_by_role("button").click()
    assert answer.value.status == 403
    assert page.context.cookies(site.url) == []


def test_another_site_cannot_show_our_pages_in_a_frame(
    page: Page, site: Site, neighbour: Neighbour
) -> None:
    """Nor catch clicks that way."""
    complaints = complaints_of(page)
    neighbour.html = f'<iframe src="{site.url}/login"></iframe>'
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(neighbour.url)
    assert len(complaints) == 1
    assert all("Sign in" not in frame.content() for frame in page.frames)


def test_another_site_cannot_read_what_we_answer(
    account: Page, site: Site, neighbour: Neighbour
) -> None:
    """Neither a token nor whether somebody is signed in."""
    account.goto(neighbour.url)
    ask = f"fetch('{site.url}/auth/token', {{method: 'POST', credentials: 'include'}})"
    assert account.evaluate(f"{ask}.then(() => 'read', () => 'refused')") == "refused"


def test_a_browser_never_leaves_for_another_site(account: Page, site: Site) -> None:
    """The judge of every strange `next` is the browser itself."""
    locations = [
        account.request.get("/login", params={"next": target}, max_redirects=0).headers["location"]
        for target in (*ELSEWHERE, *OWN_THOUGH_STRANGE)
    ]
    judge = "([locations, base]) => locations.map((location) => new URL(location, base).origin)"
    assert set(account.evaluate(judge, [locations, f"{site.url}/login"])) == {site.url}


# The page of the API


def test_the_page_of_the_api_shows_every_operation(page: Page) -> None:
    """As the document lists them."""
    paths = page.request.get("/openapi.json").json()["paths"]
    page.goto("/docs")
    expect(page.locator(".opblock")).to_have_count(sum(map(len, paths.values())))


def test_the_page_of_the_api_is_made_of_our_own_files(page: Page, site: Site) -> None:
    """It asks nobody else for anything."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/docs", wait_until="networkidle")
    expect(page.locator(".opblock").first).to_be_visible()
    assert f"{site.url}/openapi.json" in asked
    assert [url for url in asked if not url.startswith((f"{site.url}/", "data:"))] == []


def test_an_operation_can_be_tried_on_the_page_of_the_api(page: Page) -> None:
    """The policy lets it call this service."""
    page.goto("/docs")
    page.locator(".opblock", has_text="/healthz").get_by_role("button").first.click()
    button(page, "Try it out").click()
    button(page, "Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_have_text("200")


def test_the_page_of_the_api_can_be_read_in_the_dark(chromium: Browser, site: Site) -> None:
    """At least 4.5 to 1 (WCAG 1.4.3); its colours are Swagger UI's, the choice is the reader's."""
    with open_page(chromium, site, color_scheme="dark", reduced_motion="reduce") as page:
        show_docs(page, site)
        assert [part for part in contrasts(page, "dark") if part["contrast"] < 4.5] == []


def test_the_page_of_the_api_turns_dark_and_light_with_the_reader(page: Page) -> None:
    """While it is open, as all other pages do."""
    page.goto("/docs")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_css("color-scheme", "dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_have_css("color-scheme", "dark")


# Every page


@dataclass
class Shown:
    """A page that stays open for several tests, and what the browser complained about."""

    name: str
    page: Page
    complaints: list[str]


def show_account(page: Page, site: Site) -> None:
    site.sign_in(page, site.add_user("a-rather-long-name-that-has-to-be-broken-somewhere"))
    page.goto("/account")


def show_token(page: Page, site: Site) -> None:
    show_account(page, site)
    button(page, "Get a token").click()
    page.get_by_text("The token itself").click()
    button(page, "Call the API with it").click()
    expect(page.locator("#answer")).to_be_visible()


def show_refused_sign_in(page: Page, site: Site) -> None:
    page.goto("/login")
    sign_in(page, "nobody@example.com", "wrong")
    expect(page.get_by_role("alert")).to_be_visible()


def show_refused_registration(page: Page, site: Site) -> None:
    register(page, site.new_address("liz"), "passwordpassword")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(button(page, "Show the password")).to_be_visible()
    password(page).fill("short")
    expect(page.locator("#password-advice")).not_to_be_empty()


def show_good_password(page: Page, site: Site) -> None:
    page.goto("/register")
    password(page).fill(PASSWORD)
    expect(page.locator("#password-advice")).not_to_be_empty()


def show_setup(page: Page, site: Site) -> None:
    page.goto(site.link("setup-link"))


def show_reset(page: Page, site: Site) -> None:
    page.goto(site.link("users", "reset-link", site.add_user("carol")))


def show_docs(page: Page, site: Site) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()


def at(path: str) -> Callable[[Page, Site], None]:
    """A page that shows itself at its path."""

    def show(page: Page, site: Site) -> None:
        page.goto(path)

    return show


OUR_PAGES: dict[str, Callable[[Page, Site], None]] = {
    "sign in": at("/login"),
    "refused sign-in": show_refused_sign_in,
    "register": show_good_password,
    "refused registration": show_refused_registration,
    "account": show_account,
    "account with a token": show_token,
    "setup": show_setup,
    "reset": show_reset,
    "dead link": at("/setup?token=x"),
    "not found": at("/nowhere"),
    "wrong method": at("/logout"),
}
PAGES = {**OUR_PAGES, "docs": show_docs}
"""The last one is Swagger UI's: its colours, sizes and headings are not ours."""


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest, chromium: Browser, site: Site) -> Iterator[Shown]:
    """One of the pages, with nothing moving on it."""
    with open_page(chromium, site, reduced_motion="reduce") as page:
        complaints = complaints_of(page)
        PAGES[request.param](page, site)
        yield Shown(request.param, page, complaints)


every_page = pytest.mark.parametrize("shown", PAGES, indirect=True)
every_page_of_ours = pytest.mark.parametrize("shown", OUR_PAGES, indirect=True)

SURPLUS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@every_page
def test_the_browser_complains_about_nothing(shown: Shown) -> None:
    """No error, no warning, nothing that the policy forbids."""
    assert shown.complaints == []


@every_page
@pytest.mark.parametrize("width", [320, 390, 640, 1280])
def test_nothing_sticks_out_to_the_side(shown: Shown, width: int) -> None:
    """On a small phone, on a usual one, and at 200 % on a desktop."""
    shown.page.set_viewport_size({"width": width, "height": 700})
    assert shown.page.evaluate(SURPLUS) == 0


@every_page_of_ours
def test_text_of_twice_the_size_fits(shown: Shown) -> None:
    """Readers who chose larger letters (WCAG 1.4.4)."""
    shown.page.set_viewport_size({"width": 640, "height": 700})
    shown.page.evaluate("document.documentElement.style.fontSize = '200%'")
    surplus = shown.page.evaluate(SURPLUS)
    shown.page.evaluate("document.documentElement.style.fontSize = ''")
    assert surplus == 0


CONTRASTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const luminance = (rgb) => rgb
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const backOf = (element) => {
    if (!element) return [255, 255, 255];
    return over(numbers(getComputedStyle(element).backgroundColor), backOf(element.parentElement));
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const speaks = (element) => element.matches("input")
    || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body, body *")]
    .filter((element) => speaks(element) && element.checkVisibility() && !element.disabled)
    .map((element) => {
      const back = backOf(element);
      const style = getComputedStyle(element);
      return {
        text: `${element.tagName} ${element.textContent.trim().slice(0, 30)}`,
        contrast: ratio(over(numbers(style.color), back), back),
        edge: element.matches("input")
          ? ratio(over(numbers(style.borderTopColor), back), backOf(element.parentElement)) : null,
      };
    });
}"""

Scheme = Literal["light", "dark"]
SCHEMES: list[Scheme] = ["light", "dark"]


def contrasts(page: Page, scheme: Scheme) -> list[dict[str, Any]]:
    """How each text, and the edge of each input, stands out (WCAG 2.2)."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    measured: list[dict[str, Any]] = page.evaluate(CONTRASTS)
    assert len(measured) >= 3
    return measured


@every_page_of_ours
@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read(shown: Shown, scheme: Scheme) -> None:
    """At least 4.5 to 1 (WCAG 1.4.3)."""
    assert [part for part in contrasts(shown.page, scheme) if part["contrast"] < 4.5] == []


@every_page_of_ours
@pytest.mark.parametrize("scheme", SCHEMES)
def test_fields_can_be_seen(shown: Shown, scheme: Scheme) -> None:
    """Their edges at least 3 to 1 (WCAG 1.4.11)."""
    edges = [part for part in contrasts(shown.page, scheme) if part["edge"] is not None]
    assert [part for part in edges if part["edge"] < 3] == []


def test_dark_and_light_differ(page: Page) -> None:
    """Or the tests of both would measure one."""
    page.goto("/login")
    backgrounds = set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


CONTROLS = {"button", "link", "textbox", "checkbox", "combobox", "progressbar"}


@every_page
def test_each_control_has_a_name(shown: Shown) -> None:
    """That a screen reader says."""
    controls = [node for node in tree_of(shown.page) if node["role"]["value"] in CONTROLS]
    assert controls
    assert [node for node in controls if not node["name"]["value"].strip()] == []


@every_page_of_ours
def test_a_page_has_one_heading_and_one_main_part(shown: Shown) -> None:
    """By which people who do not see the page find their way."""
    roles = [node["role"]["value"] for node in tree_of(shown.page)]
    assert roles.count("main") == 1
    assert roles.count("banner") == 1
    expect(shown.page.get_by_role("heading", level=1)).to_have_count(1)


@every_page_of_ours
def test_what_is_pressed_is_large_enough(shown: Shown) -> None:
    """At least 24 by 24, unless it is a word in a sentence (WCAG 2.5.8)."""
    shown.page.set_viewport_size({"width": 390, "height": 700})
    for target in shown.page.locator("button:visible, input:visible, summary:visible").all():
        box = target.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24
