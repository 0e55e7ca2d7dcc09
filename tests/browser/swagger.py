"""Swagger UI in a real browser: drawn without any network, and "Try it out" funds a wallet. `nox -s browser` runs it.

The picture of it goes where BILLVEND_SCREENSHOT says.
"""

import os
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.api.server import run_server

ALONE = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
"""A browser that reaches this machine and nothing else."""


def test_try_it_out_funds_a_wallet(tmp_path: Path) -> None:
    with run_server(tmp_path) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["BILLVEND_CHROMIUM"], args=ALONE)
        page = browser.new_page(viewport={"width": 1200, "height": 1500})
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{server.url}/api")
        fund(page)
        page.screenshot(path=os.environ.get("BILLVEND_SCREENSHOT", str(tmp_path / "swagger.png")))
        browser.close()
        status, document = server.request("GET", "/wallet/balance/user123")
        assert (status, document["data"]["balance"]) == (200, "500.00")
        assert all(each.startswith((server.url, "data:")) for each in asked), asked
    assert complaints == []


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
