from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.transaction import atomic

from sandbox import conf
from sandbox.models import Account, Store, check_callback_url

STORE_NAME = "Demo shop"
WALLET_NAME = "Demo wallet"


class Command(BaseCommand):
    help = "Makes sure that the demo's account, wallet and store exist. Running it twice is fine."

    def add_arguments(self, parser):
        parser.add_argument("--callback-url", required=True, help="with its secret, if any")
        parser.add_argument("--api-key", required=True, help="one of SANDBOX_API_KEYS")

        parser.add_argument("--gap-limit", type=int, help="of the wallet; else as in the settings")

    def handle(self, callback_url, api_key, gap_limit=None, verbosity=1, **options):
        if api_key not in conf.api_keys():
            raise CommandError("The sandbox does not let this key in. Add it to SANDBOX_API_KEYS.")
        try:
            check_callback_url(callback_url)
        except ValidationError as error:
            raise CommandError(f"--callback-url: {error.messages[0]}") from error
        set_up(api_key, callback_url, gap_limit)
        if verbosity:
            self.stdout.write(f'The store "{STORE_NAME}" is ready.')


@atomic
def set_up(api_key, callback_url, gap_limit=None):
    account, _ = Account.objects.get_or_create(api_key=api_key)
    wallet, _ = account.wallets.get_or_create(address=conf.xpub(), defaults={"name": WALLET_NAME})
    if gap_limit is not None:
        wallet.gap_limit = gap_limit
        wallet.save(update_fields=["gap_limit"])
    store = account.stores.filter(name=STORE_NAME).first()
    store = store or Store(account=account, name=STORE_NAME)
    store.wallet = wallet
    store.http_callback = callback_url
    store.save()
