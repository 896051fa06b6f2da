from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from project.users.views import ChangePassword
from realtime import first_run

urlpatterns = [
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/password_change/", ChangePassword.as_view(), name="password_change"),
    path("accounts/link/", first_run.signin_link, name="signin_link"),
    path("admin/", admin.site.urls),
    path("", include("realtime.urls")),
]
