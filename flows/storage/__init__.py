"""Files and objects by URL: in folders, in memory and in S3."""

from flows.storage.durable import sync_folder, write_durably
from flows.storage.globs import EVERYTHING, glob_filter
from flows.storage.identity import canonical_uri, path_below
from flows.storage.locations import PassedOver, StorageOptions, StoredObject
from flows.storage.locks import file_locked
from flows.storage.private import can_be_written, open_to_others, private_file, private_folder
from flows.storage.storage import Storage

__all__ = [
    "EVERYTHING",
    "PassedOver",
    "Storage",
    "StorageOptions",
    "StoredObject",
    "can_be_written",
    "canonical_uri",
    "file_locked",
    "glob_filter",
    "open_to_others",
    "path_below",
    "private_file",
    "private_folder",
    "sync_folder",
    "write_durably",
]
