"""The page in a real browser: no console error, and every picture is there with a size."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from irsl.report.page import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=2000",
)
# Only the test has a script: it writes the size of every picture, and what overflows the window, into the page.
MEASURE = """<pre id="sizes"></pre><script>
addEventListener("load", () => {
  const box = e => e.getBoundingClientRect();
  document.getElementById("sizes").textContent = JSON.stringify({
    pictures: [...document.querySelectorAll("main svg, main img")].map(e =>
      [e.getAttribute("class") || "", box(e).width, box(e).height, e.querySelectorAll("path, line, use").length]),
    page: document.documentElement.scrollWidth, window: innerWidth,
  });
});
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def opened(page, profile, width: int) -> tuple[dict, str]:
    """Measures of the page at a window's width, and what the browser logged."""
    measured = page.with_name(f"measured-{width}.html")
    measured.write_text(page.read_text().replace("</main>", f"</main>{MEASURE}"))
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},2000",
            "--dump-dom",
            measured.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="sizes">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), done.stderr


@pytest.mark.parametrize("width", [1300, 500])
@pytest.mark.parametrize("which", ["analysis", "analysis_without_laws"])
def test_page_opens_without_errors_and_with_all_pictures(which, width, request, tmp_path):
    page = write_report(request.getfixturevalue(which), tmp_path / "out")
    seen, log = opened(page, tmp_path / "profile", width)
    assert "CONSOLE" not in log
    expected = page.read_text().count("<svg")
    assert len(seen["pictures"]) == expected
    for kind, across, down, marks in seen["pictures"]:
        assert across > (50 if kind == "strip" else 250)
        assert down > (5 if kind == "strip" else 100)
        assert marks > 0
    assert seen["page"] <= seen["window"]
