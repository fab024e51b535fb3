"""Merge the results of retried rows into the parts that hold those rows.

`publish.change_part` replaces the part: the same rows, never fewer. `precedence.merge_retried` decides which of two
results stays.

If a large part has many retried rows, they are in several units. Each unit then writes its results to OUT/retried/, and
`apply_staged_retries` merges them together, so that the part is not rewritten for each unit.
"""

import io
import secrets
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch.columns import BEFORE_ATTEMPTS, BEFORE_ETAG, BEFORE_PART, KNOWN
from mogface_batch.output.layout import ENVIRONMENT, RETRIED_FOLDER
from mogface_batch.output.precedence import list_facts, merge_retried
from mogface_batch.output.publish import change_part, read_part
from mogface_batch.output.retry_units import RetryUnit
from mogface_batch.storage import Store

_ENVIRONMENT = ENVIRONMENT.encode()


def apply_retry(store: Store, unit: RetryUnit, rows: pa.Table, environment: str) -> None:
    """Merge the results of a unit into the parts that hold its rows, or stage them for `apply_staged_retries`.

    Args:
        store: The output folder.
        unit: The unit of these rows.
        rows: With the output's schema, followed by `BEFORE`; ``attempts`` counts only those of this run, and a row whose
            bytes are unchanged has the status `KNOWN`.
        environment: The one in which they were made, see `footers.list_environments`.

    Raises:
        OutputError: The store refuses it.
    """
    attempts = pc.add(rows["attempts"], rows[BEFORE_ATTEMPTS])
    rows = rows.set_column(rows.schema.get_field_index("attempts"), rows.schema.field("attempts"), attempts)
    parts = rows[BEFORE_PART].to_pylist()
    for part in dict.fromkeys(parts):
        part_rows = rows.filter(pc.equal(rows[BEFORE_PART], part))
        part_rows = part_rows.filter(pa.array(map(_has_news, list_facts(part_rows)), pa.bool_()))
        if not part_rows.num_rows:
            continue
        if unit.is_staged:
            _stage(store, part, part_rows, environment)
        else:
            _merge_into_part(store, part, part_rows, environment)


def _has_news(fresh: Mapping[str, Any]) -> bool:
    return bool(fresh["status"] != KNOWN or fresh["etag"] != fresh[BEFORE_ETAG])


def _merge_into_part(store: Store, part: str, fresh: pa.Table, environment: str) -> None:
    # A part that somebody has removed is made again as a whole, so these results are not needed.
    change_part(
        store, part, lambda rows: merge_retried(rows, fresh), environment=environment, missing_ok=True
    )


def _stage(store: Store, part: str, rows: pa.Table, environment: str) -> None:
    sink = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({_ENVIRONMENT: environment}), sink, compression="zstd")
    name = f"{part.removesuffix('.parquet')}~{secrets.token_hex(8)}.parquet"
    store.create(f"{RETRIED_FOLDER}/{name}", sink.getvalue())


def apply_staged_retries(store: Store) -> set[str]:
    """Merge the results under `RETRIED_FOLDER`, also those of an interrupted run; return the changed parts.

    Raises:
        InputError: A staged file cannot be read.
        OutputError: The store refuses it.
    """
    by_part: dict[str, list[str]] = {}
    for name in store.list_names(RETRIED_FOLDER):
        part, tilde, _ = name.rpartition("~")
        if tilde:
            by_part.setdefault(f"{part}.parquet", []).append(f"{RETRIED_FOLDER}/{name}")
    for part, names in by_part.items():
        contents = [(name, store.read(name)) for name in names]
        tables = [
            read_part(content, store.build_address(name)) for name, content in contents if content is not None
        ]
        for environment in {(table.schema.metadata or {}).get(_ENVIRONMENT, b"") for table in tables}:
            tables_of_it = [
                table
                for table in tables
                if (table.schema.metadata or {}).get(_ENVIRONMENT, b"") == environment
            ]
            _merge_into_part(store, part, pa.concat_tables(tables_of_it), environment.decode())
        for name in names:
            store.remove(name)
    return set(by_part)
