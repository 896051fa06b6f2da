import uuid
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models, transaction

from realtime import publish


class Customers(BaseUserManager["Customer"]):
    def create_superuser(self, name: str, password: str) -> "Customer":
        customer: Customer = self.model(name=name, is_staff=True, is_superuser=True)
        customer.set_password(password)
        customer.save()
        return customer


class Customer(AbstractBaseUser, PermissionsMixin):
    """As little of a user as Django asks for, and unknown to the admin."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=20, unique=True)
    is_staff = models.BooleanField(default=False)

    objects: Any = Customers()

    USERNAME_FIELD = "name"


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
