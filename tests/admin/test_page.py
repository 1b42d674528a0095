"""The admin page in a real browser, in front of a real proxy: what an operator does, sees and hears."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from openai import AuthenticationError
from playwright.async_api import Browser, Page, expect
from sanic import Sanic

from proxy.settings import fingerprint
from tests.support.browser import Complaints, needs_chromium, open_page, sign_in
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, echo, failure, text
from tests.support.serving import KEYS, TOKEN, http, sdk
from tests.support.waiting import wait_until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

ADMIN = "operators-secret"
CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}]}
VIEWS = ("overview", "usage", "trail", "clients", "events", "try")


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, proxy: str) -> AsyncIterator[Page]:
    """An operator's page, signed in, on a wide screen; fails the test when the browser complains of anything."""
    complaints = Complaints()
    async with open_page(browser, proxy, viewport={"width": 1280, "height": 900}) as opened:
        complaints.watch(opened)
        await sign_in(opened, ADMIN)
        yield opened
    assert complaints.texts == []


async def test_a_wrong_token_is_refused_and_the_right_one_opens_the_page(browser: Browser, proxy: str) -> None:
    async with open_page(browser, proxy) as page:
        await page.goto("/admin")
        await page.get_by_label("Admin token").fill("a-guess")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("This is not an admin token.")
        await expect(page.get_by_label("Admin token")).to_be_focused()

        await page.get_by_label("Admin token").fill(ADMIN)
        await page.keyboard.press("Enter")
        await expect(page.locator(".status")).to_have_text("Live")
        await page.reload()
        await expect(page.locator(".status")).to_have_text("Live")

        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Admin token")).to_be_visible()
        assert await page.evaluate("JSON.stringify([sessionStorage, localStorage, document.cookie])") != ""
        assert ADMIN not in await page.evaluate("JSON.stringify([sessionStorage, localStorage, document.cookie])")


async def test_a_key_cools_its_clock_runs_down_and_the_operator_restores_it(
    page: Page, proxy: str, poe: ScriptedPoe
) -> None:
    limited = {key: fingerprint(key) for key in KEYS}
    poe.script = lambda asked: failure(429, retry_after="50") if len(poe.queries) == 1 else echo(asked)
    async with http(proxy) as raw:
        assert (await raw.post("/v1/chat/completions", json=CHAT)).status_code == 200
    row = page.locator(f"tr[data-key='{limited[poe.queries[0].key]}']")

    await expect(row.locator(".badge")).to_have_text("cooling")
    await expect(row.locator(".why")).to_have_text("rate limited")
    seen = await row.locator(".clock").inner_text()
    await expect(row.locator(".clock")).not_to_have_text(seen)
    assert 30 < int((await row.locator(".clock").inner_text()).split()[0]) < int(seen.split()[0])
    await row.get_by_role("button", name="Restore").click()
    await expect(row.locator(".badge")).to_have_text("ready")
    await expect(row.get_by_role("button", name="Cool")).to_be_focused()
    await expect(page.locator("#announcer")).to_contain_text("is now ready")


async def test_the_operator_cools_and_retires_a_key(page: Page, poe: ScriptedPoe) -> None:
    row = page.locator(f"tr[data-key='{fingerprint(KEYS[0])}']")
    await row.get_by_role("button", name="Cool").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="1 hour").click()
    await page.keyboard.press("Enter")

    await expect(row.locator(".clock")).to_have_text("59:59")
    await row.get_by_role("button", name="Retire").click()
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row.locator(".badge")).to_have_text("cooling")
    await row.get_by_role("button", name="Retire").click()
    await dialog.get_by_role("button", name="Retire").click()
    await expect(row.locator(".badge")).to_have_text("retired")
    assert poe.queries == []


