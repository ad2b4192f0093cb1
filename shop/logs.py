"""Keeping secrets out of the log."""

import logging
from urllib.parse import quote, quote_plus

from django.conf import settings


class NoSecrets(logging.Filter):
    """Blanks the shop's secrets wherever one slipped into a line: a URL, a traceback's message."""

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
        return text
