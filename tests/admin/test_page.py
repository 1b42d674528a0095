"""The admin page in a real browser, in front of a real proxy: what an operator does, sees and hears."""

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from openai import AuthenticationError
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from redis.asyncio import Redis
from sanic import Sanic

from proxy.credentials import fingerprint
from proxy.store.keyspace import KeySpace
from tests.support.browser import Complaints, needs_chromium, open_page, open_visitor, settled, sign_in
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, echo, failure, text
from tests.support.serving import KEYS, TOKEN, http, sdk
from tests.support.waiting import wait_until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

ADMIN = "operators-secret"
CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}]}
VIEWS = ("overview", "usage", "trail", "clients", "events", "try")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="visitor")
async def _visitor(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One for all tests that need none of their own: a process that has drawn the page draws it again at half the cost.

    What a page keeps belongs to its origin, and each test's proxy has a port of its own.
    """
    async with open_visitor(browser, viewport={"width": 1280, "height": 900}) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="module")
async def page(visitor: BrowserContext, proxy: str) -> AsyncIterator[Page]:
    """An operator's page, signed in, on a wide screen; fails the test when the browser complains of anything."""
    complaints = Complaints()
    opened = await visitor.new_page()
    complaints.watch(opened)
    await sign_in(opened, ADMIN, base_url=proxy)
    yield opened
    await opened.close()
    assert complaints.texts == []


async def choose(row: Locator, action: str) -> None:
    """Opens a row's menu and clicks what is in it."""
    await row.get_by_role("button", name="More actions").click()
    await row.get_by_role("button", name=action).click()


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
    await choose(row, "Retire")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row.locator(".badge")).to_have_text("cooling")
    await choose(row, "Retire")
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
        await choose(row, "Disable")
        await expect(row.locator(".badge")).to_have_text("disabled")
        await choose(row, "Revoke")
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
    await page.goto(f"{proxy}/admin#/clients")
    await page.get_by_role("button", name="New client").first.click()
    await page.get_by_label("Name").fill("rolf")
    await page.keyboard.press("Enter")
    old = await page.get_by_label("Token", exact=True).input_value()
    await page.keyboard.press("Escape")
    await choose(page.locator("tr", has_text="rolf"), "Rotate rolf")
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


#: Width and height of a phone, a tablet, and two screens.
SIZES: Final = ((390, 844), (820, 1180), (1100, 800), (1440, 900))


async def faults_by_size(page: Page) -> dict[tuple[int, int], list[str]]:
    """What ``FAULTS`` finds at each size, where it finds anything."""
    found = {}
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        if faults := await settled(page, FAULTS):
            found[width, height] = faults
    return found


async def test_every_view_is_labelled_and_fits_the_screen(page: Page, proxy: str) -> None:
    """A form too, on every size of screen."""
    await page.goto(f"{proxy}/admin#/clients")
    await page.get_by_role("button", name="New client").first.click()
    found = {"form": await faults_by_size(page)}
    await page.get_by_label("Name").fill("a-client-with-quite-a-long-name-indeed")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="I have it").click()
    async with http(proxy) as raw:
        await raw.post("/v1/chat/completions", json=CHAT)
    for view in VIEWS:
        await page.goto(f"{proxy}/admin#/{view}")
        await expect(page.locator(f"nav a[data-view={view}]")).to_have_attribute("aria-current", "page")
        await expect(page.locator("main .empty:visible", has_text="Loading")).to_have_count(0)
        found[view] = await faults_by_size(page)

    assert found == {view: {} for view in ("form", *VIEWS)}


async def test_the_keyboard_alone_goes_everywhere(page: Page, proxy: str) -> None:
    await page.goto(f"{proxy}/admin#/overview")
    await page.reload()
    await expect(page.locator(".keys tbody tr").first).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.get_by_role("link", name="Events").focus()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="Events")).to_be_focused()


async def test_a_menu_is_worked_by_keys_alone(page: Page) -> None:
    """It opens on Enter, goes away on Escape and hands the focus back."""
    row = page.locator(f"tr[data-key='{fingerprint(KEYS[0])}']")
    opener = row.get_by_role("button", name="More actions")
    await opener.focus()
    await page.keyboard.press("Enter")

    await expect(row.get_by_role("button", name="Probe")).to_be_focused()
    await expect(opener).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Tab")
    await expect(row.get_by_role("button", name="Retire")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row.get_by_role("button", name="Retire")).to_be_hidden()
    await expect(opener).to_be_focused()


