"""Forms are the shop's own, also for browsers that do not tell where a form stood."""

from django.middleware.csrf import REASON_NO_CSRF_COOKIE, CsrfViewMiddleware
from django.shortcuts import render


class FormGuard(CsrfViewMiddleware):
    """Django's, but silence about the origin is no guilt where the token is right.

    Extensions and settings make browsers send `Origin: null`, or no `Referer`. What another site
    sends comes without the cookie of the token (SameSite=Lax), which over https nobody but this
    host can set (`__Host-`); and browsers of today say themselves whether it is another site.
    """

    def _origin_verified(self, request):
        if request.META["HTTP_ORIGIN"] == "null":
            return not is_elsewhere(request)
        return super()._origin_verified(request)

    def _check_referer(self, request):
        if "HTTP_REFERER" not in request.META and not is_elsewhere(request):
            return
        super()._check_referer(request)


def refused(request, reason=""):
    """The page that names the true cause."""
    causes = {"no_cookie": reason == REASON_NO_CSRF_COOKIE, "wrong_token": "token" in reason}
    return render(request, "403_csrf.html", causes, status=403)


def is_elsewhere(request) -> bool:
    """Whether the browser says that another site, or another host of this one, sends the form."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
