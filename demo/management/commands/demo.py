import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from daphne.cli import CommandLineInterface
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files import File
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils.text import slugify

from catalogue.models import Category, Picture, Product
from demo.goods import GOODS
from payments import providers

MERCHANT = "merchant"
CATEGORIES = list(dict.fromkeys(good.category for good in GOODS))
WELCOME = """
The shop         {site}/
The desk         {site}/admin/      (merchant / merchant)
The sandbox      {site}/sandbox/    (a wallet and a chain to play with)

Ctrl-C ends it. `make demo` again keeps the data, `make demo FRESH=1` begins anew.
"""


class Command(BaseCommand):
    help = "Sets up the demo shop with its goods and its merchant, and serves it."

    def add_arguments(self, parser):
        parser.add_argument("--fresh", action="store_true", help="begin anew, without the old data")
        parser.add_argument("--watch", action="store_true", help="run the watcher as well")

    def handle(self, fresh, watch, **options):
        if not settings.SANDBOX:
            raise CommandError("The demo needs the sandbox: set SANDBOX=true.")
        self.find_the_port_free()
        if fresh:
            shutil.rmtree(settings.DATA_DIR)
            settings.STATIC_ROOT.mkdir(parents=True)
        call_command("migrate", verbosity=0)
        self.stock_the_catalogue()
        self.hire_the_merchant()
        # What a merchant does in the Blockonomics dashboard: a store with this callback URL.
        call_command(
            "sandbox_setup",
            callback_url=providers.get("blockonomics").callback_url(),
            api_key=settings.BLOCKONOMICS_API_KEY,
            gap_limit=500,  # visitors of a demo leave many orders unpaid
            verbosity=0,
        )
        self.stdout.write(WELCOME.format(site=settings.SITE_URL))
        self.stdout.flush()
        with ExitStack() as companions:
            companions.enter_context(companion("worker"))
            companions.enter_context(companion("reconcile", "--loop"))
            if watch:
                companions.enter_context(companion("watch_payments"))
            self.serve()

    def find_the_port_free(self):
        """Before anything is done: another demo may be running on the same data."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((urlsplit(settings.SITE_URL).hostname, port()))
            except OSError as error:
                raise CommandError(
                    f"Port {port()} is taken. Take another one: PORT={port() + 1} make demo"
                ) from error

    def stock_the_catalogue(self, goods=GOODS):
        # The newest stands first in the catalogue.
        for good in reversed(goods):
            if Product.objects.filter(slug=good.slug).exists():
                continue
            category, _ = Category.objects.get_or_create(
                slug=slugify(good.category),
                defaults={"title": good.category, "position": CATEGORIES.index(good.category)},
            )
            product = Product(
                slug=good.slug,
                title=good.title,
                description=good.description,
                price=good.price,
                category=category,
            )
            with good.file.open("rb") as file:
                product.file.save(good.file.name, File(file), save=False)
                product.save()
            for number, preview in enumerate(good.pictures):
                picture = Picture(product=product, alt=preview.alt, position=number)
                with preview.file.open("rb") as file:
                    picture.image.save(f"{good.slug}-{preview.file.name}", File(file))

    def hire_the_merchant(self):
        users = get_user_model().objects
        if not users.filter(username=MERCHANT).exists():
            users.create_superuser(MERCHANT, password=MERCHANT)

    def serve(self):
        # No access log: it would write down the callback's secret with every URL.
        CommandLineInterface().run(
            [
                *["--bind", urlsplit(settings.SITE_URL).hostname, "--port", str(port())],
                *["--verbosity", "0", "--no-server-name"],
                *["--websocket-max-message-size", "4096", "--websocket-max-frame-size", "4096"],
                "shop.asgi:application",
            ]
        )


def port() -> int:
    return urlsplit(settings.SITE_URL).port or 80


@contextmanager
def companion(*command):
    """Runs another command of the shop beside the server, and ends it with the server."""
    # In a demo nobody waits an hour to see that a payment is gone.
    environment = {**os.environ, "DROP_AFTER_MINUTES": "1"}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "manage.py", *command, "--parent", str(os.getpid())], env=environment
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
