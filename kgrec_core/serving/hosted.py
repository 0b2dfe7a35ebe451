"""The runs that a service has open, and which domain each speaks: swapped by one reference, the one before kept to go back to."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from kgrec_core.errors import KgrecError, choices
from kgrec_core.jobs.standard import STANDARD
from kgrec_core.recipe.components import Domain, Verb
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.folder import MANIFEST, checksum
from kgrec_core.run.run import Run, open_run
from kgrec_core.run.seen import Sample
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.serving.problem import Refused

log = logging.getLogger("kgrec.serving")


class Hosted:
    """One run under its name. `run` and `snapshot` are read by one reference; `reload` and `back` change it."""

    def __init__(self, folder: Path, domain: Domain, run: Run, allow: Iterable[str] = ()) -> None:
        self.name, self.folder, self.domain, self.allow = folder.name, folder, domain, tuple(allow)
        self._now: tuple[Run, Snapshot, str] = (run, run.snapshot, checksum(folder / MANIFEST))
        self._samples: dict[tuple[str, str], Sample | None] = {}
        self._before: tuple[Run, Snapshot, str] | None = None
        self._refused: object = None
        self._seen: object = None  # what `_files` says of what was not shown, and of the last look
        self.rolled_back, self._changing = False, Lock()
        self.unreadable = ""  # why edits are not read now

    @property
    def run(self) -> Run:
        """For edits. Raises Refused 409 after going back: the log of edits is the new run's."""
        if self.rolled_back:
            raise Refused(409, f"{self.name} was rolled back and takes no edits; publish a run again, or POST /admin/reload")
        return self._now[0]

    @property
    def snapshot(self) -> Snapshot:
        """The latest of the run that is shown, with the edits of every process; after going back, as it was then.

        A run that was published over this one takes its log along; until it is loaded, the last snapshot answers. So it does while the log
        is damaged or gone: whoever edits is told, who asks has no part in it.
        """
        run, last, published = self._now
        if self.rolled_back:
            return last
        try:
            latest = run.snapshot
        except KgrecError as error:
            fault = str(error) if self._published() == published else ""
            if fault and fault != self.unreadable:
                log.error("answers go on as of edit %d, without what came later: %s", last.edit, error)
            self.unreadable = fault
            return last
        self.unreadable = ""
        if latest is not last and self._now[0] is run:
            self._now = run, latest, published
        return latest

    def audience(self, caller: str) -> float | None:
        """The age whose answers a caller gets; None = any."""
        safety = self._now[1].safety
        return None if safety is None else safety.audience(caller)

    def sample(self, task: str) -> Sample | None:
        """What the queries of the run that answers looked like when it was published."""
        run, _, published = self._now
        if (published, task) not in self._samples:
            self._samples = {key: of for key, of in self._samples.items() if key[0] == published} | {(published, task): run.seen(task)}
        return self._samples[published, task]

    @property
    def published(self) -> str:
        """The checksum of the manifest that answers."""
        return self._now[2]

    def reload(self, taken: Collection[str] = (), force: bool = False) -> bool:
        """Load a newly published run beside the one that answers, ask it something, and swap; whether it did.

        taken: checksums of runs that were taken back, which are not shown. Raises KgrecError where the new run cannot be opened, does
        not answer, or answers something else: the old one goes on, and the same is not tried again unless by `force`, or when its files
        have changed and then been the same for two looks, as those that somebody copies there one by one.
        """
        with self._changing:
            found = self._published()
            if found is None or found == self.published or found in taken:
                return False
            files, before = _files(self.folder), self._seen
            self._seen = files
            if not force and self._refused and (files == self._refused or files != before):
                return False
            try:
                run = open_run(self.folder, self.allow)
                if lost := {task.name for task in self._now[0].tasks} - {task.name for task in run.tasks}:
                    raise KgrecError(f"{self.folder} has no task {', '.join(sorted(lost))}, which the run of before answers")
                smoke(run.snapshot)
            except Exception as error:
                self._refused = files
                if isinstance(error, KgrecError):
                    raise
                raise KgrecError(f"{self.folder} cannot be opened or asked ({type(error).__name__}: {error})") from error
            self._refused = None
            self._before, self.rolled_back = self._now, False
            self._now = run, run.snapshot, found
            log.info("run %s was reloaded", self.name)
            return True

    def back(self) -> str:
        """Show the run of before the last reload again; the checksum of the one that is taken back. Raises Refused 409 where there is none."""
        with self._changing:
            if self._before is None:
                raise Refused(409, f"{self.name} has not been reloaded since the service began, so there is nothing to go back to")
            taken = self.published
            self._now, self._before, self.rolled_back = self._before, None, True
            log.warning("run %s was rolled back", self.name)
            return taken

    @property
    def before(self) -> bool:
        """Whether there is a run to go back to."""
        return self._before is not None

    def _published(self) -> str | None:
        try:
            return checksum(self.folder / MANIFEST)
        except OSError:
            return None  # between the two renames of a publish, or gone


