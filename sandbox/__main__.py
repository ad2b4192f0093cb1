"""python -m sandbox: the sandbox as a server of its own, on 127.0.0.1."""

import argparse
import os


def main():
    options = read_options()
    set_environment(options)
    import django

    django.setup()
    prepare(options)
    introduce(options.port)
    serve(options.port)


def read_options():
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    port = int(os.environ.get("SANDBOX_PORT") or 8100)
    parser.add_argument("--port", type=int, default=port)
    parser.add_argument(
        "--api-key", action="append", metavar="KEY", help="let this key in; may be given again"
    )
    parser.add_argument("--block-seconds", type=int, help="mine a block so often; 0: by hand")
    parser.add_argument("--callback-url", help="where the demo store's callbacks go")
    return parser.parse_args()


def set_environment(options):
    os.environ["DJANGO_SETTINGS_MODULE"] = "sandbox.settings"
    if options.api_key:
        os.environ["SANDBOX_API_KEYS"] = ",".join(options.api_key)
    if options.block_seconds is not None:
        os.environ["SANDBOX_BLOCK_SECONDS"] = str(options.block_seconds)


def prepare(options):
    """The database, and the demo store unless it is there already; ends where a check fails."""
    from django.core.management import call_command
    from django.core.management.base import SystemCheckError

    from sandbox import conf
    from sandbox.models import Store

    try:
        call_command("migrate", verbosity=0, skip_checks=False)
    except SystemCheckError as error:
        raise SystemExit(str(error)) from None
    api_key = conf.api_keys()[0]
    url = options.callback_url
    if not url and not Store.objects.filter(account__api_key=api_key).exists():
        url = "http://127.0.0.1:8000/payments/callback/blockonomics?secret=change-me"
    if url:
        call_command("sandbox_setup", callback_url=url, api_key=api_key, verbosity=0)


def introduce(port):
    from sandbox import conf

    host = f"http://127.0.0.1:{port}"
    print(
        f"""The Blockonomics sandbox: no real money, no real network.

  console   {host}/
  API       {host}/api/…
  WebSocket ws://127.0.0.1:{port}/payment/<address>

  curl -X POST -d '' -H 'Authorization: Bearer {conf.api_keys()[0]}' '{host}/api/new_address'

Ctrl-C ends it.""",
        flush=True,
    )


def serve(port):
    # Imported this late because daphne chooses the event loop when it is imported.
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    from sandbox.asgi import application

    endpoints = build_endpoint_description_strings(host="127.0.0.1", port=port)
    Server(application=application, endpoints=endpoints, server_name="sandbox").run()


if __name__ == "__main__":
    main()
