"""`UnitRecord`: what is known of deaths in one unit; OUT/deaths/<part>.json holds it while the unit is in work."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Self

from mogface_batch.faults.death_limits import JOB_DEATHS_FOR_ONE, MAX_DEATHS_ALONE
from mogface_batch.output.layout import DEATHS_FOLDER
from mogface_batch.storage import Store

_DRAWING_SUFFIX = ".drawing"


class Care(IntEnum):
    """With how many other rows a row may run."""

    TOGETHER, BATCH, ALONE = range(3)


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of a unit that pass a stage together: ``start`` up to ``stop``."""

    start: int
    stop: int
    care: Care = Care.TOGETHER
    quarantine_reason: str | None = None
    """Why these rows must not run again; None where they may."""


@dataclass(slots=True)
class UnitRecord:
    """What is known of the rows of one unit, each row by a digest of its id. The fields are the keys of the file."""

    care: dict[str, int] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    """Row -> how often its process died while the row was alone in it."""
    job_deaths: dict[str, int] = field(default_factory=dict)
    """Row -> how often the whole job died while the row was alone in its process."""
    begun: list[list[str]] | None = None
    """The portions in work; None: some rows of the unit are, but it is not known which."""
    run: str = ""
    """`Ledger.run_id` of the ledger that wrote the record last."""

    @classmethod
    def from_json(cls, content: bytes | None) -> Self:
        """Return the record in a file; a file that cannot be read only says that its unit was begun."""
        try:
            return cls(**json.loads(content or b"{}"))
        except (ValueError, TypeError):
            return cls()

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return json.dumps(asdict(self)).encode()

    def blame(self, keys: Sequence[str], *, batch_rows: int, of_job: bool) -> None:
        """Record that a process, or the whole job, died while it worked on these rows."""
        if len(keys) == 1:
            counts = self.job_deaths if of_job else self.deaths
            counts[keys[0]] = counts.get(keys[0], 0) + 1
        self.raise_care(keys, Care.ALONE if len(keys) <= batch_rows else Care.BATCH)

    def raise_care(self, keys: Sequence[str], care: Care) -> None:
        """Let these rows run with at least this care."""
        for key in keys:
            self.care[key] = max(care, self.care.get(key, 0))

    def judge(self, key: str) -> str | None:
        """Return why a row must not run again, None where it may."""
        deaths, job_deaths = self.deaths.get(key, 0), self.job_deaths.get(key, 0)
        if deaths + job_deaths / JOB_DEATHS_FOR_ONE < MAX_DEATHS_ALONE:
            return None
        clauses = [f"A process died {deaths} times"] if deaths else []
        clauses += [f"the whole job died {job_deaths} times"] if job_deaths else []
        return f"{' and '.join(clauses)} while it worked on this image alone."


def hash_id(image_id: str) -> str:
    """Return what stands for a row in a record, so that records do not hold ids."""
    return hashlib.sha256(image_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def name_record(part: str) -> str:
    """Return the name of a unit's record in the output folder."""
    return f"{DEATHS_FOLDER}/{part.removesuffix('.parquet')}.json"


def name_drawing_record(part: str) -> str:
    """Return the name of the record of a unit's pictures in the output folder."""
    return f"{DEATHS_FOLDER}/{part.removesuffix('.parquet')}{_DRAWING_SUFFIX}.json"


def name_part(record_name: str) -> str:
    """Return the part whose unit, or whose pictures, this record is about."""
    stem = record_name.removeprefix(f"{DEATHS_FOLDER}/").removesuffix(".json")
    return f"{stem.removesuffix(_DRAWING_SUFFIX)}.parquet"


def list_records(store: Store) -> set[str]:
    """Return the names of all records in the output folder."""
    return {f"{DEATHS_FOLDER}/{name}" for name in store.list_names(DEATHS_FOLDER)}


def create_record(store: Store, part: str) -> None:
    """Leave a record of a unit that begins, unless there is one.

    Raises:
        OutputError: The store refuses it.
    """
    store.create(name_record(part), UnitRecord().to_json())
