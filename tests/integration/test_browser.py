"""An operator in the browser: opens the deployment, fills in the form, starts the run, sees it finish.

With BRAID_SCREENSHOTS=FOLDER, screenshots are kept there as PNG files, light and dark; docs/images/ is made this way.
"""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.server.schedule_file import FILE
from tests.support.operated import Operated, wait_for
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs Chromium: apt-get install chromium chromium-driver",
    ),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@pytest.fixture
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1440,1000"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def documents() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="manuals-") as folder:  # a name that can be seen in pictures
        yield Path(folder)


def test_an_ingestion_is_started_from_the_form_and_seen_to_finish(
    operated: Operated, browser: Any, documents: Path
) -> None:
    (documents / "reset.md").write_text("# Reset\n\nHold the button for ten seconds until the lamp blinks twice.\n")
    (documents / "battery.md").write_text("# Battery\n\nThe battery is charged in two hours; the lamp turns green.\n")
    (documents / "torn.pdf").write_bytes(b"%PDF-1.7\n")
    operated.deploy("ingest", schedules=FILE.read_text(encoding="utf-8"))
    ui = operated.server.url.removesuffix("/api")
    with operated.client() as client:
        deployment = client.read_deployment_by_name("ingest/ingest").id
    page = f"{ui}/deployments/deployment/{deployment}"
    browser.get(page)

    def schedules() -> None:
        browser.get(page)
        see(browser, "braid-nightly-folder", "braid-nightly-bucket")

    def form() -> None:
        browser.get(f"{page}/run")
        see(browser, "A folder, a file or an s3:// prefix with documents.")
        fill(browser, "Source", str(documents))
        fill(browser, "Index (Optional)", "manuals")

    pictured(browser, "deployment", schedules)
    pictured(browser, "form", form)
    with operated.client() as client:
        run = submitted(browser, client, deployment)
    browser.get(f"{ui}/runs/flow-run/{run}")
    ended = operated.wait(run)
    assert ended.state.is_completed(), operated.log()
    see(browser, f"ingest · manuals · {documents}", "PartialSuccess")
    if os.environ.get("BRAID_SCREENSHOTS"):
        time.sleep(8)  # the server hears of the last steps a little later

    def ended_run() -> None:
        browser.get(f"{ui}/runs/flow-run/{run}")
        see(browser, "PartialSuccess")
        if os.environ.get("BRAID_SCREENSHOTS"):
            time.sleep(4)  # the timeline is drawn on a canvas, after the page

    def artifacts() -> None:
        browser.get(f"{ui}/runs/flow-run/{run}")
        see(browser, "PartialSuccess")
        click(browser, "Artifacts")
        see(browser, "braid-run", "braid-plan", "braid-outcomes")
        browser.execute_script("document.querySelector('.artifact-card')?.scrollIntoView({block: 'center'})")

    pictured(browser, "run", ended_run)
    pictured(browser, "artifacts", artifacts)
    for key in PAGES:
        pictured(browser, f"page-{key}", lambda key=key: read_page(browser, operated, run, key))


PAGES = {
    "run": (
        "Succeeded in part",
        "3 documents: 2 new, 1 set aside",
        "Where the time went",
        "Errors and advice",
        "More:",
    ),
    "plan": ("The plan of this run",),
    "outcomes": ("Succeeded (", "generate_dense_embeddings", "Not needed"),
    "errors": ("1 item set aside by extract_text", "torn.pdf", "batch 1 of 1"),
    "timing": ("Critical path", "all calls waited for"),
}
"""The texts of the pages of the run, by key."""
DRAWN = ("run", "plan", "timing")
"""The pages that have a picture."""


def read_page(browser: Any, operated: Operated, run: Any, key: str) -> None:
    """Open a page of the run; it must have its texts, and its picture if it has one."""
    ui = operated.server.url.removesuffix("/api")
    browser.get(f"{ui}/artifacts/artifact/{artifact_of(operated, run, key)}")
    see(browser, *PAGES[key])
    if key in DRAWN:
        wait_for(lambda: is_drawn(browser) or None, lambda: f"the picture of {key} is not drawn")


