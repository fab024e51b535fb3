"""Which of two results for one row stays.

The rule gives the same whoever comes first and however often it is applied, so retries may overlap, be cut off and
be repeated.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import pyarrow as pa

from mogface_batch.columns import BEFORE, BEFORE_ETAG, BEFORE_SHA256, COMPARED, KNOWN
from mogface_batch.schema import Status


class _Verdict(Enum):
    KEEP = auto()
    REPLACE = auto()
    RENEW = auto()
    """The bytes are the same under another etag."""


_FACTS = ["image_id", "status", "attempts", "sha256", "etag"]


def merge_retried(rows: pa.Table, fresh: pa.Table) -> pa.Table | None:
    """Return a part's rows with fresh results in the place of those that they outdo; None where none does.

    * A row that failed gives way to a good one, or to one with more attempts.
    * A good row gives way only where the image was compared and its bytes are others, could be read, and nobody else
      has put in another result meanwhile.

    Args:
        rows: Of the part.
        fresh: The same columns, then `BEFORE` or none of it; rows that the part does not have are left out.
    """
    place = {image_id: number for number, image_id in enumerate(rows["image_id"].to_pylist())}
    facts = list_facts(rows)
    taken, etags = list(range(rows.num_rows)), dict[int, str | None]()
    for number, new in enumerate(list_facts(fresh)):
        at = place.get(new["image_id"])
        if at is None:
            continue
        verdict = _verdict(facts[at], new)
        if verdict is _Verdict.REPLACE:
            taken[at] = rows.num_rows + number
            facts[at] = new
        elif verdict is _Verdict.RENEW:
            etags[at] = new["etag"]
    if taken == list(range(rows.num_rows)) and not etags:
        return None
    return _renewed(_taken(rows, fresh, taken), etags)


def list_facts(rows: pa.Table) -> list[dict[str, Any]]:
    """Return what decides about each row."""
    return rows.select([*_FACTS, *(name for name in BEFORE.names if name in rows.schema.names)]).to_pylist()  # type: ignore[no-any-return]


def _verdict(now: Mapping[str, Any], new: Mapping[str, Any]) -> _Verdict:
    if new["status"] == KNOWN:
        is_as_it_was = now["sha256"] == new["sha256"] and now["etag"] == new[BEFORE_ETAG]
        return _Verdict.RENEW if is_as_it_was and now["etag"] != new["etag"] else _Verdict.KEEP
    if new.get(COMPARED):
        was = (new[BEFORE_SHA256], new[BEFORE_ETAG])
        # What could not be read says nothing about the image: the row goes on describing what was there.
        if new["status"] != Status.FETCH_FAILED and (now["sha256"], now["etag"]) == was:
            return _Verdict.REPLACE
    if now["status"] == Status.OK:
        return _Verdict.KEEP
    is_better = new["status"] == Status.OK or new["attempts"] > now["attempts"]
    return _Verdict.REPLACE if is_better else _Verdict.KEEP


def _taken(rows: pa.Table, fresh: pa.Table, taken: list[int]) -> pa.Table:
    schema = rows.schema.remove_metadata()
    both = pa.concat_tables([rows.cast(schema), fresh.select(schema.names).cast(schema)])
    return both.take(pa.array(taken, pa.int64())).replace_schema_metadata(rows.schema.metadata)


def _renewed(rows: pa.Table, etags: Mapping[int, str | None]) -> pa.Table:
    if not etags:
        return rows
    column = [etags.get(number, etag) for number, etag in enumerate(rows["etag"].to_pylist())]
    index = rows.schema.get_field_index("etag")
    return rows.set_column(index, rows.schema.field(index), pa.array(column, pa.string()))


def merge_replaced(rows: pa.Table, others: pa.Table) -> pa.Table | None:
    """Return a merged part's rows with what has changed, meanwhile, in a part that it was merged from.

    A row's attempts grow with each replacement, so they tell the newer of two; still no failed result outdoes a good
    one, unless it is about other bytes.
    """
    place = {image_id: number for number, image_id in enumerate(rows["image_id"].to_pylist())}
    facts = list_facts(rows)
    taken = list(range(rows.num_rows))
    for number, other in enumerate(list_facts(others)):
        at = place.get(other["image_id"])
        if at is not None and _is_newer(other, facts[at]):
            taken[at] = rows.num_rows + number
    return None if taken == list(range(rows.num_rows)) else _taken(rows, others, taken)


def _is_newer(other: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if other["status"] == Status.OK != now["status"]:
        return True
    is_about_others = other["sha256"] is not None and other["sha256"] != now["sha256"]
    may = other["status"] == Status.OK or now["status"] != Status.OK or is_about_others
    return bool(may and other["attempts"] > now["attempts"])
