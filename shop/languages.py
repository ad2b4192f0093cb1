"""In which language a page is: what the visitor chose, else what the browser asks for."""

from django.conf import settings
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

# Written for the merchant and for programs, in one language only: not half of a page in another.
UNTRANSLATED = ("/admin/", "/sandbox/", "/payments/callback/")

# Without a CSRF token: it changes a preference and nothing else, and browsers send `Origin: null`
# from invoice pages, which tell no other page where they are. It leads to no other site.
choose = csrf_exempt(require_POST(set_language))


class Languages(LocaleMiddleware):
    """Django's own, but for what has only one language: that neither varies nor says so."""

    def process_request(self, request):
        if not request.path_info.startswith(UNTRANSLATED):
            return super().process_request(request)
        translation.activate(settings.LANGUAGE_CODE)
        request.LANGUAGE_CODE = settings.LANGUAGE_CODE
        return None

    def process_response(self, request, response):
        is_page = response.get("Content-Type", "").startswith("text/html")
        if not is_page or request.path_info.startswith(UNTRANSLATED):
            return response
        patch_vary_headers(response, ["Cookie"])  # the one with the choice
        return super().process_response(request, response)
