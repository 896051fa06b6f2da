import os

from django.core.asgi import get_asgi_application

from realtime.asgi import with_wirelog

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.embedded.settings")
application = with_wirelog(get_asgi_application())
