"""Names of jobs: whose they are can be read from squeue alone, after whatever crash."""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

SAFE_PART = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class JobName:
    """Whose job it is: `run` (see `run_tag`), `unit` of work, and which attempt at it, counted from 1."""

    run: str
    unit: str
    attempt: int = 1

    def __str__(self) -> str:
        return f"mwr.{self.run}.{self.unit}.{self.attempt}"

    @property
    def next(self) -> "JobName":
        """The name of the next attempt."""
        return replace(self, attempt=self.attempt + 1)


def run_tag(folder: Path) -> str:
    """Short name of a run directory for job names: its last part, and what tells it from others of that name."""
    path = str(folder.absolute())
    return f"{SAFE_PART.sub('-', folder.absolute().name)[:24]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def parse_job_name(text: str) -> JobName | None:
    """Read what ``str(JobName)`` wrote; None for anybody else's job."""
    match = re.fullmatch(r"mwr\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.(\d+)", text)
    return JobName(match[1], match[2], int(match[3])) if match else None
