"""Wirelog: a real-time server for Django in which every record is durable before anyone sees it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .publishing import apublish, publish
    from .rpc_registry import rpc

__all__ = ["apublish", "publish", "rpc"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: Django imports this package before there are models.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import publishing, rpc_registry  # noqa: PLC0415

    return rpc_registry.rpc if name == "rpc" else getattr(publishing, name)
