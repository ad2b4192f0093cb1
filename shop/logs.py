"""Keeping secrets out of the log."""

import logging

from django.conf import settings


class NoSecrets(logging.Filter):
    """Blanks the shop's secrets wherever one slipped into a line: a URL, a traceback's message."""

    def filter(self, record):
        message = record.getMessage()
        for secret in self._secrets():
            message = message.replace(secret, "[secret]")
        record.msg, record.args = message, None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            for secret in self._secrets():
                record.exc_text = record.exc_text.replace(secret, "[secret]")
        return True

    def _secrets(self):
        known = [settings.BLOCKONOMICS_API_KEY, *settings.BLOCKONOMICS_CALLBACK_SECRETS]
        return [secret for secret in [*known, settings.SECRET_KEY] if secret]