async def test_a_client_from_its_making_to_its_end(page: Page, proxy: str) -> None:
    await page.get_by_role("link", name="Clients").click()
    await page.get_by_role("button", name="New client").first.click()
    await page.get_by_label("Name").fill("dora")
    await page.get_by_label("Requests a day").fill("100")
    await page.get_by_role("button", name="Create").click()
    token = await page.get_by_label("Token", exact=True).input_value()
    await page.get_by_role("button", name="I have it").click()
    row = page.locator("tr", has_text="dora")
    await expect(row).to_contain_text("0 / 100")

    async with sdk(proxy, token) as client:
        for _ in range(3):
            await client.chat.completions.create(**CHAT)
        await expect(row).to_contain_text("3 / 100")
        await page.get_by_role("link", name="Usage").click()
        await expect(page.locator("tr[data-name=dora] td").first).to_have_text("3")

        await page.get_by_role("link", name="Clients").click()
        await row.get_by_role("button", name="Change").click()
        await page.get_by_label("Tokens a day").fill("5000")
        await page.get_by_role("button", name="Save").click()
        await expect(row).to_contain_text("/ 5,000")
        await row.get_by_role("button", name="Disable").click()
        await expect(row.locator(".badge")).to_have_text("disabled")
        await row.get_by_role("button", name="Revoke").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(row).to_have_count(0)

        async def refused() -> bool:
            try:
                await client.chat.completions.create(**CHAT)
            except AuthenticationError:
                return True
            return False

        await wait_until(refused, "the token is refused")


async def test_a_rotated_token_takes_the_place_of_the_old_one(page: Page, proxy: str) -> None:
    await page.goto("/admin#/clients")
    await page.get_by_role("button", name="New client").first.click()
    await page.get_by_label("Name").fill("rolf")
    await page.keyboard.press("Enter")
    old = await page.get_by_label("Token", exact=True).input_value()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Rotate rolf").click()
    await page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    new = await page.get_by_label("Token", exact=True).input_value()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("Copied.")

    assert new != old
    assert await page.evaluate("navigator.clipboard.readText()") == new
    async with sdk(proxy, new) as client:
        await client.chat.completions.create(**CHAT)


