"""The operator's pages: one module for each topic."""

from . import activity, keys, records, streams

__all__ = ["activity", "keys", "records", "streams"]
