"""A verb from Python: one request of keywords, or many at once. The command line and jobs call `call` as well.

from kgrec_core.domain import words

__getattr__, __dir__, __all__ = words(__name__, DOMAIN)      # in a plugin's __init__: kgrec_shop.recommend(run, user="7")
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, wraps
from typing import Any, TypeVar

from kgrec_core.errors import KgrecError
from kgrec_core.late import late
from kgrec_core.recipe.components import Domain, Verb
from kgrec_core.recipe.parameters import REQUIRED
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import about, fields_of, made
from kgrec_core.stages import Progress, silent

R, T = TypeVar("R"), TypeVar("T")


def call(verb: Verb, run: Any, requests: Sequence[Any], progress: Progress | None = None) -> list[Any]:
    """A result or a KgrecError for every request. run: an open Run, for an ask also one of its snapshots; None where a verb opens none."""
    if verb.needs and run is not None:
        refuse_other(verb, run)
    function = load_target(verb.function, f"verb {verb.function}")
    if verb.kind == "job":
        return [_or_error(function, run, request, progress or silent) for request in requests]
    found = function(getattr(run, "snapshot", run) if verb.kind == "ask" else run, requests)
    if len(found) != len(requests):
        raise KgrecError(f"{verb.function} gives {len(found)} results for {len(requests)} requests; it must give one for each")
    return found


def refuse_other(verb: Verb, run: Any) -> None:
    """Raises KgrecError for a run of another domain."""
    predicts = [task.relation.name for task in run.tasks]
    if not set(verb.needs) & set(predicts):
        raise KgrecError(
            f"{run.folder} predicts {', '.join(predicts)}; this needs a run that predicts {' or '.join(verb.needs)}: name another with --run"
        )


def one(results: Sequence[T | KgrecError]) -> T:
    """The only result; its error is raised."""
    (result,) = results
    if isinstance(result, KgrecError):
        raise result
    return result


def each(function: Callable[[Any, R], T]) -> Callable[[Any, Sequence[R]], list[T | KgrecError]]:
    """Makes of (snapshot or run, request) -> result a verb's function over many requests."""

    @wraps(function)
    def many(source: Any, requests: Sequence[R]) -> list[T | KgrecError]:
        return [_or_error(function, source, request) for request in requests]

    return many


def grouped(requests: Sequence[R], alike: Callable[[R], Hashable], answer: Callable[[list[R]], Sequence[T]]) -> list[T | KgrecError]:
    """`answer`ed many at a time: those that are alike together; a group with a faulty request is halved until the fault stands alone."""
    found: dict[int, T | KgrecError] = {}
    groups: dict[Hashable, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(alike(request), []).append(place)
    waiting = list(groups.values())
    while waiting:
        places = waiting.pop()
        try:
            found.update(zip(places, answer([requests[place] for place in places]), strict=True))
        except KgrecError as error:
            if len(places) == 1:
                found[places[0]] = error
            else:
                waiting += [places[: len(places) // 2], places[len(places) // 2 :]]
    return [found[place] for place in range(len(requests))]


def words(module: str, domain: Domain, places: Mapping[str, str] | None = None) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a domain's package: `fit`, `tune` and the verbs as functions, and what `places` names; see `late`.

    places: module of the package -> names in it, e.g. {"shop": "Recommend Similar"}.
    """
    from kgrec_core.jobs.standard import STANDARD

    verbs = {word.replace("-", "_"): verb for word, verb in {**STANDARD, **domain.verbs}.items()}
    get, names, everything = late(module, places or {}, ("DOMAIN", "fit", "tune", *verbs))

    @cache
    def word(name: str) -> Any:
        if name == "fit" and name not in verbs:
            from kgrec_core.jobs.fit import fit_word

            return fit_word(domain)
        if name == "tune" and name not in verbs:
            from kgrec_core.jobs.tune import tune_word

            return tune_word(domain)
        return python_word(name, verbs[name], module) if name in verbs else get(name)

    return word, names, everything


def python_word(name: str, verb: Verb, module: str) -> Callable[..., Any]:
    """The function of one verb: the run, then the request's fields; its result is returned, its error raised."""
    request = load_target(verb.request, f"verb '{name}'")
    last = [inspect.Parameter("progress", inspect.Parameter.KEYWORD_ONLY, default=None)] if verb.kind == "job" else []
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=REQUIRED if verb.opens else None, annotation="Run")
    first = [run] if verb.opens is not False else []
    known = sorted(fields_of(request).values(), key=lambda field: field.default is not REQUIRED)  # a base's options may stand before
    late = None if verb.opens is None else REQUIRED  # behind a run that may be left out every name may be; `made` misses it
    fields = [
        inspect.Parameter(
            p.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=late if p.default is REQUIRED else p.default, annotation=p.annotation
        )
        for p in known
    ]
    signature = inspect.Signature([*first, *fields, *last])

    def word(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named).arguments
        progress, run = bound.pop("progress", None), bound.pop("run", None) if verb.opens is not False else None
        return one(call(verb, run, [made(request, bound, name)], progress))

    text, _ = about(request)
    explained = [f"{p.name}: {p.doc}" for p in known if p.doc]
    word.__name__ = word.__qualname__ = name
    word.__module__ = module
    word.__doc__ = "\n".join([text or verb.help, "", *explained, "", "Raises KgrecError for what cannot be answered."])
    word.__signature__ = signature  # type: ignore[attr-defined]
    return word


def _or_error(function: Callable[..., T], *given: Any) -> T | KgrecError:
    try:
        return function(*given)
    except KgrecError as error:
        return error
