"""Decide which of two results for one row stays.

The outcome does not depend on the order in which results arrive or on how often the rule is applied, so retries may
overlap, be interrupted and be repeated.
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
    """Keep the result, with the new etag: the bytes are the same."""


_FACTS = ["image_id", "status", "attempts", "sha256", "etag"]


def merge_retried(rows: pa.Table, fresh: pa.Table) -> pa.Table | None:
    """Return a part's rows with the retried results that replace older ones; None if none does.

    * A failed row is replaced by a good one, or by one with more attempts.
    * A good row is replaced only if the image was compared, its bytes have changed and could be read, and no other
      result has been merged in the meantime.

    Args:
        rows: The rows of the part.
        fresh: The same columns, followed by all of `BEFORE` or none; rows that the part does not have are ignored.
    """
    row_by_id = {image_id: number for number, image_id in enumerate(rows["image_id"].to_pylist())}
    facts = list_facts(rows)
    row_numbers, etags = list(range(rows.num_rows)), dict[int, str | None]()
    for number, result in enumerate(list_facts(fresh)):
        row = row_by_id.get(result["image_id"])
        if row is None:
            continue
        verdict = _judge(facts[row], result)
        if verdict is _Verdict.REPLACE:
            row_numbers[row] = rows.num_rows + number
            facts[row] = result
        elif verdict is _Verdict.RENEW:
            etags[row] = result["etag"]
    if row_numbers == list(range(rows.num_rows)) and not etags:
        return None
    return _renew_etags(_take_rows(rows, fresh, row_numbers), etags)


def list_facts(rows: pa.Table) -> list[dict[str, Any]]:
    """Return, for each row, the values that decide which result stays."""
    return rows.select([*_FACTS, *(name for name in BEFORE.names if name in rows.schema.names)]).to_pylist()  # type: ignore[no-any-return]


def _judge(current: Mapping[str, Any], result: Mapping[str, Any]) -> _Verdict:
    if result["status"] == KNOWN:
        is_unchanged = current["sha256"] == result["sha256"] and current["etag"] == result[BEFORE_ETAG]
        has_new_etag = current["etag"] != result["etag"]
        return _Verdict.RENEW if is_unchanged and has_new_etag else _Verdict.KEEP
    if result.get(COMPARED):
        before = (result[BEFORE_SHA256], result[BEFORE_ETAG])
        # An image that could not be read may not have changed: the row keeps describing the earlier bytes.
        if result["status"] != Status.FETCH_FAILED and (current["sha256"], current["etag"]) == before:
            return _Verdict.REPLACE
    if current["status"] == Status.OK:
        return _Verdict.KEEP
    is_better = result["status"] == Status.OK or result["attempts"] > current["attempts"]
    return _Verdict.REPLACE if is_better else _Verdict.KEEP


def _take_rows(rows: pa.Table, fresh: pa.Table, row_numbers: list[int]) -> pa.Table:
    schema = rows.schema.remove_metadata()
    all_rows = pa.concat_tables([rows.cast(schema), fresh.select(schema.names).cast(schema)])
    return all_rows.take(pa.array(row_numbers, pa.int64())).replace_schema_metadata(rows.schema.metadata)


def _renew_etags(rows: pa.Table, etags: Mapping[int, str | None]) -> pa.Table:
    if not etags:
        return rows
    column = [etags.get(number, etag) for number, etag in enumerate(rows["etag"].to_pylist())]
    index = rows.schema.get_field_index("etag")
    return rows.set_column(index, rows.schema.field(index), pa.array(column, pa.string()))


def merge_replaced(rows: pa.Table, replaced: pa.Table) -> pa.Table | None:
    """Return a merged part's rows with the changes made meanwhile in a part that it was merged from; None if none.

    A row's attempts grow with each replacement, so the larger number is the newer result. A failed result still never
    replaces a good one, unless it is about other bytes.
    """
    row_by_id = {image_id: number for number, image_id in enumerate(rows["image_id"].to_pylist())}
    facts = list_facts(rows)
    row_numbers = list(range(rows.num_rows))
    for number, result in enumerate(list_facts(replaced)):
        row = row_by_id.get(result["image_id"])
        if row is not None and _is_newer(result, facts[row]):
            row_numbers[row] = rows.num_rows + number
    return None if row_numbers == list(range(rows.num_rows)) else _take_rows(rows, replaced, row_numbers)


def _is_newer(result: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    if result["status"] == Status.OK != current["status"]:
        return True
    has_other_bytes = result["sha256"] is not None and result["sha256"] != current["sha256"]
    may_replace = result["status"] == Status.OK or current["status"] != Status.OK or has_other_bytes
    return bool(may_replace and result["attempts"] > current["attempts"])
