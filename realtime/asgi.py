"""For the `asgi.py` of a project:

from realtime.asgi import with_wirelog

application = with_wirelog(get_asgi_application())
"""

from typing import Any


def with_wirelog(application: Any) -> Any:
    """Wirelog and, behind it, the `application` of the project: Django's, or a router that has sockets of its own."""
    from .routing import Application  # noqa: PLC0415 there are models only after get_asgi_application()

    return Application(application)
