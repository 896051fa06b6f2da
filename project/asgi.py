"""The application that both servers serve."""

import os

from django.core.asgi import get_asgi_application

from realtime.asgi import with_wirelog

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = with_wirelog(get_asgi_application())
