import hashlib
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from daphne.cli import CommandLineInterface
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils.text import slugify
from pictures.models import PictureFieldFile

from demo import goods
from payments import pictures, providers
from payments.models import Category, Picture, Product

MERCHANT = "merchant"
CATEGORIES = list(dict.fromkeys(good.category for good in goods.GOODS))
IMAGE = Picture._meta.get_field("image")
# One folder for each version of the recipes.
RECIPES = [Path(recipe.__file__).read_bytes() for recipe in (goods, pictures)]
VERSION = hashlib.sha256(b"".join(RECIPES)).hexdigest()[:12]
WORKSHOP = settings.BASE_DIR / "var" / "workshop" / VERSION
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
        self.stock_the_shelf()
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

    def stock_the_shelf(self, shelf=goods.GOODS):
        # The newest stands first on the shelf.
        for good in reversed(shelf):
            if Product.objects.filter(slug=good.slug).exists():
                continue
            full = self.made(good)
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
            product.file.save(good.filename, ContentFile(full), save=False)
            product.save()
            shutil.copytree(self.previews_of(good), settings.MEDIA_ROOT, dirs_exist_ok=True)
            for number, preview in enumerate(good.pictures):
                Picture.objects.create(
                    product=product, image=good.name(number), alt=preview.words, position=number
                )

    def made(self, good) -> bytes:
        """The good's file, made once: a fresh demo need not wait for the painter again."""
        kept = WORKSHOP / good.filename
        if not kept.exists():
            self.stdout.write(f"Making {good.title} …")
            self.stdout.flush()
            kept.parent.mkdir(parents=True, exist_ok=True)
            unfinished = kept.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(good.make())
            unfinished.rename(kept)
        return kept.read_bytes()

    def previews_of(self, good) -> Path:
        """A folder with the good's pictures in all their sizes, made once as well."""
        kept = WORKSHOP / good.slug
        if not kept.exists():
            unfinished = kept.with_suffix(f".{os.getpid()}")
            storage = FileSystemStorage(unfinished)
            for number, preview in enumerate(good.pictures):
                storage.save(good.name(number), ContentFile(preview.make(self.made(good))))
                file = PictureFieldFile(Picture(), IMAGE, good.name(number))
                file.storage = storage
                file.save_all()
            with suppress(OSError):  # another demo was quicker
                unfinished.rename(kept)
            shutil.rmtree(unfinished, ignore_errors=True)
        return kept

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
