"""The page in a headless Chromium: signs in, draws, follows, is usable by keyboard, accessible and narrow."""

import shutil
import time

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright IS MISSING: the page is not tested")
pytest.importorskip("axe_playwright_python", reason="axe IS MISSING: the page is not tested")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from foreshade.adapters.auth.role import Role
from tests.api_surface import served

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium IS MISSING (apt-get install chromium): the page is not tested"
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    with served(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


def opened(browser, one, token, **context):
    """The page, signed in, and what its console said."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(120_000)
    said = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: said.append(str(e)))
    page.goto(f"{one.http.base_url}/#token={token}" if token else str(one.http.base_url))
    return page, said


def until(page, what):
    for _ in range(2400):
        if page.evaluate(what):
            return
        time.sleep(0.05)
    raise AssertionError(f"never: {what}; {page.inner_text('#live')}")


def test_it_draws_is_accessible_and_says_nothing_on_the_console(browser, one):
    for scheme in ("light", "dark"):
        page, said = opened(browser, one, one.token(Role.ADMIN), color_scheme=scheme)
        until(page, "performance.getEntriesByName('foreshade-interactive').length > 0")
        until(page, "document.querySelectorAll('#vms tbody tr').length == 8")
        until(page, "document.querySelector('#plan button') !== null")
        assert page.evaluate("location.hash") == "", "the token does not stay in the address"
        page.locator("#plan details summary").last.click()
        until(page, "document.querySelectorAll('#plan details table tbody tr').length > 1")
        found = Axe().run(page)
        assert found.response["violations"] == [], found.generate_report()
        assert said == []
        page.context.close()


def test_a_tick_shows_by_itself_and_hosts_are_walked_by_keyboard(browser, one):
    page, said = opened(browser, one, one.token(Role.VIEWER))
    until(page, "performance.getEntriesByName('foreshade-interactive').length > 0")
    assert page.is_disabled("#pause")
    before = page.inner_text("#facts")
    until(page, "document.getElementById('live').textContent == 'Live.'")
    one.tick()
    until(page, f"document.getElementById('facts').textContent != {before!r}")
    page.focus(".cell")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('vm-host').value == 'host0001'")
    assert said == []
    page.context.close()


def test_an_operator_approves_with_a_reason(browser, one):
    for _ in range(40):
        if one.get("/v1/plans?state=recommended")["total"]:
            break
        one.tick()
    page, said = opened(browser, one, one.token(Role.OPERATOR))
    until(page, "[...document.querySelectorAll('#plan button')].some(b => b.textContent == 'Approve')")
    page.click("#plan button >> text=Approve")
    page.fill("#ask-reason", "looked at it")
    page.click("#ask-yes")
    until(page, "document.getElementById('live').textContent.includes('is approved by')")
    entry = one.get("/v1/audit")["items"][-1]
    assert (entry["action"], entry["detail"]) == ("plan.approve", {"reason": "looked at it"})
    assert said == []
    page.context.close()


def test_on_a_phone_nothing_sticks_out_and_a_wrong_token_is_told(browser, one):
    page, _ = opened(browser, one, one.token(Role.VIEWER), viewport={"width": 360, "height": 740})
    until(page, "document.querySelectorAll('#vms tbody tr').length == 8")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click("#leave")
    page.fill("#token", "foreshade_wrong")
    page.click("#door button")
    until(page, "document.getElementById('door-error').textContent.length > 10")
    page.context.close()
