"""What is to be segmented, in its order, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from ..export import case_paths
from ..flairs import flair_subject
from ..review import journal_path
from .engine_failure import Remedy

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(eq=False)
class Job:
    """One FLAIR to segment.

    source : a file, or a volume node of the scene.
    t1 : the T1's node; None where there is none.
    message : what came of it, or why nothing did.
    folder : the output folder that its case was written to.
    flair : the node that the case lies on; None where the case's own file is to be loaded.
    device : what it is to run on, where that is not what the Inputs section says.
    replaces : the user agrees to a case of that subject being replaced.
    remedy : what can be done where it failed, see `engine_failure`.
    """

    subject: str
    source: Any
    t1: Any = None
    state: State = "waiting"
    message: str = ""
    folder: Path | None = None
    flair: Any = None
    device: str | None = None
    replaces: bool = False
    remedy: Remedy = ""

    @property
    def name(self) -> str:
        """The image's name, for the list."""
        return self.source.name if isinstance(self.source, Path) else self.source.GetName()


class RunQueue:
    """Jobs in the order in which they were added; no two images share a subject."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def waiting(self) -> list[Job]:
        """Those still to run."""
        return [job for job in self.jobs if job.state == "waiting"]

    def add(self, source: Any, t1: Any = None) -> Job:
        """Put an image at the end; one that waits already is not added again.

        Raises InputError where no subject ID can be made from its name.
        """
        for job in self.waiting:
            if job.source == source:
                job.t1 = t1
                return job
        subject = flair_subject(source if isinstance(source, Path) else Path(source.GetName()))
        others = {job.subject for job in self.jobs if job.source != source}
        number, free = 2, subject
        while free in others:
            free, number = f"{subject}{number}", number + 1
        self.jobs.append(Job(free, source, t1))
        return self.jobs[-1]

    def rename(self, job: Job, subject: str) -> None:
        """Give a waiting job another subject; InputError for one that is not an ID, or another image's."""
        case_paths(Path(), subject)
        if any(other.subject == subject and other.source != job.source for other in self.jobs):
            raise InputError(f"the subject {subject} is another image's", todo="Choose another ID")
        job.subject = subject

    def remove(self, jobs: list[Job]) -> None:
        """Take jobs out of the list, but for one that runs."""
        self.jobs = [job for job in self.jobs if job not in jobs or job.state == "running"]

    def forget_nodes(self) -> None:
        """Take out what waits in a scene that closes; what was done of it stays, by its name."""
        self.jobs = [job for job in self.jobs if isinstance(job.source, Path) or job.state != "waiting"]
        for job in self.jobs:
            job.t1 = job.flair = None
            if not isinstance(job.source, Path):
                job.source = Path(job.name)


def has_case(folder: Path, subject: str) -> bool:
    """Whether a folder holds a case of that subject, which a run would replace."""
    return case_paths(folder, subject)["sidecar"].exists()


def has_review(folder: Path, subject: str) -> bool:
    """Whether a folder holds a review of that subject, which a run would make useless."""
    return journal_path(folder, subject).exists()
