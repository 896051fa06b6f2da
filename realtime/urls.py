from django.urls import path

from . import views

urlpatterns = [
    path("", views.streams, name="streams"),
    path("s/<str:name>/", views.stream, name="stream"),
    path("accounts/whoami/", views.whoami, name="whoami"),
    path("api/docs", views.api, name="api"),
    path("styleguide/", views.styleguide, name="styleguide"),
]
