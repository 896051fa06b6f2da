from django.contrib import admin
from django.urls import path

from .orders import views

urlpatterns = [
    path("", views.home),
    path("admin/", admin.site.urls),
    path("api/stock/", views.stock),
    path("sign-in/", views.sign_in),
    path("orders/", views.place),
    path("orders/<str:number>/paid/", views.paid),
]
