"""Keeping secrets out of the log."""

import logging
import re
from urllib.parse import quote, quote_plus

from django.conf import settings

# Whoever has an invoice's key has the goods, and Django logs the path of each answer from 400 on.
INVOICE = re.compile(r"(/payments/invoice/|/ws/invoices/)[\w-]{32}")


class NoSecrets(logging.Filter):
    """Blanks secrets and invoices' keys wherever one slipped into a line: a URL, a traceback."""

    def filter(self, record):
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # words and arguments that do not fit
            message = f"{record.msg} {record.args}"
        record.msg, record.args = self.blank(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.blank(record.exc_text)
        return True

    def blank(self, text):
        secrets = [
            settings.SECRET_KEY,
            settings.BLOCKONOMICS_API_KEY,
            settings.BLOCKONOMICS_XPUB,
            *settings.BLOCKONOMICS_CALLBACK_SECRETS,
        ]
        for secret in filter(None, secrets):
            for spelling in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(spelling, "[secret]")
        return INVOICE.sub(r"\1[key]", text)
