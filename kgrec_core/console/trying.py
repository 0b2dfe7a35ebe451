"""Try: a form for each verb, made from its request type; what it answers stands below it."""

from __future__ import annotations

from starlette.responses import Response

from kgrec_core.console.forms import inputs, values
from kgrec_core.console.page import Page
from kgrec_core.console.shown import Shown, shown
from kgrec_core.errors import KgrecError
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import about
from kgrec_core.serving.asking import SCOPES, asked, counted
from kgrec_core.serving.hosted import verbs_of
from kgrec_core.serving.problem import Refused, status_of


async def trying(page: Page) -> Response:
    """The form of a verb, filled with what the address says."""
    verbs = open_to(page)
    word = page.request.path_params.get("verb", next(iter(verbs), ""))
    given = {name: [value] for name, value in page.request.query_params.items() if name != "lang"}
    return _page(page, word, verbs, given or None)


async def asking(page: Page) -> Response:
    """Ask it what was typed in. An edit that is sent twice is made once."""
    word, verbs, service, of = page.request.path_params["verb"], open_to(page), page.service, page.of
    verb, found, told, status = _verb(word, verbs), None, "", 200
    try:
        typed = values(load_target(verb.request, word), page.form, service.limits)
        counted(service, page.caller, [typed], f"kgrec {of.domain.name} {word}")
        repeated = None
        if verb.kind != "ask":
            service.repeats.ready()
            repeated = service.repeats.key(page.form.get("once", [None])[0], page.caller, f"{of.name} {word}", [typed])
        with service.repeats.once(repeated) as once:
            if once.before is None:
                (result,), edit = await asked(service, of, word, verb, [typed], page.caller, page.id, service.seconds)
                if isinstance(result, KgrecError):
                    raise result
                once.answer = {"edit": edit}
        if once.before is not None:
            told = "This was done already; it was not done again."
        else:
            told = "answered by {run} as of edit {edit}" if verb.kind == "ask" else "Done; edit {edit} of {run}."
            found = shown(result) or Shown("text", "")
            return _page(page, word, verbs, page.form, found=found, told=told, about_run={"run": of.name, "edit": edit})
    except KgrecError as error:
        status = status_of(error)
        return _page(page, word, verbs, page.form, status, wrong=str(error))
    return _page(page, word, verbs, page.form, found=Shown("text", ""), told=told, about_run={})


def open_to(page: Page) -> dict[str, Verb]:
    """The verbs that this caller may use: asks first; of jobs and edits those that a form can hold."""
    order = ("ask", "edit", "job")
    found = {word: verb for word, verb in verbs_of(page.of.domain).items() if page.may(scope_of(page, word, verb))}
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[1].kind)))


def scope_of(page: Page, word: str, verb: Verb) -> str:
    """What the desk only reads may be read by whoever edits."""
    desk = page.of.domain.desk
    return "edit" if verb.kind == "job" and word in (desk.get("search"), desk.get("look")) else SCOPES[verb.kind]


def _verb(word: str, verbs: dict[str, Verb]) -> Verb:
    if word not in verbs:
        raise Refused(404, f"no verb {word[:80]!r} is open to you here; known: {', '.join(verbs) or 'none'}")
    return verbs[word]


def _page(
    page: Page,
    word: str,
    verbs: dict[str, Verb],
    form: dict[str, list[str]] | None,
    status: int = 200,
    found: Shown | None = None,
    told: str = "",
    wrong: str = "",
    about_run: dict[str, object] | None = None,
) -> Response:
    verb = _verb(word, verbs)
    request = load_target(verb.request, word)
    seen, folded = inputs(request, form, page.language)
    return page.answer(
        "try.html",
        "Try",
        status,
        verbs=verbs,
        chosen=word,
        verb=verb,
        text=about(request)[0],
        seen=seen,
        folded=folded,
        found=found,
        told=told,
        wrong=wrong,
        about_run=about_run or {},
    )
