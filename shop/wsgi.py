import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

application = get_wsgi_application()

from .startup import refuse_unless_sound  # noqa: E402  the apps must be loaded first

refuse_unless_sound()
