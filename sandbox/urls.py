from django.urls import path, re_path

from sandbox import control
from sandbox.blockonomics import endpoint, lookup, receiving, stores
from sandbox.console import actions, explorer, settings, wallet

app_name = "sandbox"

# With and without a closing slash: a redirect would lose the method and the body.
api_urlpatterns = [
    re_path(r"^api/new_address/?$", receiving.new_address, name="new_address"),
    re_path(r"^api/price/?$", receiving.price, name="price"),
    re_path(r"^api/currencies/?$", receiving.currencies, name="currencies"),
    re_path(r"^api/searchhistory/?$", lookup.searchhistory, name="searchhistory"),
    re_path(r"^api/balance/?$", lookup.balance, name="balance"),
    re_path(r"^api/tx_detail/?$", lookup.tx_detail, name="tx_detail"),
    re_path(r"^api/tx/?$", lookup.tx, name="tx"),
    re_path(r"^api/v2/stores/?$", stores.stores, name="stores"),
    re_path(r"^api/v2/stores/(?P<store_id>[0-9]{1,18})/?$", stores.store, name="store"),
    re_path(
        r"^api/v2/stores/(?P<store_id>[0-9]{1,18})/wallets/?$",
        stores.store_wallets,
        name="store_wallets",
    ),
    re_path(
        r"^api/v2/stores/(?P<store_id>[0-9]{1,18})/wallets/(?P<wallet_id>[0-9]{1,18})/?$",
        stores.store_wallet,
        name="store_wallet",
    ),
    re_path(r"^api/v2/wallets/?$", stores.wallets, name="wallets"),
    re_path(r"^api/v2/wallets/(?P<wallet_id>[0-9]{1,18})/?$", stores.wallet, name="wallet_detail"),
    re_path(r"^api(?:/.*)?$", endpoint.unknown),
]

console_urlpatterns = [
    path("", wallet.wallet, name="wallet"),
    path("pay/", wallet.pay, name="pay"),
    path("chain/<slug:action>/", actions.change_chain, name="change_chain"),
    path("explorer/", explorer.explorer, name="explorer"),
    path("address/<str:address>/", explorer.address, name="address"),
    path("transaction/<slug:txid>/", explorer.transaction, name="transaction"),
    path("callbacks/", explorer.callback_log, name="callback_log"),
    path("settings/", settings.settings, name="settings"),
    path("settings/stores/", settings.save_store, name="new_store"),
    path("settings/stores/<int:pk>/", settings.save_store, name="edit_store"),
    path("settings/wallets/", settings.add_wallet, name="new_wallet"),
]

urlpatterns = [
    *api_urlpatterns,
    *console_urlpatterns,
    re_path(r"^control/(?P<verb>[a-z_]+)/?$", control.control, name="control"),
]
