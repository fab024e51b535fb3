"""Results of rows that were worked on again, put into the parts that hold them.

By `publish.change_part`: the same rows, never fewer; `precedence.merged` says which of two results stays.

Many rows of one large part come in many units: each leaves its results under OUT/retried/, and they are put in
together (`put_back_staged`), so that the part is not rewritten for each.
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
    """Put the results of a unit into the parts that hold its rows, or leave them for `put_back_staged`.

    Args:
        store: The output folder.
        unit: Whose rows these are.
        rows: With the output's schema, then `BEFORE`; ``attempts`` counts those of this time alone, and the status of
            a row whose bytes are as they were is `KNOWN`.
        environment: In which they were made, see `footers.list_environments`.

    Raises:
        OutputError: The store refuses it.
    """
    attempts = pc.add(rows["attempts"], rows[BEFORE_ATTEMPTS])
    rows = rows.set_column(rows.schema.get_field_index("attempts"), rows.schema.field("attempts"), attempts)
    parts = rows[BEFORE_PART].to_pylist()
    for part in dict.fromkeys(parts):
        its_rows = rows.filter(pc.equal(rows[BEFORE_PART], part))
        its_rows = its_rows.filter(pa.array(map(_says_something, list_facts(its_rows)), pa.bool_()))
        if not its_rows.num_rows:
            continue
        if unit.is_staged:
            _stage(store, part, its_rows, environment)
        else:
            _put_into(store, part, its_rows, environment)


def _says_something(fresh: Mapping[str, Any]) -> bool:
    return bool(fresh["status"] != KNOWN or fresh["etag"] != fresh[BEFORE_ETAG])


def _put_into(store: Store, part: str, fresh: pa.Table, environment: str) -> None:
    # Who removes a part by hand wants its rows made anew: then these are not needed.
    change_part(
        store, part, lambda rows: merge_retried(rows, fresh), environment=environment, missing_ok=True
    )


def _stage(store: Store, part: str, rows: pa.Table, environment: str) -> None:
    sink = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({_ENVIRONMENT: environment}), sink, compression="zstd")
    name = f"{part.removesuffix('.parquet')}~{secrets.token_hex(8)}.parquet"
    store.create(f"{RETRIED_FOLDER}/{name}", sink.getvalue())


def apply_staged_retries(store: Store) -> set[str]:
    """Put in what units have left under `RETRIED_FOLDER`, also those of a run that was ended; return the parts.

    Raises:
        InputError: What they left cannot be read.
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
            same = [
                table
                for table in tables
                if (table.schema.metadata or {}).get(_ENVIRONMENT, b"") == environment
            ]
            _put_into(store, part, pa.concat_tables(same), environment.decode())
        for name in names:
            store.remove(name)
    return set(by_part)
