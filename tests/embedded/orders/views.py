from django.contrib.auth import authenticate, login
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from realtime import publish

from .models import Order


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the shop")


def stock(request: HttpRequest) -> HttpResponse:
    return HttpResponse("of an API of its own")


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    login(request, authenticate(request, username=request.POST["name"], password=request.POST["password"]))
    return HttpResponse()


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    number = request.POST["number"]
    try:
        with transaction.atomic():
            # Before the row on purpose: if that fails the record was never there.
            published = publish("orders", {"number": number, "state": "placed"}, user=request.user, key=number)
            Order.objects.create(number=number)
    except IntegrityError:
        return HttpResponse("there is such an order", status=409)
    return HttpResponse(str(published.offset), status=201)


@require_POST
def paid(request: HttpRequest, number: str) -> HttpResponse:
    Order.objects.get(number=number).pay()
    return HttpResponse()
