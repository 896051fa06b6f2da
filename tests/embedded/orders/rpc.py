from realtime import rpc
from realtime.access import Identity

from .models import Order


@rpc("orders.open")
def open_orders(identity: Identity) -> list[str]:
    return list(Order.objects.exclude(state="paid").values_list("number", flat=True))
