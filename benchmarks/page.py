"""The controller's page in a headless Chromium at several sizes: how soon it is usable, how late it shows a tick.

    PYTHONPATH=. python benchmarks/page.py                     # 3, 100 and 1,000 hosts
    PYTHONPATH=. python benchmarks/page.py --hosts 1000 --ticks 4 --pictures out

Interactive is when racks, hosts, tiles and the mode are on the screen and answer; an update counts from the time of
its event until the page has drawn it. Console messages and what axe finds are listed. How long the main thread
was at work is what a busy machine changes least. Debian: apt-get install chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from benchmarks.api import Controller

SHAPES = {3: (1, 3, 30), 100: (5, 20, 1_000), 1_000: (50, 20, 10_000)}  # racks, hosts in each, VMs
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
VIEWS = {
    "light": {"viewport": {"width": 1400, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1400, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
}
UPDATES = """() => performance.getEntriesByName('foreshade-update').filter(e => e.detail.kind === 'tick').map(e => [
    performance.timeOrigin + e.startTime + e.duration - Date.parse(e.detail.time), e.duration])"""


def site(folder: Path, hosts: int) -> tuple[Path, int]:
    """A scenario of so many hosts, and how many VMs are on it."""
    racks, count, vms = SHAPES[hosts]
    said = {
        "name": f"page-{hosts}",
        "workload": f"generated:enterprise?vms={vms}&days=1",
        "start": "2024-01-01T00:00:00Z",
        "days": 1,
        "overcommit": {"cpu": 4, "memory": 1.1},
        "fleet": [
            {"zone": "a", "racks": racks, "hosts": [{"server": "hpe-dl345-gen10plus", "count": count}]}
        ],
    }
    path = folder / f"page-{hosts}.yaml"
    path.write_text(json.dumps(said))  # JSON is YAML
    return path, vms


def until(page, what: str, patience_s: float = 120.0) -> None:
    """Asked from outside: the page's policy lets nothing be evaluated within."""
    end = time.monotonic() + patience_s
    while not page.evaluate(what):
        if time.monotonic() > end:
            raise SystemExit(f"never: {what}: {page.inner_text('#live')}")
        time.sleep(0.05)


def measure(browser, controller: Controller, ticks: int, pictures: Path | None, hosts: int) -> dict:
    """One size in every view."""
    controller.wait_ticks(2)
    found: dict = {"hosts": hosts}
    for name, view in VIEWS.items():
        context = browser.new_context(**view)
        page = context.new_page()
        page.set_default_timeout(120_000)
        said: list[str] = []
        page.on(
            "console", lambda m, said=said: said.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda e, said=said: said.append(str(e)))
        spent = context.new_cdp_session(page)
        spent.send("Performance.enable")
        page.goto(f"{controller.url}/#token={controller.token}")
        until(page, "performance.getEntriesByName('foreshade-interactive').length > 0")
        now = {m["name"]: m["value"] for m in spent.send("Performance.getMetrics")["metrics"]}
        interactive = page.evaluate("performance.getEntriesByName('foreshade-interactive')[0].startTime")
        for plot in ("fan", "duel", "money", "timeline"):  # drawn as they come into sight
            page.evaluate(f"document.getElementById('{plot}').scrollIntoView({{block: 'center'}})")
            if plot != "timeline":  # which may have nothing to show
                until(page, f"document.querySelector('#{plot} .main-svg') !== null")
        page.evaluate("window.scrollTo(0, 0)")
        if name == "light":
            controller.wait_ticks(ticks)
        page.wait_for_timeout(1_000)
        updates = page.evaluate(UPDATES)
        axe = Axe().run(page)  # keeps the page busy for seconds
        if pictures is not None:
            page.screenshot(path=pictures / f"{hosts}-{name}.png", full_page=True)
        found[name] = {
            "interactive_ms": round(interactive),
            "main_thread_at_work_ms": round(1000.0 * now["TaskDuration"]),
            "updates_after_event_ms": [round(late) for late, _ in updates],
            "updates_in_the_page_ms": [round(took) for _, took in updates],
            "console": said,
            "axe": [v["id"] for v in axe.response["violations"]],
        }
        context.close()
    found["load_average"] = round(os.getloadavg()[0], 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, choices=sorted(SHAPES), action="append")
    parser.add_argument("--ticks", type=int, default=3)
    parser.add_argument("--interval", type=float, default=8.0, help="seconds between ticks")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each view")
    asked = parser.parse_args()
    if asked.pictures is not None:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for hosts in asked.hosts or sorted(SHAPES):
            path, vms = site(Path(name), hosts)
            controller = Controller(asked.interval, path, vms)
            try:
                print(json.dumps(measure(browser, controller, asked.ticks, asked.pictures, hosts), indent=1))
            finally:
                controller.stop()
        browser.close()


if __name__ == "__main__":
    main()