async def test_the_trail_unfolds_why_a_request_got_which_key(page: Page, proxy: str, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: failure(429, retry_after="50") if len(poe.queries) == 1 else echo(asked)
    async with http(proxy) as raw:
        await raw.post("/v1/chat/completions", json=CHAT)
        await raw.post("/v1/chat/completions", json={**CHAT, "model": "<img src=x onerror=alert(1)>"})
    await page.get_by_role("link", name="Requests").click()

    await expect(page.locator(".trail li")).to_have_count(2)
    row = page.locator(".trail li", has_text="Echo")
    await row.locator("summary").click()
    steps = row.locator(".step")
    await expect(steps).to_have_count(2)
    await expect(steps.nth(0)).to_contain_text(fingerprint(poe.queries[0].key))
    await expect(steps.nth(0)).to_contain_text("rate limited")
    await expect(steps.nth(1)).to_contain_text("answered")
    assert await page.locator(".trail img").count() == 0


def thinking(_: Asked) -> Reply:
    """Streams an answer in pieces."""
    return Reply([META, text("Bonjour, "), text("hello, "), text("你好."), DONE])


async def test_the_try_it_box_streams_a_chat_through_the_proxy(page: Page, poe: ScriptedPoe) -> None:
    poe.script = thinking
    await page.get_by_role("link", name="Try it").click()
    await page.get_by_label("Client token").fill(TOKEN)
    await page.get_by_label("Model").fill("Echo")
    await page.get_by_role("button", name="Send").click()

    await expect(page.get_by_role("group", name="Answer")).to_have_text("Bonjour, hello, 你好.")
    await expect(page.locator(".figures")).to_contain_text(f"key {fingerprint(poe.queries[0].key)}")
    await expect(page.locator(".figures")).to_contain_text("HTTP 200")


async def test_the_charts_show_the_hour_the_day_and_the_month(page: Page, proxy: str) -> None:
    async with http(proxy) as raw:
        for _ in range(3):
            await raw.post("/v1/chat/completions", json=CHAT)
    requests = page.locator("[data-chart=requests]")

    await expect(requests.locator(".readout")).to_have_text("3")
    for name in ("Day", "Month"):
        await page.get_by_role("button", name=name, exact=True).click()
        await expect(requests.get_by_role("img")).to_have_attribute("aria-label", f"Requests, {name}: 3")
    assert await page.locator(".plot canvas").count() == 4


async def test_a_lost_connection_is_told_and_mended(page: Page) -> None:
    worker = Sanic.get_app("poe-proxy").ctx.worker
    await expect(page.locator(".status")).to_have_text("Live")
    worker.drain.begun = True
    await expect(page.get_by_role("alert")).to_contain_text("The connection is lost")
    worker.drain.begun = False
    await page.get_by_role("button", name="Try now").click()

    await expect(page.locator(".status")).to_have_text("Live")
    await expect(page.locator(".banner")).to_be_hidden()


async def test_it_speaks_chinese_and_remembers_the_choice(page: Page) -> None:
    await page.get_by_role("button", name="中文").click()
    await expect(page.get_by_role("button", name="English")).to_be_focused()
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await page.reload()

    await expect(page.get_by_role("link", name="总览")).to_have_attribute("aria-current", "page")
    await expect(page.locator(".keys tbody .badge").first).to_have_text("可用")


async def test_a_browser_that_prefers_chinese_gets_it(browser: Browser, proxy: str) -> None:
    async with open_page(browser, proxy, locale="zh-TW") as page:
        await page.goto("/admin")

        await expect(page.get_by_role("heading", name="登录")).to_be_visible()


async def test_the_theme_follows_the_system_until_one_is_chosen(browser: Browser, proxy: str) -> None:
    async with open_page(browser, proxy, color_scheme="dark") as page:
        await page.goto("/admin")
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.get_by_role("button", name="Theme: as the system").click()
        light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.reload()

        assert (dark, light) == ("rgb(14, 17, 22)", "rgb(245, 246, 248)")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == light


#: Finds what a screen reader, or a finger, would stumble over.
FAULTS = """() => {
  const named = (el) => el.getAttribute("aria-label") || el.getAttribute("aria-labelledby") || el.labels?.length
    || (el.matches("button, a, summary") && el.textContent.trim());
  const shown = (el) => el.checkVisibility();
  const faults = [];
  for (const el of document.querySelectorAll("input, select, textarea, button, a, summary, nav, table"))
    if (shown(el) && !named(el) && !el.querySelector("caption")) faults.push(`no name: ${el.outerHTML.slice(0, 90)}`);
  for (const el of document.querySelectorAll("img:not([alt])")) faults.push(`no alt: ${el.outerHTML}`);
  for (const el of document.querySelectorAll("th:not([scope])")) faults.push(`no scope: ${el.outerHTML}`);
  const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`twice: #${id}`);
  for (const name of ["aria-labelledby", "aria-describedby"])
    for (const el of document.querySelectorAll(`[${name}]`))
      for (const id of el.getAttribute(name).split(/ +/)) if (!ids.includes(id)) faults.push(`nothing is #${id}`);
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  for (const name of ["header.top", "nav", "main"])
    if (document.querySelectorAll(name).length !== 1) faults.push(`not one ${name}`);
  const width = document.documentElement.scrollWidth;
  if (width > innerWidth) faults.push(`wider than the screen: ${width}`);
  return faults;
}"""


@pytest.mark.parametrize("size", [(390, 844), (820, 1180), (1100, 800), (1440, 900)])
async def test_every_view_is_labelled_and_fits_the_screen(browser: Browser, proxy: str, size: tuple[int, int]) -> None:
    async with open_page(browser, proxy, viewport={"width": size[0], "height": size[1]}) as page:
        await sign_in(page, ADMIN)
        await page.goto("/admin#/clients")
        await page.get_by_role("button", name="New client").first.click()
        assert await page.evaluate(FAULTS) == []
        await page.get_by_label("Name").fill("a-client-with-quite-a-long-name-indeed")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="I have it").click()
        async with http(proxy) as raw:
            await raw.post("/v1/chat/completions", json=CHAT)
        found = {}
        for view in VIEWS:
            await page.goto(f"/admin#/{view}")
            await expect(page.locator(f"nav a[data-view={view}]")).to_have_attribute("aria-current", "page")
            await expect(page.locator("main .empty:visible", has_text="Loading")).to_have_count(0)
            found[view] = await page.evaluate(FAULTS)

    assert found == {view: [] for view in VIEWS}


async def test_the_keyboard_alone_goes_everywhere(page: Page) -> None:
    await page.goto("/admin#/overview")
    await page.reload()
    await expect(page.locator(".keys tbody tr").first).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.get_by_role("link", name="Events").focus()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="Events")).to_be_focused()
