"""A user on the page: searches, filters, reads explanations, opens a passage, asks, views the indexes; also by
keyboard.

With BRAID_SCREENSHOTS=FOLDER, screenshots are kept there as PNG files. BRAID_AXE names the file of another
axe-core than the installed one.
"""

import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import load_catalog
from deployments.runs import Request, run_pipeline
from deployments.settings import Settings
from tests.support.openai_server import OpenAIServer
from tests.support.paths import ROOT
from tests.support.served import Served, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs Chromium: apt-get install chromium chromium-driver",
    ),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
AXE = Path(os.environ.get("BRAID_AXE") or str(files("axe_core_python") / "axe.min.js"))
QUESTION = "Who sponsored the POSTGRES project?"
ANSWER = "It was sponsored by DARPA, the ARO, the NSF and ESL [1]. It began in 1986 [1, 2]."
WIDTHS = (1440, 1000, 390)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, _openai_server: OpenAIServer) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    source = folder / "documents"
    for name, audience in (("databases", "developers"), ("time", "operators"), ("broken", "operators")):
        shutil.copytree(ROOT / "examples" / "documents" / name, source / name)
        (source / name / ".tags.yaml").write_text(f"topic: [{name}]\naudience: [{audience}]\n")
    settings = Settings(home=folder / "home")
    catalog = load_catalog(settings)
    request = Request(catalog.find("ingest"), {"source": str(source)}, index="handbook", engine="inline")
    assert run_pipeline(request, settings=settings, catalog=catalog).status == "partial"
    environment = {
        "BRAID_EMBEDDING_MODEL": "",
        "BRAID_OPENAI_BASE_URL": _openai_server.base_url,
        "BRAID_OPENAI_API_KEY": _openai_server.api_key,
        "BRAID_CHAT_MODEL": "scripted",
    }
    with serve(folder / "home", environment=environment) as running:
        yield running


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    scheme = [{"name": "prefers-color-scheme", "value": request.param}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.scheme = request.param  # pyright: ignore[reportAttributeAccessIssue]
    resize(driver, WIDTHS[0])
    try:
        yield driver
    finally:
        driver.quit()


def test_a_person_finds_reads_and_asks(served: Served, browser: Any, openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: ANSWER
    browser.get(served.url)
    look(browser, "home")
    press(browser, "/")
    type_in(browser, QUESTION + "\n")
    see(browser, "passages")
    assert one(browser, "#q").get_attribute("value") == QUESTION
    assert "Defense" in one(browser, ".hit .passage").text
    assert one(browser, ".hit mark").text.startswith("POSTGRES")
    assert one(browser, ".hit .why svg").get_attribute("aria-label").startswith("meaning: rank")
    look(browser, "search")

    one(browser, ".side .chip").click()
    see(browser, "×")
    assert "tag=" in browser.current_url
    browser.back()

    press(browser, "/")
    press(browser, "DOWN", "DOWN", "UP")
    focused = browser.switch_to.active_element
    assert focused.get_attribute("class") == "open"
    press(browser, "ENTER")
    see(browser, "Original file")
    here = one(browser, ".piece.here")
    assert "sponsored" in here.text
    assert 0 < browser.execute_script("return arguments[0].getBoundingClientRect().top", here) < 900
    look(browser, "document")

    browser.get(f"{served.url}/ask?index=handbook&q={QUESTION}")
    see(browser, "Answered in")
    assert "1986" in one(browser, "#answer").text
    assert len(all_of(browser, "#sources .source")) == 2
    look(browser, "ask")
    one(browser, "#answer .cite").click()
    assert "lit" in one(browser, "#source-1").get_attribute("class")
    one(browser, "#source-1 a").click()
    see(browser, "Original file")
    assert one(browser, ".piece.here")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_person_sees_what_failed_and_why(served: Served, browser: Any) -> None:
    browser.get(f"{served.url}/indexes")
    see(browser, "handbook", "Latest runs", "partial")
    look(browser, "indexes")
    one(browser, ".card a").click()
    see(browser, "How fresh each source is", "is damaged", "Add documents")
    look(browser, "index")
    browser.get(f"{served.url}/indexes/handbook?status=failed")
    assert len(all_of(browser, "td .reason")) == 1
    browser.get(f"{served.url}/docs")
    look(browser, "reference")
    browser.get(f"{served.url}/indexes/handbook/documents/nothing")
    see(browser, "no document named")
    look(browser, "problem")


def test_an_upload_without_a_prefect_server_says_what_to_do(served: Served, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("The lamp blinks twice.")
    browser.get(f"{served.url}/indexes/handbook")
    one(browser, "#files").send_keys(str(file))
    see(browser, "no Prefect server is known")


def look(browser: Any, name: str) -> None:
    """The page fits every width and is accessible; with BRAID_SCREENSHOTS, it is kept as a picture."""
    for width in WIDTHS:
        resize(browser, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, f"{name} at {width}"
        browser.execute_script(AXE.read_text(encoding="utf-8"))
        found = browser.execute_async_script("const done = arguments[0]; axe.run().then(done)")
        serious = [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]
        assert not serious, f"{name} at {width}"
        if folder := os.environ.get("BRAID_SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / f"serve-{name}-{width}-{browser.scheme}.png"))
    resize(browser, WIDTHS[0])


def resize(browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def see(browser: Any, *texts: str) -> None:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    for text in texts:
        # While the next page arrives, the body of the last one is gone.
        WebDriverWait(browser, 30, ignored_exceptions=(StaleElementReferenceException,)).until(
            lambda page, text=text: text in one(page, "body").text, f"{text!r} is not seen"
        )


def one(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def all_of(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


def press(browser: Any, *names: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    for name in names:
        ActionChains(browser).send_keys(getattr(Keys, name, name)).perform()


def type_in(browser: Any, text: str) -> None:
    browser.switch_to.active_element.send_keys(text)
