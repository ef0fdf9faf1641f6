"""The page in a real browser, from what is installed: ``scripts/browser``.

Every test fails on a violation of the policy, an error of a script, or a request that leaves the origin.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: scripts/browser")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed: scripts/browser"
)

from clerk import TRICKS  # noqa: E402 - beside this file
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage  # noqa: E402

from convmemory import ConversationMemory, Draft, RetrievedContext  # noqa: E402
from convmemory.embedded import EmbeddedServers  # noqa: E402

HERE = Path(__file__).parent
SHOTS = os.environ.get("CONVMEMORY_TEST_SCREENSHOTS")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 375, "height": 720}
REPORT = """
addEventListener('securitypolicyviolation', event => console.error(`POLICY ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))
"""


def chromium():
    named = os.environ.get("CONVMEMORY_TEST_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The address of ``convmemory serve``, and a memory over the same servers."""
    directory = tmp_path_factory.mktemp("servers") / "data"
    command = [
        "convmemory",
        "serve",
        "--port",
        "0",
        "--json",
        "--runnable",
        "clerk:answer",
        "--embedded",
        str(directory),
        "--language",
        "english",
    ]
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    assert program, "convmemory is not installed here: scripts/browser"
    with subprocess.Popen([program, *command[1:]], cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = json.loads(process.stdout.readline())
            with (
                EmbeddedServers.start(directory) as servers,
                ConversationMemory.from_url(
                    servers.database_url, servers.redis_url, search="english"
                ) as memory,
            ):
                yield told, memory.for_user("me")
        finally:
            process.terminate()
            assert process.wait(60) == 0


@pytest.fixture(scope="session")
def browser():
    if chromium() is None:
        pytest.skip(
            "there is no Chromium here: apt-get install chromium, or CONVMEMORY_TEST_CHROMIUM names one"
        )
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(served, browser):
    """A function that opens the page, logged in; what must not happen is looked for in the end."""
    told, _ = served
    contexts, wrong = [], []

    def opened(path="", *, bypass=False, expected=None, **options):
        context = browser.new_context(**{"viewport": WIDE, "bypass_csp": bypass, **options})
        contexts.append(context)
        context.add_init_script(REPORT)
        page = context.new_page()
        page.on(
            "console",
            lambda said: said.type == "error" and not _is(expected, said.text) and wrong.append(said.text),
        )
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda request: _leaves(request.url, told) and wrong.append(f"left: {request.url}")
        )
        page.goto(told["page"])
        page.wait_for_selector("#list", state="attached")
        page.wait_for_url(f"{told['address']}/**")
        if path:
            page.goto(f"{told['address']}/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _is(expected, text):
    return expected is not None and (expected in text or "requires 'TrustedHTML'" in text)


def _leaves(url, told):
    return not url.startswith("data:") and urlsplit(url).netloc != urlsplit(told["address"]).netloc


def shot(page, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def say(page, text):
    page.fill("#words", text)
    page.press("#words", "Enter")
    page.wait_for_selector("#send:visible")


def settled(page, text):
    page.wait_for_selector(f"#rows article.ai[data-seq]:has-text({json.dumps(text)})")


@pytest.fixture(scope="session")
def rich(served):
    """A conversation that has everything in it."""
    _, mine = served
    made = mine.create_conversation(title="Everything there is")
    call = {"name": "find_order", "args": {"number": "1042"}, "id": "c1"}
    mine.save_messages(
        made,
        [
            HumanMessage("Where is my *order* 1042?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("a kettle, delivered on Monday", tool_call_id="c1", name="find_order"),
            Draft(
                AIMessage(
                    "It came on **Monday**.\n\n# Next\n\n1. one\n2. two\n\n| a | b |\n|---|--:|\n| x | 1 |\n\n```py\nx = 1\n```"
                ),
                tokens_used=31,
                latency_ms=840,
                contexts=[
                    RetrievedContext(
                        "Parcels take two days.", "parcels.md", 0.91, {"url": "https://docs.example/parcels"}
                    )
                ],
            ),
        ],
    )
    return made


@pytest.fixture(scope="session")
def long(served):
    """A conversation of 10,000 messages."""
    _, mine = served
    made = mine.create_conversation(title="Ten thousand")
    for first in range(1, 10_001, 1_000):
        kinds = (HumanMessage, AIMessage)
        mine.save_messages(
            made,
            [
                kinds[one % 2](f"message {one} " + "and more " * (one % 40))
                for one in range(first, first + 1_000)
            ],
        )
    return made


def test_a_conversation_from_its_first_word_to_its_deletion(open_page):
    page = open_page()
    page.click("#new")
    say(page, "Hello there")
    settled(page, "You asked 1 things: Hello there")
    assert page.locator("#rows em").inner_text() == "Hello there"
    assert page.locator("#list a[aria-current=page] .title").inner_text() == "Hello there"

    page.reload()
    page.wait_for_selector("#rows article")
    say(page, "And again")
    # the model sees the turn before: question, call, result, answer
    settled(page, "You asked 5 things: And again")
    assert page.locator("#rows article.human").count() == 2

    page.click("#rename")
    page.fill("#new-title", "Named <b>by</b> hand")
    page.press("#new-title", "Enter")
    page.wait_for_selector("#heading:has-text('Named <b>by</b> hand')")
    page.fill("#filter", "by</b>")
    assert page.locator("#list a").count() == 1
    page.fill("#filter", "no such title")
    assert page.locator("#list-note").inner_text() == "No title has that."
    page.fill("#filter", "")

    page.click("#delete")
    page.click("#delete-dialog button[value=no]")
    assert page.locator("#heading").inner_text() == "Named <b>by</b> hand"
    page.click("#delete")
    page.click("#delete-dialog button[value=yes]")
    page.wait_for_selector("#status:has-text('Deleted.')", state="attached")
    assert page.locator("#list a:has-text('Named')").count() == 0


def test_conversations_are_pinned_put_away_and_taken_back(open_page, served):
    _, mine = served
    for title in ("Keep in sight", "Put away"):
        mine.create_conversation(title=title, metadata={"of": "marks"})
    titles = "#list .title"
    page = open_page()
    page.click("#list a:has-text('Keep in sight')")
    page.wait_for_selector("#pin:has-text('Pin')")
    page.click("#pin")
    page.wait_for_selector("#pin:has-text('Unpin')")
    page.wait_for_selector("#list li:first-child .title:has-text('Pinned: Keep in sight') svg")

    page.click("#list a:has-text('Put away')")
    page.wait_for_selector("#heading:has-text('Put away')")
    page.click("#archive")
    page.wait_for_selector("#about:has-text('archived')")
    page.wait_for_selector("#list a:has-text('Put away')", state="detached")
    page.click("#archive-view")
    page.wait_for_selector("#archive-view[aria-pressed=true]")
    page.wait_for_selector("#list a:has-text('Put away')")
    assert page.locator(titles).all_inner_texts() == ["Put away"]
    shot(page, "archived")
    page.reload()
    page.click("#archive-view")
    page.click("#list a:has-text('Put away')")
    page.click("#archive:has-text('Unarchive')")
    page.wait_for_selector("#list-note:has-text('Nothing is archived.')")
    page.click("#archive-view")
    page.wait_for_selector("#list a:has-text('Put away')")
    assert "Keep in sight" in page.locator(titles).first.inner_text()
    shot(page, "pinned")
    page.click("#list a:has-text('Keep in sight')")
    page.click("#pin:has-text('Unpin')")
    page.wait_for_selector("#list .title svg", state="detached")
    for one in mine.list_user_conversations(metadata={"of": "marks"}):
        assert not one.pinned
        mine.delete_conversation(one)


def test_a_tab_that_was_left_open_shows_what_is_there_once_something_is_said(open_page, served):
    _, mine = served
    made = mine.create_conversation(title="Two tabs")
    mine.save_messages(made, [HumanMessage("one"), AIMessage("1"), HumanMessage("two"), AIMessage("2")])
    page = open_page(f"#/{made.uuid}")
    page.wait_for_selector("#rows article[data-seq='4']")
    mine.truncate(made, after=2)  # in another tab

    say(page, "three")
    settled(page, "three")
    page.wait_for_selector("#rows article[data-seq='4']", state="detached")
    assert page.locator("article.human .plain").all_inner_texts() == ["one", "three"]
    mine.delete_conversation(made)


def test_what_is_shown_of_a_message(open_page, rich):
    page = open_page(f"#/{rich.uuid}")
    page.wait_for_selector("#rows article")

    assert page.locator("article.human .plain").inner_text() == "Where is my *order* 1042?"
    assert page.locator("article.ai .rich strong").inner_text() == "Monday"
    assert page.locator("article.ai td.to-right").inner_text() == "1"
    assert page.locator("article footer").inner_text() == "31 tokens · 840 ms"
    assert not page.locator("article.tool pre").is_visible()
    page.click("article.tool summary")
    assert page.locator("article.tool pre").inner_text() == "a kettle, delivered on Monday"
    page.click(".sources summary")
    assert "parcels.md" in page.locator(".sources li").inner_text()
    assert "score 0.91" in page.locator(".sources li").inner_text()
    assert page.locator(".sources a").get_attribute("rel") == "noopener noreferrer nofollow"


def test_it_is_led_by_the_keyboard_alone(open_page, rich):
    page = open_page()
    page.wait_for_selector("#list a")
    page.keyboard.press("/")
    page.keyboard.type("everything")
    page.wait_for_function("document.querySelectorAll('#list a').length === 1")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab") if page.evaluate("document.activeElement.tagName") != "A" else None
    page.keyboard.press("Enter")
    page.wait_for_selector("#rows article")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "delete":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.value") == "no"  # the dialog asks, and No is at hand
    page.keyboard.press("Escape")
    page.wait_for_selector("#delete-dialog", state="hidden")
    assert page.evaluate("document.activeElement.id") == "delete"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "messages"


def test_tricks_do_nothing_while_they_come_nor_when_they_are_stored(open_page, served):
    _, mine = served
    page = open_page()
    page.click("#new")
    say(page, "tricks")
    settled(page, "A heading")
    page.click("#rows .sources summary")
    made = mine.create_conversation(title=TRICKS[:400])
    mine.save_messages(
        made,
        [
            HumanMessage(TRICKS),
            AIMessage(
                TRICKS,
                tool_calls=[
                    {"name": "<img src=x onerror=window.hacked=1>", "args": {"x": TRICKS}, "id": "c"}
                ],
            ),
            ToolMessage(TRICKS, tool_call_id="c", name="<svg onload=window.hacked=1>"),
            Draft(
                AIMessage(TRICKS),
                contexts=[
                    RetrievedContext(TRICKS, TRICKS[:200], 1.0, {"url": 'https://x.example/"onclick=1'})
                ],
            ),
        ],
    )
    page.reload()
    page.click("#list a:has-text('A heading')")
    page.wait_for_selector("#rows article.tool")
    for summary in page.locator("#rows summary").all():
        summary.click()
    page.click("#delete")
    page.wait_for_timeout(300)
    shot(page, "tricks")
    page.click("#delete-dialog button[value=no]")

    page.fill("#filter", "heading")
    page.wait_for_selector("#hits mark")
    assert page.locator("#hits img, #hits script, #hits svg").count() == 0

    assert page.evaluate("window.hacked") is None
    assert (
        page.locator(
            "#rows img, #rows script, #rows iframe, #rows svg, #rows style, #rows form, #rows button"
        ).count()
        == 0
    )
    assert set(page.eval_on_selector_all("#rows a", "all => all.map(one => one.protocol)")) == {"https:"}
    assert "https://elsewhere.example/spy.png" in page.locator("#rows .picture code").first.inner_text()


def test_the_policy_is_there(open_page):
    page = open_page(expected="POLICY require-trusted-types-for")

    refused = page.evaluate(
        "() => { try { document.createElement('p').innerHTML = '<b>x</b>'; return 'taken' } catch (e) { return e.name } }"
    )
    assert refused == "TypeError"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_nobody_is_shut_out(open_page, rich, scheme, size):
    page = open_page(bypass=True, color_scheme=scheme, viewport=size)
    page.wait_for_selector("#list a")
    name = f"{scheme}-{'phone' if size is PHONE else 'wide'}"
    shot(page, f"{name}-list")
    found = [("the list", axe.Axe().run(page))]
    page.click("#list a:has-text('Everything there is')")
    page.wait_for_selector("#rows article")
    for summary in page.locator("#rows summary").all():
        summary.click()
    shot(page, f"{name}-conversation")
    found.append(("a conversation", axe.Axe().run(page)))
    page.click("#delete")
    found.append(("a dialog", axe.Axe().run(page)))
    shot(page, f"{name}-dialog")

    assert [(where, one.generate_report()) for where, one in found if one.violations_count] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_login_shuts_nobody_out_and_says_what_is_wrong(browser, served):
    told, _ = served
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(told["address"])
    page.wait_for_url("**/login")
    assert axe.Axe().run(page).violations_count == 0
    page.fill("#token", "wrong")
    page.press("#token", "Enter")
    page.wait_for_selector("#said:has-text('This is not the token.')")
    page.fill("#token", told["token"])
    page.press("#token", "Enter")
    page.wait_for_url(f"{told['address']}/")
    context.close()


def seqs(page):
    return page.eval_on_selector_all("#rows [data-seq]", "all => all.map(one => Number(one.dataset.seq))")


def test_ten_thousand_messages_are_a_window_at_a_time(open_page, long):
    page = open_page(f"#/{long.uuid}")
    page.wait_for_selector("#rows article[data-seq='10000']")
    assert page.locator("#earlier").is_visible()
    for _ in range(8):
        before = seqs(page)[0]
        page.evaluate("document.getElementById('messages').scrollTop = 300")
        moved = "first => Number(document.querySelector('#rows [data-seq]').dataset.seq) < first"
        page.wait_for_function(moved, arg=before)
        # what was read stays where it was
        assert page.evaluate("document.getElementById('messages').scrollTop") > 300
        found = seqs(page)
        assert found == list(range(found[0], found[0] + len(found)))
        assert len(found) <= 200
    assert seqs(page)[-1] < 10_000
    assert page.locator("#newest").is_visible()
    for _ in range(3):
        page.evaluate(
            "document.getElementById('messages').scrollTop = document.getElementById('messages').scrollHeight"
        )
        page.wait_for_timeout(300)
        found = seqs(page)
        assert found == list(range(found[0], found[0] + len(found)))
        assert len(found) <= 200
    page.click("#newest")
    page.wait_for_selector("#rows article[data-seq='10000']")
    page.wait_for_selector("#newest", state="hidden")


def test_a_message_is_found_by_its_words_and_shown_where_it_stands(open_page, long):
    page = open_page()
    page.fill("#filter", "message 4711")
    page.wait_for_selector("#hits a")
    assert page.locator("#hits mark").all_inner_texts() == ["message", "4711"]
    page.press("#filter", "Tab")
    page.click("#hits a")
    page.wait_for_selector("article.found[data-seq='4711']")
    assert page.evaluate("document.querySelector('.found').getBoundingClientRect().top") > 0
    found = seqs(page)
    assert found == list(range(found[0], found[0] + len(found)))
    shot(page, "found")
    page.fill("#filter", "message 4712")
    page.wait_for_selector("#hits a:has-text('4712')")
    page.click("#hits a")
    page.wait_for_selector("article.found[data-seq='4712']")
    page.fill("#filter", "")
    page.wait_for_selector("#hits-box", state="hidden")


def test_an_answer_goes_on_while_the_page_is_away_and_can_be_stopped(open_page):
    page = open_page()
    page.click("#new")
    page.fill("#words", "slowly")
    page.press("#words", "Enter")
    page.wait_for_selector("#rows .coming:has-text('word3')")
    page.reload()
    page.wait_for_selector("#rows .coming:has-text('word9')")
    page.click("#stop")
    page.wait_for_selector("#rows article.ai[data-seq]:has-text('Broken off here.')")
    assert page.locator("#rows .coming").count() == 0
    assert "word40" not in page.locator("#rows").inner_text()
    assert page.locator("#rows article.human").count() == 1


def test_on_a_phone_it_is_the_list_or_the_conversation(open_page, rich):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.tap("#list a:has-text('Everything there is')")
    page.wait_for_selector("#rows article")
    assert not page.locator("#list").is_visible()
    assert page.locator("#words").is_visible()
    page.tap(".back")
    page.wait_for_selector("#list a")
    assert not page.locator("#messages").is_visible()


def test_light_and_dark_are_the_readers_to_choose(open_page):
    page = open_page(color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    dark = page.evaluate(colour)
    page.reload()

    assert page.evaluate(colour) == dark != light
