"""The documentation site, opened in a browser: pages load, search finds, nothing leads nowhere.

``make docs`` builds the site; Chromium is Debian's ``chromium``, or what ``CHROMIUM`` names.
"""

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urldefrag, urljoin

import pytest
from helpers import ROOT

pytestmark = pytest.mark.site

SITE = ROOT / "build" / "docs" / "html"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts and "_modules" not in path.parts
)
# Code blocks that a reader would copy; the output of examples is none.
BLOCKS = "div.highlight pre"
NARROW = {"width": 400, "height": 800}


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site without a log."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def address():
    assert PAGES, "run `make docs` first"
    handler = functools.partial(Quiet, directory=SITE)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "there is no Chromium: `apt-get install chromium`, or name one in CHROMIUM"
    with sync_playwright() as playwright:
        # Chromium has no sandbox where root runs it.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser):
    page = browser.new_page()
    page.faults = []
    page.on("console", lambda message: message.type == "error" and page.faults.append(message.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("requestfailed", lambda r: given_up(r) or page.faults.append(r.url))
    page.on("response", lambda r: r.status >= 400 and page.faults.append(f"{r.status} {r.url}"))
    yield page
    page.close()


def given_up(request):
    """Whether the browser ended it, as it does when a link is followed."""
    return request.failure == "net::ERR_ABORTED"


def test_the_site_is_there():
    assert {"index.html", "search.html", "reference/api/diffface.gradient.html"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page(page, tab, address):
    tab.set_viewport_size(NARROW)
    tab.goto(address + page)
    assert tab.faults == []
    assert tab.locator("h1").count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    outside = [a for a in hrefs(tab, "src") if not a.startswith((address, "data:"))]
    assert outside == [], "the site works without a network"
    blocks = tab.locator(BLOCKS).count()
    assert tab.locator("div.highlight button.copybtn").count() == blocks


def hrefs(tab, attribute="href"):
    """All that the elements of the page name in ``attribute``, as addresses."""
    return tab.evaluate(
        "name => [...document.querySelectorAll(`[${name}]`)].map(e => e[name]).filter(x => x)",
        attribute,
    )


def test_no_link_is_dead(browser, address):
    """Every link within the site leads to a page, and to a place on it that is there."""
    tab = browser.new_page()
    links, places = {}, {}
    for page in PAGES:
        tab.goto(address + page, wait_until="domcontentloaded")
        found = tab.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
        links[page] = {urljoin(address, link) for link in found if link.startswith(address)}
        places[address + page] = set(
            tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        )
    tab.close()
    dead = {
        (page, link)
        for page, found in links.items()
        for link in found
        if not leads(link, address, places)
    }
    assert dead == set()


def leads(link, address, places):
    """Whether there is a file, and on a page the place that ``link`` names."""
    target, place = urldefrag(link.split("?")[0] if "#" not in link else link)
    path = target.removeprefix(address) or "index.html"
    if not (SITE / path).is_file():
        return False
    return not place or target not in places or place in places[target]


def test_search_finds_gradient(tab, address):
    tab.goto(f"{address}search.html?q=gradient")
    link = tab.locator("#search-results a[href*='diffface.gradient.html']").first
    link.wait_for(timeout=10_000)
    link.click()
    assert "diffface.gradient.html" in tab.url
    assert tab.locator("h1").inner_text().startswith("gradient")
    assert tab.faults == []


def test_names_lead_to_other_projects(tab, address):
    tab.goto(f"{address}how-to/coming-from.html")
    found = set(hrefs(tab))
    for url in ("https://docs.jax.dev", "https://docs.pytorch.org", "https://docs.scipy.org"):
        assert any(link.startswith(url) for link in found), url


def test_a_code_block_is_copied_without_prompts(browser, address):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto(address)
    tab.locator("div.highlight").first.hover()
    tab.locator("button.copybtn").first.click()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("import numpy as np\nimport diffface as dif\n")
    assert ">>>" not in copied
    context.close()
