"""The pages: made from verbs, whoever has none of the keys sees none of them, what changes something needs a token, names are never markup."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import httpx
import pytest
from jinja2 import Environment

import kgrec_core.console
from kgrec_core import open_run
from kgrec_core.console.health import measured, speeds
from kgrec_core.console.hints import HINTS_ZH
from kgrec_core.console.shown import shown
from kgrec_core.console.words import FIELDS_ZH, ZH, labels, spoken
from kgrec_core.explain.explanation import Explanation, Node
from kgrec_core.explain.explanation import Path as Way
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.registry import Registry, load_target
from kgrec_core.requests import about
from kgrec_core.run import review
from kgrec_core.run.asks import Answer
from kgrec_core.serving.access import Access
from kgrec_core.serving.body import Limits
from kgrec_core.serving.hosted import hosted, verbs_of
from kgrec_core.serving.keys import Keys
from kgrec_core.serving.schema import offered
from kgrec_core.serving.service import Service
from tests.asgi import Asking

HOSTILE = "<script>alert(1)</script>\x00\u202egnp.exe & \"x\" onload='y'"
PAGES = Path(kgrec_core.console.__file__).parent / "pages"


class Browser(Asking):
    """Keeps cookies, follows redirects, fills in the token of the last page."""

    def __init__(self, service: Service, address: str = "http://localhost") -> None:
        super().__init__(service, address, follow=True)

    def get(self, path: str, **given) -> httpx.Response:
        return self("GET", path, **given)

    def send(self, path: str, token: str | None = None, **form) -> httpx.Response:
        if token is None:
            token = re.search(r'name="token" value="(\w+)"', self.get(path).text).group(1)
        return self("POST", path, data={"token": token, **form})


@pytest.fixture(scope="module")
def run(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(published, tmp_path_factory.mktemp("console") / "shop"))


@pytest.fixture(scope="module")
def here(run: Path):
    found = Browser(Service(hosted([run], "ecommerce"), limits=Limits(bytes=20_000)))
    yield found
    found.close()


TRY = "/console/shop/try/recommend"


def test_a_form_is_asked_and_answers_are_cards_with_reasons(here):
    form = here.get("/console")
    assert form.url.path == "/console/shop/try" and 'name="user"' in form.text and "how many products." in form.text
    found = here.send(TRY, user="ruser0", k="2", explain="on")
    assert found.text.count('class="card"') == 2 and "<svg viewBox" in found.text and 'value="ruser0"' in found.text
    assert "script-src" not in found.headers["content-security-policy"] and "default-src 'none'" in found.headers["content-security-policy"]
    assert "<script" not in found.text and " onclick" not in found.text and "style=" not in found.text


def test_mistakes_are_one_line_beside_the_form(here):
    for form, told in (
        ({"user": "ruser0", "k": "0"}, "k = 0 must be"),
        ({}, "needs something"),
        ({"text": "a", "k": "9" * 12}, "may ask for"),
    ):
        found = here.send(TRY, **form)
        assert found.status_code == 400 and told in re.search(r'role="alert">(.*?)</p>', found.text).group(1)
    assert here.get("/console/shop/try/steal").status_code == 404 and here.get("/console/nothing/try").status_code == 404
    assert here.send(TRY, text="a" * 30_000).status_code == 413


def test_an_edit_is_made_once_and_its_name_is_never_markup(here):
    path, rows = "/console/shop/try/add-items", f"sku\tname\tcolour\tprice\nh1\t{escape(HOSTILE)} vase\tred\t77\n"
    for told in ("edit 1 of shop", "was not done again"):
        assert told in here.send(path, file=rows, once="a" * 32).text
    found = here.send(TRY, text="vase", where="price = 77", explain="on").text
    assert "&lt;script&gt;" in found and "<script" not in found and "\u202e" not in found


def test_a_forged_form_and_a_foreign_name_do_nothing(here):
    before = here.service.runs["shop"].snapshot.edit
    for token in ("", "0" * 64):
        assert here.send("/console/shop/try/add-items", token, file="sku,name\nz,z").status_code == 403
    assert here.get("/console", headers={"host": "evil.example:8000"}).status_code == 403
    assert here.get("/console/shop/try", headers={"host": "127.0.0.1:8000"}).status_code == 200
    assert here.service.runs["shop"].snapshot.edit == before


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("place", ["try", "try/similar", "run", "run?budget=7", "health", "review"])
def test_every_page_in_both_languages(here, place, language):
    found = here.get(f"/console/shop/{place}", params={"lang": language} | ({"budget": "7"} if "?" in place else {}))
    assert found.status_code == 200 and f'<html lang="{language}' in found.text and "<h1" in found.text and 'id="content"' in found.text
    labelled = set(re.findall(r'<label for="([^"]+)"', found.text))
    assert set(re.findall(r'<(?:input|select|textarea)[^>]* id="([^"]+)"', found.text)) == labelled


def test_keys_scopes_and_revocation(run, tmp_path):
    keys = Keys(tmp_path / "keys.json")
    ask, admin = keys.add("shop"), keys.add("boss", ["admin"])
    browser = Browser(Service(hosted([run], "ecommerce"), Access(keys.file)), "https://shop.example")
    try:
        assert browser.get("/console/shop/try").url.path == "/console/login"
        wrong = browser.send("/console/login", key="kg_00000000_x")
        assert wrong.status_code == 401 and "not known" in wrong.text
        inside = browser.send("/console/login", key=ask)
        cookie = inside.history[0].headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "secure" in cookie and ask.lower() not in cookie
        assert inside.url.path == "/console/shop/try" and "add-items" not in inside.text
        assert browser.get("/console/shop/try/add-items").status_code == 404
        token = re.search(r'name="token" value="(\w+)"', inside.text).group(1)
        assert browser.send("/console/shop/health/reload", token).status_code == 403
        keys.revoke("shop")
        assert browser.get("/console/shop/try").status_code == 401
        assert "add-items" in browser.send("/console/login", key=admin).text
        browser.send("/console/logout", re.search(r'name="token" value="(\w+)"', browser.get("/console/shop/try").text).group(1))
        assert browser.get("/console/shop/try").url.path == "/console/login"
    finally:
        browser.close()


def test_a_third_partys_result_is_shown_whatever_it_is():
    class Odd:
        def to_json(self) -> dict[str, int]:
            return {"a": 1}

    why = Explanation(
        Node("item", "1", HOSTILE), 1.0, (Way("text", (Node("item", "1", HOSTILE),), (), 1.0, words=(HOSTILE,)),), {HOSTILE: 1.0}, {}
    )
    given = {"one": Odd(), "none": None, "empty": [], "deep": [[[[[[[[1]]]]]]]], HOSTILE: HOSTILE, "yes": True, "x": float("nan")}
    template = Environment(loader=_loader(), autoescape=True).from_string('{% import "parts.html" as parts %}{{ parts.result(of, say) }}')
    html = template.render(of=shown([Answer("i", HOSTILE, 1.0, {"c": HOSTILE}, {}, HOSTILE, why), given]), say=lambda text, **values: text)
    assert (
        "<script" not in html
        and "\x00" not in html
        and "\u202e" not in html
        and html.count("&lt;script&gt;") >= 6
        and "deep" in html
        and "\\u202e" in html
    )
    assert shown(None) is None and shown([]) is None


def _loader():
    from jinja2 import FileSystemLoader

    return FileSystemLoader(PAGES)


def test_every_text_of_a_page_is_said_in_chinese():
    said = {text.replace("\\'", "'") for page in PAGES.glob("*.html") for text in re.findall(r"say\('((?:[^'\\]|\\.)*)'", page.read_text())}
    assert said - set(ZH) == set() and len(said) > 40
    assert [spoken(*of) for of in ((None, "zh-CN,en"), (None, "de"), ("en", "zh"), ("xx", ""))] == ["zh", "en", "en", "en"]


def test_what_forms_say_is_chinese_for_every_domain_of_ours_and_a_third_partys_own_words():
    known = Registry.discover().components("domain").values()
    verbs = [verb for of in known if of.name in ("ecommerce", "finance", "support") for verb in verbs_of(of).values()]
    requests = [load_target(verb.request, "") for verb in verbs]
    said = {about(of)[0].split("\n\n")[0] for of in requests} | {field.doc for of in requests for field in offered(of).values()} - {""}
    assert said - set(HINTS_ZH) == set() and len(said) > 10
    assert {name.replace("_", " ") for of in requests for name in offered(of)} - set(FIELDS_ZH) == set()
    hint = labels("zh", HINTS_ZH)
    assert (
        hint("how many.") == "数量。"
        and hint("how loud it rings.") == "how loud it rings."
        and labels("en", HINTS_ZH)("how many.") == "how many."
    )


def test_a_decision_is_taken_in_the_browser_and_holds_for_callers_by_their_age(run, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "held"))
    rules = '[hold]\nwords = ["mug"]\n[age]\ncolumn = "price"\ncallers = { kids = 3 }'
    folder.with_name("held.safety.toml").write_text(rules)
    keys = Keys(tmp_path / "keys.json")
    kids, boss = keys.add("kids"), keys.add("boss", ["admin"])
    browser = Browser(Service(hosted([folder], "ecommerce"), Access(keys.file)))

    def recommended(key: str) -> set[str]:
        headers = {"Authorization": f"Bearer {key}"}
        asked = browser.client.post("/v1/ecommerce/recommend", json={"user": "ruser0", "k": 20}, headers=headers)
        return {one["id"] for one in browser.loop.run_until_complete(asked).json()["result"]}

    try:
        assert recommended(kids) == {"r1", "b1", "r2", "b2"} and not {"r0", "b0"} & recommended(boss)
        assert browser.get("/console/held/review").url.path == "/console/login"
        browser.send("/console/login", key=boss)
        page = browser.get("/console/held/review").text
        assert page.count("the word mug") == 2
        token = re.search(r'name="token" value="(\w+)"', page).group(1)
        page = browser.send("/console/held/review", token, id="r0", verdict="allow", why="<b>fine</b>").text
        assert page.count("the word mug") == 1 and "&lt;b&gt;fine" in page and "boss" in page
        assert "r0" in recommended(kids) and "b0" not in recommended(boss)
        stale = re.findall(r'name="seen" value="(\w+)"', page)[0]
        review.decide(browser.service.runs["held"].snapshot, ["b0"], "block", by="ann")
        late = browser.send("/console/held/review", token, id="b0", verdict="allow", seen=stale)
        assert late.status_code == 409 and "b0 was blocked by ann" in late.text and "b0" not in recommended(boss)
        assert browser.send("/console/held/review", token, id="nobody", verdict="allow").status_code == 400
        assert browser.send("/console/held/review", token, id="r0", verdict="maybe").status_code == 400
    finally:
        browser.close()


@dataclass(frozen=True)
class Find:
    """Find entries.

    words: in them.
    """

    words: tuple[str, ...] = ()


def find(run: object, request: Find, progress: object) -> list[dict[str, str]]:
    return [{"id": " ".join(request.words), "text": "an entry"}]


def test_a_domain_that_names_its_verbs_for_editors_gets_a_desk(here, monkeypatch):
    of, verbs = here.service.runs["shop"], {"find": Verb(f"{__name__}:Find", f"{__name__}:find", "job")}
    domain = replace(of.domain, verbs={**of.domain.verbs, **verbs}, desk={"search": "find", "edit": "add-items", "look": "find"})
    assert "Desk" not in here.get("/console/shop/try").text and here.get("/console/shop/desk").status_code == 404
    monkeypatch.setattr(of, "domain", domain)
    found = here.get("/console/shop/desk", params={"words": "red mug", "look": "1", "lang": "en"}).text
    assert "red mug" in found and "/console/shop/try/add-items?id=red%20mug" in found and "1 found" in found


def test_two_runs_stand_side_by_side(run, tmp_path):
    other = Path(shutil.copytree(run, tmp_path / "second"))
    found = Browser(Service(hosted([run, other], "ecommerce"), limits=Limits(bytes=20_000)))
    assert "<option>second</option>" in found.get("/console/shop/run", params={"lang": "en"}).text
    page = found.get("/console/shop/compare", params={"other": "second", "lang": "en"}).text
    tested = open_run(run).metrics["tasks"]["buys"]["test"]
    mean = f"{tested['published']['ndcg@10']['mean']:.4f}"
    assert page.count(mean) >= 2 and "new only" in page and "different data" not in page
    assert found.get("/console/shop/compare", params={"other": "shop"}).status_code == 404
    found.close()


def watched(folder: Path) -> list[dict[str, object]]:
    row = {"id": "e1", "title": HOSTILE, "severity": "high", "opened": "Monday", "until": "Tuesday", "level": "5", "threshold": "4"}
    return [row | {"open": True, "acknowledged": ""}, row | {"id": "e2", "open": False, "acknowledged": "seen"}]


def test_a_domain_that_watches_something_gets_its_alerts(here, monkeypatch):
    of = here.service.runs["shop"]
    assert here.get("/console/shop/alerts").status_code == 404
    watch = {"alerts": f"{__name__}:watched", "acknowledge": "add-items"}
    monkeypatch.setattr(of, "domain", replace(of.domain, watch=watch))
    found = here.get("/console/shop/alerts", params={"lang": "en"}).text
    assert (
        found.count('action="/console/shop/try/add-items"') == 1
        and "&lt;script&gt;" in found
        and "\u202e" not in found
        and "\x00" not in found
    )


def test_health_shows_how_far_queries_have_drifted_and_what_is_slow(here):
    drift = {"run": "shop", "task": "buys", "how": "psi", "what": "length"}
    for name, value in (("kgrec_drift", 0.5), ("kgrec_drift_bound", 0.25)):
        metric = here.service.metrics.drift if name == "kgrec_drift" else here.service.metrics.drift_bound
        metric.labels(**drift).set(value)
    for seconds in [0.004] * 99 + [0.3]:
        here.service.metrics.latency.labels("recommend").observe(seconds)
    found = here.get("/console/shop/health", params={"lang": "en"}).text
    assert "<strong>2.00</strong>" in found and "length" in found and "Canary" not in found
    (row,) = speeds(measured(here.service))
    assert row["verb"] == "recommend" and row["requests"] == 100 and row["within"] == 0.005 and 6 < row["mean"] < 8
