"""The buttons beside a transaction, and "Mine a block"."""

from django.http import Http404
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from sandbox import chain
from sandbox.console.wallet import back_to_wallet


@never_cache
@require_POST
def change_chain(request, action):
    """The buttons beside a transaction, and "Mine a block". Each leads back to where it was."""
    txid = request.POST.get("txid", "")
    try:
        said, txid = CHAIN_ACTIONS[action](txid)
    except KeyError:
        raise Http404(action) from None
    except chain.ChainError as error:
        return render(request, "sandbox/problem.html", {"problem": error}, status=409)
    came_from = request.POST.get("from", "")
    if came_from == "transaction" and txid:
        return redirect(f"{reverse('sandbox:transaction', args=[txid])}?said={said}")
    if came_from in ("explorer", "callback_log"):
        return redirect(f"{reverse(f'sandbox:{came_from}')}?said={said}")
    return back_to_wallet(request, said, txid)


def mine_a_block(txid):
    chain.mine(1)
    return "mined", txid


def replace_same(txid):
    return "replaced", chain.replace(txid).txid


def take_back(txid):
    return "taken_back", chain.take_back(txid).txid


def drop(txid):
    chain.drop(txid)
    return "dropped", txid


CHAIN_ACTIONS = {
    "mine": mine_a_block,
    "replace": replace_same,
    "take-back": take_back,
    "drop": drop,
}
