"""Files and objects by URL: in folders, in memory and in S3."""

from flows.storage.globs import glob_filter
from flows.storage.locations import StorageOptions
from flows.storage.storage import Storage

__all__ = ["Storage", "StorageOptions", "glob_filter"]
