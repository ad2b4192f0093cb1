"""Styles and scripts, also those of another release that runs beside this one."""

import os

from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import MissingFileError


class StaticFiles(WhiteNoiseMiddleware):
    """Serves what has been put into STATIC_ROOT since this process began, too.

    While a new release replaces an old one, a page of the one may ask a process of the other. Their
    files have different names; so they stay side by side, as `collectstatic` leaves them.
    """

    def __call__(self, request):
        url = request.path_info
        is_new = url.startswith(self.static_prefix) and url not in self.files
        if is_new and not self.autorefresh and (found := self._put_there_since(url)):
            self.files[url] = found
        return super().__call__(request)

    def _put_there_since(self, url: str):
        root = os.path.join(self.static_root, "")
        path = root + url.removeprefix(self.static_prefix)
        if not self.url_is_canonical(url) or not self.path_is_child_of(path, root):
            return None
        try:
            return self.find_file_at_path(path, url)
        except (MissingFileError, IsADirectoryError, ValueError):
            return None
