from django.urls import path, re_path

from sandbox import api, console, control

app_name = "sandbox"

# With and without a closing slash: a redirect would lose the method and the body.
api_urlpatterns = [
    re_path(r"^api/new_address/?$", api.new_address, name="new_address"),
    re_path(r"^api/price/?$", api.price, name="price"),
    re_path(r"^api/currencies/?$", api.currencies, name="currencies"),
    re_path(r"^api/searchhistory/?$", api.searchhistory, name="searchhistory"),
    re_path(r"^api/balance/?$", api.balance, name="balance"),
    re_path(r"^api/tx_detail/?$", api.tx_detail, name="tx_detail"),
    re_path(r"^api/v2/stores/?$", api.stores, name="stores"),
    re_path(r"^api/v2/stores/(?P<store_id>[0-9]{1,18})/?$", api.store, name="store"),
    re_path(
        r"^api/v2/stores/(?P<store_id>[0-9]{1,18})/wallets/?$",
        api.store_wallets,
        name="store_wallets",
    ),
    re_path(
        r"^api/v2/stores/(?P<store_id>[0-9]{1,18})/wallets/(?P<wallet_id>[0-9]{1,18})/?$",
        api.store_wallet,
        name="store_wallet",
    ),
    re_path(r"^api/v2/wallets/?$", api.wallets, name="wallets"),
    re_path(r"^api/v2/wallets/(?P<wallet_id>[0-9]{1,18})/?$", api.wallet, name="wallet_detail"),
]

console_urlpatterns = [
    path("", console.wallet, name="wallet"),
    path("pay/", console.pay, name="pay"),
    path("chain/<slug:action>/", console.change_chain, name="change_chain"),
    path("explorer/", console.explorer, name="explorer"),
    path("address/<str:address>/", console.address, name="address"),
    path("transaction/<slug:txid>/", console.transaction, name="transaction"),
    path("callbacks/", console.callback_log, name="callback_log"),
    path("settings/", console.settings, name="settings"),
    path("settings/stores/", console.save_store, name="new_store"),
    path("settings/stores/<int:pk>/", console.save_store, name="edit_store"),
    path("settings/wallets/", console.add_wallet, name="new_wallet"),
]

urlpatterns = [
    *api_urlpatterns,
    *console_urlpatterns,
    re_path(r"^control/(?P<verb>[a-z_]+)/?$", control.control, name="control"),
]
