from django.db import models, transaction

from realtime import publish


class Order(models.Model):
    number = models.CharField(max_length=20, unique=True)
    state = models.CharField(max_length=20, default="placed")

    objects: models.Manager["Order"] = models.Manager()

    def __str__(self) -> str:
        return self.number

    def pay(self) -> None:
        with transaction.atomic():
            self.state = "paid"
            self.save()
            publish("orders", {"number": self.number, "state": self.state}, key=self.number)
