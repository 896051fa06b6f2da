from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# What no page of ours asks for, so that none can be made to.
PERMISSIONS = "geolocation=(), microphone=(), midi=(), payment=(), usb=()"


def permissions_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return response

    return respond