async def test_a_menu_of_a_table_that_is_drawn_anew_stays_open(page: Page, proxy: str) -> None:
    """The clients' table is, whenever a number in it changes."""
    await page.goto(f"{proxy}/admin#/clients")
    await page.get_by_role("button", name="New client").first.click()
    await page.get_by_label("Name").fill("nora")
    await page.keyboard.press("Enter")
    token = await page.get_by_label("Token", exact=True).input_value()
    await page.keyboard.press("Escape")
    row = page.locator("tr", has_text="nora")
    await row.get_by_role("button", name="More actions").click()
    async with sdk(proxy, token) as client:
        await client.chat.completions.create(**CHAT)
    await page.wait_for_timeout(2500)  # longer than the page waits before it looks again

    await expect(row.get_by_role("button", name="Revoke")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(row.locator("td").nth(3)).to_contain_text("1")


async def test_failed_shows_no_request_that_was_answered(page: Page, redis_url: str, namespace: str) -> None:
    """Ids are unique within a stream, and failed requests have one of their own: the same id may be in both."""
    async with Redis.from_url(redis_url) as redis:
        for stream, names in (("trail", ("good", "bad")), ("failures", ("bad",))):
            for number, name in enumerate(names):
                facts: dict[Any, Any] = {
                    "request_id": f"req-{name}",
                    "client": name,
                    "model": "Echo",
                    "stream": "false",
                }
                facts |= {"status": 200 if name == "good" else 502, "why": "{}"}
                facts |= {"outcome": "answered" if name == "good" else "upstream_error", "duration_ms": 5}
                facts |= {"prompt_tokens": 1, "completion_tokens": 1, "reasoning_tokens": 0}
                await redis.xadd(f"{KeySpace(namespace).prefix}{stream}", facts, id=f"17000000000{number:02}-0")
    await page.get_by_role("link", name="Requests").click()
    clients = page.locator(".trail .t-client")
    await expect(clients).to_have_text(["bad", "good"])

    await page.get_by_role("button", name="Failed").click()
    await expect(clients).to_have_text(["bad"])
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(clients).to_have_text(["bad", "good"])


async def test_what_callers_brought_about_is_no_failure(page: Page, proxy: str, poe: ScriptedPoe) -> None:
    """Of the key, and of the hour: wrong names, wrong requests, refusals of Poe; apart from one that is."""
    poe.script = lambda asked: failure(500) if asked.path == "/bot/Broken" else failure(404)
    async with http(proxy) as raw:
        for _ in range(4):
            await raw.post("/v1/chat/completions", json=CHAT)
        await raw.post("/v1/chat/completions", json={**CHAT, "n": 99})
        await raw.post("/v1/chat/completions", json={**CHAT, "model": "Broken"})
    tile = page.locator(".tile-errors")

    await expect(tile.locator(".value")).to_have_text("1")
    await expect(tile.locator(".note")).to_contain_text("5 refused")
    refused = page.locator(".keys tr[data-key] .refused:not(:empty)")
    await expect(refused).to_have_text(["2 refused", "2 refused"])
    await page.get_by_role("link", name="Usage").click()
    await expect(page.locator("tr[data-name=tester] td")).to_have_text(["6", "1 · 17%", "5"] + [re.compile(".*")] * 5)
    await page.get_by_role("link", name="Requests").click()
    await expect(page.locator(".trail .badge.retired")).to_have_count(1)
    await expect(page.locator(".trail .badge.neutral")).to_have_count(5)


async def test_a_key_that_poe_refused_tells_when_it_is_looked_at_again(
    page: Page, proxy: str, poe: ScriptedPoe
) -> None:
    """Its time runs down; one that an operator retired waits for the operator."""
    poe.balances = {KEYS[0]: 5}
    poe.script = lambda asked: failure(401) if asked.key == KEYS[1] else echo(asked)
    async with http(proxy) as raw:
        for _ in KEYS:
            await raw.post("/v1/chat/completions", json=CHAT)
    refused, well = (page.locator(f"tr[data-key='{fingerprint(key)}']") for key in (KEYS[1], KEYS[0]))
    await expect(refused.locator(".badge")).to_have_text("retired")
    await expect(refused.locator(".why").first).to_have_text("key refused by Poe")
    await expect(refused.locator(".clock")).to_have_text(re.compile(r"looked at again in (20|1?\d) s"))
    seen = await refused.locator(".clock").inner_text()
    await expect(refused.locator(".clock")).not_to_have_text(seen)

    await choose(well, "Retire")
    await page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    await expect(well.locator(".clock")).to_have_text("until restored")


async def test_a_view_that_does_not_exist_is_the_overview(page: Page, proxy: str) -> None:
    """Names among them that every object of JavaScript has."""
    for name in ("constructor", "toString", "__proto__", "hasOwnProperty", "Overview", "x/y", "%"):
        await page.goto(f"{proxy}/admin#/{name}")
        await page.reload()

        await expect(page.locator("nav a[data-view=overview]"), name).to_have_attribute("aria-current", "page")
        await expect(page.locator(".keys tbody tr"), name).to_have_count(2)


async def test_a_language_that_does_not_exist_is_english(page: Page) -> None:
    await page.evaluate("localStorage.setItem('poe-proxy-language', 'constructor')")
    await page.reload()

    await expect(page.get_by_role("link", name="Overview")).to_be_visible()


async def test_only_what_the_viewer_did_is_shown_over_the_page(page: Page, proxy: str, poe: ScriptedPoe) -> None:
    """A key that cools by itself is told to screen readers; nothing lies over the buttons."""
    poe.script = lambda asked: failure(429, retry_after="50") if len(poe.queries) == 1 else echo(asked)
    async with http(proxy) as raw:
        await raw.post("/v1/chat/completions", json=CHAT)
    await expect(page.locator("#announcer")).to_contain_text("is now cooling")

    assert await page.locator(".toast").count() == 0
    await page.locator("tr[data-state=cooling]").get_by_role("button", name="Restore").click()
    await expect(page.locator(".toast")).to_contain_text("is now ready")
