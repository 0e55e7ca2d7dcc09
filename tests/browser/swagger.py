"""Swagger UI in a real browser: it works without a network, and "Try it out" funds a wallet. `nox -s browser` runs it.

BILLVEND_SCREENSHOT is the path of the screenshot.
"""

import os
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.api.server import run_server

OFFLINE_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
"""Options of a browser that can reach only this machine."""


def test_try_it_out_funds_a_wallet(tmp_path: Path) -> None:
    with run_server(tmp_path) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["BILLVEND_CHROMIUM"], args=OFFLINE_OPTIONS
        )
        page = browser.new_page(viewport={"width": 1200, "height": 1500})
        requested_urls: list[str] = []
        console_errors: list[str] = []
        page.on("request", lambda request: requested_urls.append(request.url))
        page.on("console", lambda line: console_errors.append(line.text) if line.type == "error" else None)
        page.goto(f"{server.url}/api")
        fund(page)
        page.screenshot(path=os.environ.get("BILLVEND_SCREENSHOT", str(tmp_path / "swagger.png")))
        browser.close()
        status, document = server.request("GET", "/wallet/balance/user123")
        assert (status, document["data"]["balance"]) == (200, "500.00")
        assert all(each.startswith((server.url, "data:")) for each in requested_urls), requested_urls
    assert console_errors == []


def fund(page: Page) -> None:
    call = page.locator("#operations-wallet-billvend_fund_wallet_fund_post")
    call.click()
    call.get_by_role("button", name="Try it out").click()
    call.locator("textarea").fill('{"userId": "user123", "amount": "500.00", "currency": "NGN"}')
    call.get_by_role("button", name="Execute").click()
    answer = call.locator(".live-responses-table")
    answer.wait_for()
    assert "201" in answer.inner_text()
    assert '"balance": "500.00"' in answer.inner_text()
    answer.scroll_into_view_if_needed()
