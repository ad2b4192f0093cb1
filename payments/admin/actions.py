"""Actions of a list that ask for something first."""

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.template.response import TemplateResponse

CONFIRMED = "confirmed"


def filled_in(form_class, request, *args):
    """The form as it was sent, or an empty one while it has not been shown yet."""
    return form_class(*args, request.POST if CONFIRMED in request.POST else None)


def ask(admin, request, queryset, form, action: str, label: str, explanation: str):
    """The page that asks; what is sent from it calls the action again."""
    return TemplateResponse(
        request,
        "admin/payments/action.html",
        {
            **admin.admin_site.each_context(request),
            "title": label,
            "explanation": explanation,
            "opts": admin.opts,
            "rows": queryset,
            "form": form,
            "action": action,
            "confirmed": CONFIRMED,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        },
    )