def artifact_of(operated: Operated, run: Any, key: str) -> Any:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with operated.client() as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    return next(each.id for each in found if each.key == f"braid-{key}")


def is_drawn(browser: Any) -> bool:
    """Whether the page shows one of Braid's pictures, in its right width and within the window."""
    return browser.execute_script(
        "return [...document.querySelectorAll('img')].some(one => one.src.startsWith('data:image/svg+xml')"
        " && one.complete && one.naturalWidth >= 900 && one.getBoundingClientRect().right <= innerWidth)"
    )


def see(browser: Any, *texts: str) -> None:
    def look() -> bool | None:
        shown = page_text(browser).lower()
        return True if all(text.lower() in shown for text in texts) else None

    wait_for(look, lambda: f"{texts} not on the page:\n{page_text(browser)}", within_s=90)


def page_text(browser: Any) -> str:
    """The text of the page, read in one call, since the page can redraw at any time."""
    return browser.execute_script("return document.body ? document.body.innerText : ''")


def fill(browser: Any, label: str, text: str) -> None:
    from selenium.common.exceptions import WebDriverException

    def write() -> bool | None:
        try:
            field = browser.find_element(
                "xpath",
                f"//span[contains(@class, 'schema-form-property__label') and normalize-space()='{label}']"
                "/ancestor::div[contains(concat(@class, ' '), 'schema-form-property ')][1]"
                "//*[self::textarea or self::input]",
            )
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
            field.clear()
            field.send_keys(text)
            return True if field.get_property("value") == text else None
        except WebDriverException:  # drawn anew meanwhile
            return None

    wait_for(write, lambda: f"the field {label!r} does not take {text!r}:\n{page_text(browser)}", within_s=60)


def click(browser: Any, text: str) -> None:
    from selenium.common.exceptions import StaleElementReferenceException

    def press() -> bool | None:
        try:
            found = browser.find_elements("xpath", f"//*[normalize-space()='{text}']")
            for one in [one for one in found if one.is_displayed()][-1:]:  # the innermost
                browser.execute_script("arguments[0].click()", one)
                return True
        except StaleElementReferenceException:  # drawn anew meanwhile
            pass
        return None

    wait_for(press, lambda: f"nothing to click says {text!r}", within_s=60)


def submitted(browser: Any, client: Any, deployment: Any) -> Any:
    """The run that the form starts; the button is pressed again if the page was not ready."""
    form, pressed = browser.current_url, -math.inf

    def press() -> Any:
        nonlocal pressed
        if time.monotonic() - pressed > 15 and browser.current_url == form:
            click(browser, "Submit")
            pressed = time.monotonic()
        return newest_run(client, deployment)

    return wait_for(press, lambda: f"the form started no run:\n{page_text(browser)}")


def newest_run(client: Any, deployment: Any) -> Any:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.objects import StateType

    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    runs = client.read_flow_runs(deployment_filter=chosen)
    started = [run for run in runs if run.state is not None and run.state.type != StateType.CANCELLED]
    return started[0].id if started else None


RENAME = """
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(arguments[0], arguments[1]);
"""
"""Shows the folder of the project under a name that any project could have."""


def pictured(browser: Any, name: str, show: Callable[[], None]) -> None:
    """Go where `show` goes; with BRAID_SCREENSHOTS, save screenshots, light and dark."""
    folder = os.environ.get("BRAID_SCREENSHOTS")
    for scheme, end in (("dark", "-dark"), ("light", "")) if folder else (("", ""),):
        if folder:
            browser.execute_script("localStorage.setItem('color-scheme', JSON.stringify(arguments[0]))", scheme)
        show()
        if folder:
            time.sleep(2)  # the page draws itself in parts
            browser.execute_script(RENAME, str(ROOT), "/srv/braid")
            browser.save_screenshot(str(Path(folder) / f"{name}{end}.png"))
