"""Files and objects by URL: in folders, in memory and in S3."""

from flows.storage.globs import glob_filter
from flows.storage.locations import StorageOptions
from flows.storage.private import open_to_others, private_file, private_folder
from flows.storage.storage import Storage

__all__ = ["Storage", "StorageOptions", "glob_filter", "open_to_others", "private_file", "private_folder"]
