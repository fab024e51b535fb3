"""The clients of remote stores, behind one protocol: `open_client.StoreClient`.

    address -> `open_client.py` -> `object_stores.py`  s3://, az:// by obstore
                                -> `web.py`            http://, https:// by aiohttp, read only
                                -> `filesystems.py`    gs://, hf:// and everything else, by fsspec

A client raises the exceptions of its library; `storage.error_codes` says what they mean. It tries again only what the
job itself reads and writes; an image is fetched once, and `storage.fetch_file` repeats that.
"""