def _files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells one state of a folder from another, by file."""
    found = {}
    for place in folder.rglob("*"):
        with suppress(OSError):
            stat = place.stat()
            found[str(place)] = stat.st_ino, stat.st_size, stat.st_mtime_ns
    return found


def smoke(snapshot: Snapshot) -> None:
    """Ask a run something that it must be able to answer. Raises KgrecError where it is not."""
    for task in snapshot.tasks:
        kind = task.relation.source
        graph = snapshot.graph
        query: Any = {"text": "hello"} if "text" in graph.columns(kind) else graph.gather(kind, [0], "id")["id"][0]
        if not snapshot.answer([query], task.name, k=1)[0]:
            raise KgrecError(f"{snapshot.folder}: task {task.name} finds nothing for {query!r}; it is not served")


def hosted(folders: Sequence[Path], domain: str | None = None, allow: Iterable[str] = ()) -> dict[str, Hosted]:
    """Open the runs, by name. Raises KgrecError for two of one name and for a run whose domain is not clear."""
    found: dict[str, Hosted] = {}
    registry = Registry.discover()
    domains = {name: part for name, part in registry.components("domain").items() if isinstance(part, Domain)}
    for folder in (Path(f).absolute() for f in folders):
        if folder.name in found:
            raise KgrecError(f"{folder} and {found[folder.name].folder} have one name; rename one of the folders")
        run = open_run(folder, allow)
        found[folder.name] = Hosted(folder, domain_of(run, domains, domain), run, allow)
    return found


def domain_of(run: Run, domains: Mapping[str, Domain], name: str | None = None) -> Domain:
    """The domain whose verbs a run answers: the one named, else the one that needs what it predicts, else the one that needs nothing."""
    if name is not None:
        by_name = {short: part for full, part in domains.items() for short in (full, part.name)}
        if name not in by_name:
            raise choices("domain", name, by_name)
        return by_name[name]
    predicts = {task.relation.name for task in run.tasks}
    needs = {full: {relation for verb in part.verbs.values() for relation in verb.needs} for full, part in domains.items()}
    fit = [full for full, wanted in needs.items() if wanted & predicts] or [full for full, wanted in needs.items() if not wanted]
    if len(fit) != 1:
        raise KgrecError(
            f"{run.folder} predicts {', '.join(sorted(predicts))}; say whose words it answers with --domain {' or '.join(sorted(fit or domains))}"
        )
    return domains[fit[0]]


def verbs_of(domain: Domain) -> dict[str, Verb]:
    """What is served of a domain: asks, edits, and jobs that ask a run."""
    every = {**STANDARD, **domain.verbs}
    return {word: verb for word, verb in every.items() if verb.kind != "job" or (verb.opens is True and word != "report")}
