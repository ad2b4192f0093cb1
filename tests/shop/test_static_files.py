"""While a new release replaces an old one, pages of both keep their style."""

import pytest
from django.http import HttpResponse

from shop.static_files import StaticFiles

pytestmark = pytest.mark.django_db  # a response that is closed looks after connections


@pytest.fixture
def serve(settings, tmp_path, rf):
    """One process over a folder of files; it began when the folder was empty but for one."""
    settings.DEBUG, settings.STATIC_ROOT = False, tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    (settings.STATIC_ROOT / "shop.0123456789ab.css").write_text("old {}")
    (tmp_path / "secret.txt").write_text("not static")
    process = StaticFiles(lambda request: HttpResponse(status=404))

    def serve(name):
        answer = process(rf.get(f"/static/{name}"))
        content = b"".join(answer.streaming_content) if answer.streaming else b""
        answer.close()
        return answer.status_code, content

    return serve


def test_a_process_serves_what_came_after_it_began(serve, settings):
    assert serve("shop.ba9876543210.css") == (404, b"")

    (settings.STATIC_ROOT / "shop.ba9876543210.css").write_text("new {}")

    assert serve("shop.ba9876543210.css") == (200, b"new {}")
    assert serve("shop.0123456789ab.css") == (200, b"old {}")


@pytest.mark.parametrize(
    "name", ["../secret.txt", "..%2fsecret.txt", "", "nowhere/", "%00", "a" * 900]
)
def test_nothing_else_is_served(serve, name):
    assert serve(name)[0] == 404
