"""What every provider keeps to, whatever its service: at the border, and through the shop.

A test module subclasses `AtTheBorder` and `ThroughTheShop` and has a fixture `fake` of a class
like `FakeService`, which plays the company at the other end of the wire.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django.core.checks import CheckMessage
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db import OperationalError
from django.test import RequestFactory
from django.utils import timezone

from payments import checkout, ingestion, providers, settling
from payments.models import Callback, Delivery, Event, Invoice, Line, Transaction
from payments.models.callback import storable
from payments.providers import base

ORDER = base.PaymentOrder(
    order_code="ABCD-1234",
    token="a-token-of-this-one-attempt",
    total=Decimal("49.99"),
    currency="USD",
    lines=(base.OrderLine("Mountain", 1, Decimal("49.99")),),
)
# A service in trouble: an exception in place of an answer, or status and body of it.
TROUBLE = [
    requests.ConnectionError("refused"),
    requests.ReadTimeout("slow"),
    (500, ""),
    (503, "<h1>Maintenance</h1>"),
    (429, "slow down"),
    (302, ""),
    (200, ""),
    (200, "no JSON"),
    (200, "[7]"),
    (200, "{}"),
    (200, "[" * 50_000),
    (200, "x" * 100_000),
]


@dataclass(frozen=True)
class Call:
    """A callback as it stands on the wire."""

    method: str = "GET"
    query: str = ""
    body: bytes = b""
    content_type: str = "application/octet-stream"
    headers: dict = field(default_factory=dict)

    def by(self, sender, slug: str):
        """Sends it by a client, or makes a request of it by a factory."""
        path = f"/payments/callback/{slug}?{self.query}"
        return sender.generic(self.method, path, self.body, self.content_type, headers=self.headers)


class FakeService:
    """What a provider's tests have to play for it: the company, and its callbacks."""

    slug: str
    # What must be in no error and in no stored text; they are set in the settings.
    secrets: list[str]

    def is_told(self, answer):
        """Answers every question so from now on: an exception, or (status, body)."""
        raise NotImplementedError

    def refusal(self, words: str) -> tuple[int, str]:
        """A clear no in the service's own shape, with these words in it."""
        raise NotImplementedError

    def recovers(self):
        """Answers as usual again."""
        raise NotImplementedError

    def is_paid(self, reference: str, transaction_id: str, amount: int):
        """Somebody pays; the service knows it from now on, confirmed as deep as it gets."""
        raise NotImplementedError

    def transaction_id(self, number: int) -> str:
        """Some id of a payment."""
        raise NotImplementedError

    def steps(self, reference: str, transaction_id: str, amount: int) -> list[Call]:
        """The callbacks of one payment, from the first that tells of it to the final one."""
        raise NotImplementedError

    def forgeries(self, call: Call) -> list[Call]:
        """The same said by those who do not know the secret."""
        raise NotImplementedError

    def malformed(self) -> list[Call]:
        """What comes from the service and makes no sense all the same."""
        raise NotImplementedError

    def beside_the_point(self, reference: str) -> list[Call]:
        """What is well said and about no payment that the shop could count."""
        raise NotImplementedError

    def forget_settings(self):
        """Sets nothing of what the provider needs."""
        raise NotImplementedError

    def message(self, reference: str, transaction_id: str, amount: int) -> str:
        """A socket's message of a final payment; for providers that push."""
        raise NotImplementedError

    # A destination that is right; for providers whose refunds are sent by hand.
    destination: str


class Contract:
    """What both halves need."""

    @pytest.fixture
    def provider(self, fake):
        return providers.get(fake.slug)

    @pytest.fixture
    def holds_no_secret(self, fake):
        def look(*texts):
            for secret in fake.secrets:
                assert secret not in " ".join(map(str, texts))

        return look


class AtTheBorder(Contract):
    """The provider alone: no database, no shop."""

    @pytest.fixture
    def started(self, fake, provider):
        return provider.start(ORDER)

    @pytest.fixture
    def steps(self, fake, started):
        return fake.steps(started.reference, fake.transaction_id(1), started.due)

    @pytest.fixture
    def authentic(self, provider):
        def authentic(call: Call) -> base.AuthenticCallback:
            return provider.authenticate(call.by(RequestFactory(), provider.slug))

        return authentic

    # Who it is

    def test_it_has_a_name_for_rows_one_for_people_and_one_for_its_templates(self, provider):
        assert providers.PROVIDERS[provider.slug].endswith(type(provider).__name__)
        assert len(provider.slug) <= Callback._meta.get_field("provider").max_length
        assert provider.label and provider.family

    def test_it_is_configured_only_with_settings(self, fake, provider):
        assert provider.is_configured() is True

        fake.forget_settings()

        assert providers.get(fake.slug).is_configured() is False

    # A payment is asked for

    def test_a_start_tells_where_what_and_how_much(self, started):
        assert 0 < len(started.reference) <= 255
        assert isinstance(started.due, int) and started.due > 0
        assert isinstance(started.rate, Decimal) and started.rate > 0
        assert started.expires_at is None or started.expires_at > timezone.now()
        assert started.redirect_url == "" or started.redirect_url.startswith("https://")

    def test_what_is_due_covers_the_total_and_one_less_would_not(self, started):
        asset = started.asset

        assert asset.to_fiat(started.due, started.rate) >= ORDER.total
        assert asset.to_fiat(started.due - 1, started.rate) < ORDER.total

    def test_two_orders_get_two_references(self, provider, started):
        assert provider.start(replace(ORDER, token="another")).reference != started.reference

    @pytest.mark.parametrize("trouble", TROUBLE, ids=lambda each: str(each)[:30])
    def test_trouble_of_the_service_is_worth_another_try(
        self, fake, provider, started, trouble, holds_no_secret
    ):
        fake.is_told(trouble)

        for question in (lambda: provider.start(ORDER), lambda: provider.look_up("x" * 30)):
            with pytest.raises(base.ProviderUnavailable) as caught:
                question()
            assert str(caught.value) and str(caught.value.explanation)
            holds_no_secret(caught.value, caught.value.explanation)

        fake.recovers()
        assert provider.start(ORDER).reference

    def test_a_clear_no_is_a_refusal_that_repeats_no_secret(self, fake, provider, holds_no_secret):
        fake.is_told(fake.refusal(f"not with {' or '.join(fake.secrets)}"))

        for question in (lambda: provider.start(ORDER), lambda: provider.look_up("x" * 30)):
            with pytest.raises(base.ProviderRefused) as caught:
                question()
            assert str(caught.value) and str(caught.value.explanation)
            holds_no_secret(caught.value, caught.value.explanation)

    def test_giving_up_a_reference_never_raises(self, fake, provider, started):
        assert provider.close(started.reference) is None
        fake.is_told((500, ""))
        assert provider.close(started.reference) is None

    # It calls back

    def test_the_last_callback_reports_a_final_payment(self, fake, provider, steps, authentic):
        (report,) = provider.parse(authentic(steps[-1]))

        assert report.transaction_id == fake.transaction_id(1)
        assert report.is_final and not report.is_replaceable

    def test_every_callback_reports_the_same_payment_ever_deeper(
        self, provider, started, steps, authentic
    ):
        reports = [report for call in steps for report in provider.parse(authentic(call))]

        assert {(each.reference, each.amount) for each in reports} == {
            (started.reference, started.due)
        }
        depths = [(each.confirmations, each.is_final) for each in reports]
        assert depths == sorted(set(depths))

    def test_a_forged_callback_is_turned_away(self, fake, steps, authentic, holds_no_secret):
        for forgery in fake.forgeries(steps[-1]):
            with pytest.raises((PermissionDenied, BadRequest)) as caught:
                authentic(forgery)
            holds_no_secret(caught.value)

    def test_a_method_that_the_service_never_uses_is_turned_away(self, steps, authentic):
        for method in {"GET", "POST", "PUT", "HEAD", "DELETE"} - {steps[-1].method}:
            with pytest.raises(base.MethodNotAllowed) as caught:
                authentic(replace(steps[-1], method=method))
            assert steps[-1].method in caught.value.allowed

    def test_a_malformed_callback_makes_no_sense(self, fake, provider, authentic, holds_no_secret):
        for call in fake.malformed():
            with pytest.raises(BadRequest) as caught:
                provider.parse(authentic(call))
            holds_no_secret(caught.value)

    def test_what_is_about_something_else_is_not_applicable(
        self, fake, provider, started, authentic
    ):
        for call in fake.beside_the_point(started.reference):
            with pytest.raises(base.NotApplicable):
                provider.parse(authentic(call))

    def test_a_stored_callback_is_parsed_again_from_its_text_alone(
        self, fake, steps, authentic, holds_no_secret
    ):
        for call in steps:
            content = authentic(call)
            stored = base.AuthenticCallback(storable(content.query), storable(content.body))
            fake.is_told((500, ""))

            again = [providers.get(fake.slug).parse(stored) for _ in range(2)]

            fake.recovers()
            assert again == [providers.get(fake.slug).parse(content)] * 2
            holds_no_secret(stored.query, stored.body)

    @pytest.mark.parametrize("result", [base.Result.RECORDED, base.Result.KNOWN])
    def test_what_the_shop_has_is_acknowledged(self, provider, steps, authentic, result):
        outcomes = [
            base.Outcome(report, result, is_final=True)
            for report in provider.parse(authentic(steps[-1]))
        ]

        assert provider.acknowledge(outcomes).status_code == 200

    # It is asked

    def test_nothing_was_paid_to_a_new_reference(self, provider, started):
        assert list(provider.look_up(started.reference)) == []

    def test_a_look_up_finds_what_the_callbacks_told(
        self, fake, provider, started, steps, authentic
    ):
        fake.is_paid(started.reference, fake.transaction_id(1), started.due)

        assert provider.look_up(started.reference) == provider.parse(authentic(steps[-1]))

    # What only some can do

    def ability(self, provider, kind: type):
        if not isinstance(provider, kind):
            pytest.skip(f"{provider.slug} has no such ability")
        return provider

    def test_a_price_that_moves_is_known_without_asking_once_it_was_asked_for(self, fake, provider):
        market = self.ability(provider, base.PricesInMarket)

        assert market.cached_rate("USD") is None
        rate = market.market_rate("USD")
        assert isinstance(rate, Decimal) and rate > 0
        fake.is_told((500, ""))
        assert market.cached_rate("USD") == rate
        assert market.asset.to_units(Decimal(1), rate) > 0

    def test_a_price_that_cannot_be_had_is_trouble(self, fake, provider):
        market = self.ability(provider, base.PricesInMarket)
        fake.is_told((500, ""))

        assert market.cached_rate("USD") is None
        with pytest.raises(base.ProviderUnavailable):
            market.market_rate("USD")

    def test_balances_are_what_came_and_nothing_where_nothing_came(self, fake, provider, started):
        able = self.ability(provider, base.ReportsBalances)
        other = provider.start(replace(ORDER, token="another")).reference
        fake.is_paid(started.reference, fake.transaction_id(1), 400)
        fake.is_paid(started.reference, fake.transaction_id(2), 30)

        assert able.balances([started.reference, other]) == {started.reference: 430, other: 0}
        fake.is_told((500, ""))
        with pytest.raises(base.ProviderUnavailable):
            able.balances([started.reference])

    def test_one_payment_is_found_and_an_unknown_one_is_not(self, fake, provider, started):
        able = self.ability(provider, base.FindsTransactions)
        known, unknown = fake.transaction_id(1), fake.transaction_id(2)
        fake.is_paid(started.reference, known, started.due)

        assert [able.find_transaction(started.reference, known)] == able.look_up(started.reference)
        assert able.find_transaction(started.reference, unknown) is None
        fake.is_told((500, ""))
        with pytest.raises(base.ProviderUnavailable):
            able.find_transaction(started.reference, known)

    def test_a_socket_says_the_same_as_a_callback_and_nonsense_says_nothing(
        self, fake, provider, started, steps, authentic
    ):
        able = self.ability(provider, base.PushesBySocket)
        reference, nonsense = started.reference, ["", "no JSON", "[]", "{}", "null", "[" * 9_000]
        said = fake.message(reference, fake.transaction_id(1), started.due)

        assert able.socket_url(reference).startswith(("ws://", "wss://"))
        assert [able.parse_message(reference, said)] == able.parse(authentic(steps[-1]))
        assert [able.parse_message(reference, text) for text in nonsense] == [None] * len(nonsense)

    def test_a_refund_by_hand_goes_to_a_clean_destination(self, fake, provider):
        able = self.ability(provider, base.RefundsByHand)
        clean = able.clean_destination(fake.destination)

        assert able.clean_destination(clean) == clean
        assert clean in able.refund_uri(clean, 1_000, "Refund of ABCD-1234")
        assert able.clean_transaction_id(fake.transaction_id(1)) == fake.transaction_id(1)
        for clean_up in (able.clean_destination, able.clean_transaction_id):
            with pytest.raises(ValidationError):
                clean_up("nonsense")

    def test_the_pause_between_look_ups_is_a_number_of_seconds(self, provider):
        assert self.ability(provider, base.LimitsLookUps).seconds_between_look_ups >= 0

    def test_the_gap_limit_is_a_number_and_trouble_is_trouble(self, fake, provider):
        able = self.ability(provider, base.LimitsUnusedAddresses)

        assert able.gap_limit() > 0
        assert able.service
        fake.is_told((500, ""))
        with pytest.raises(base.ProviderUnavailable):
            able.gap_limit()

    def test_a_diagnosis_tells_what_works_and_never_raises(self, fake, provider):
        able = self.ability(provider, base.Diagnoses)
        findings = list(able.diagnose("USD", lambda credential: None))

        assert all(isinstance(works, bool) and finding for works, finding in findings)
        fake.is_told((500, ""))
        assert not all(works for works, _ in able.diagnose("USD", lambda credential: None))

    def test_missing_settings_are_told_at_the_start(self, fake, provider, holds_no_secret):
        able = self.ability(provider, base.ChecksSettings)
        found = [*able.check_settings(), *able.check_deployment()]

        assert all(isinstance(each, CheckMessage) and each.hint for each in found)
        holds_no_secret(*found)
        fake.forget_settings()
        assert any(each.is_serious() for each in providers.get(fake.slug).check_settings())


@pytest.mark.django_db
class ThroughTheShop(Contract):
    """The provider in the shop: what becomes of an invoice, whatever befalls its callbacks."""

    @pytest.fixture
    def invoice(self, fake, provider, make_product) -> Invoice:
        return checkout.place_order([Line(make_product(price="49.99"), 1)], provider)

    @pytest.fixture
    def steps(self, fake, invoice) -> list[Call]:
        attempt = invoice.attempt
        return fake.steps(attempt.reference, fake.transaction_id(1), attempt.due)

    @pytest.fixture
    def send(self, fake, client):
        def send(*calls: Call) -> list[int]:
            return [call.by(client, fake.slug).status_code for call in calls]

        return send

    @staticmethod
    def assert_paid_once(invoice: Invoice):
        paid = Invoice.objects.get(pk=invoice.pk)
        assert (paid.settlement, paid.balance.excess) == ("paid", 0)
        assert Transaction.objects.of(paid).count() == 1
        assert Delivery.objects.filter(invoice=paid).count() == 1
        assert paid.timeline.filter(kind__in=["paid", "paid-late"]).count() == 1

    @staticmethod
    def assert_untouched(invoice: Invoice):
        assert Invoice.objects.get(pk=invoice.pk).settlement == "waiting"
        assert not Transaction.objects.exists()
        assert not Delivery.objects.exists()

    def outcomes(self) -> list[str]:
        return list(Callback.objects.order_by("pk").values_list("outcome", flat=True))

    def test_its_callbacks_pay_the_invoice_once(self, invoice, steps, send):
        assert set(send(*steps)) == {200}

        self.assert_paid_once(invoice)
        assert self.outcomes() == ["recorded"] * len(steps)

    def test_two_parts_pay_as_much_as_one(self, fake, invoice, send):
        reference, due = invoice.attempt.reference, invoice.attempt.due
        for number, part in enumerate([due // 3, due - due // 3]):
            assert not Delivery.objects.exists()
            assert set(send(*fake.steps(reference, fake.transaction_id(number), part))) == {200}

        assert Invoice.objects.get().settlement == "paid"
        assert Delivery.objects.count() == 1

    def test_a_forged_callback_changes_and_keeps_nothing(self, fake, invoice, steps, send):
        answers = send(*fake.forgeries(steps[-1]))

        assert answers and set(answers) <= {400, 403}
        assert self.outcomes() == []
        self.assert_untouched(invoice)

    def test_a_malformed_callback_is_kept_and_answered_400(self, fake, invoice, send):
        answers = send(*fake.malformed())

        assert answers and set(answers) == {400}
        assert self.outcomes() == ["malformed"] * len(answers)
        self.assert_untouched(invoice)

    def test_what_is_about_something_else_is_kept_and_acknowledged(self, fake, invoice, send):
        answers = send(*fake.beside_the_point(invoice.attempt.reference))

        assert set(answers) <= {200}
        assert self.outcomes() == ["not-applicable"] * len(answers)
        self.assert_untouched(invoice)

    def test_another_method_is_answered_405(self, fake, invoice, steps, client):
        response = replace(steps[-1], method="PUT").by(client, fake.slug)

        assert response.status_code == 405
        assert steps[-1].method in response["Allow"]
        self.assert_untouched(invoice)

    def test_an_unknown_reference_is_kept_and_acknowledged(self, fake, provider, invoice, send, db):
        stranger = provider.start(ORDER).reference

        assert set(send(*fake.steps(stranger, fake.transaction_id(1), 5))) == {200}

        assert set(self.outcomes()) == {"unknown"}
        self.assert_untouched(invoice)

    def test_hearing_everything_twice_changes_nothing(self, invoice, steps, send):
        def books() -> list:
            payments = Transaction.objects.defer("last_seen")
            facts = [{**vars(row), "_state": None} for row in payments]
            return [list(Event.objects.values()), facts, list(Invoice.objects.values())]

        send(*steps)
        before = books()

        assert set(send(*steps, *steps)) == {200}

        assert books() == before
        self.assert_paid_once(invoice)

    def test_hearing_it_in_the_wrong_order_pays_all_the_same(self, invoice, steps, send):
        assert set(send(*reversed(steps))) == {200}

        self.assert_paid_once(invoice)

    def test_money_that_comes_late_counts(self, invoice, steps, send, time_machine):
        late = invoice.expires_at + timedelta(hours=3)
        time_machine.move_to(late, tick=False)

        assert set(send(*steps)) == {200}

        self.assert_paid_once(invoice)
        assert Transaction.objects.get().late

    def test_while_the_database_is_away_it_is_asked_to_send_it_again(
        self, invoice, steps, send, monkeypatch
    ):
        def fails(**fields):
            raise OperationalError("database is locked")

        with monkeypatch.context() as broken:
            broken.setattr(Callback.objects, "create", fails)
            assert set(send(*steps)) == {503}
        self.assert_untouched(invoice)

        assert set(send(*steps)) == {200}
        self.assert_paid_once(invoice)

    def test_a_fault_of_ours_loses_nothing(self, provider, invoice, steps, send, monkeypatch):
        with monkeypatch.context() as broken:
            broken.setattr(settling, "settle", lambda *args: 1 / 0)
            assert send(steps[-1]) == [503]
        assert self.outcomes() == ["failed"]
        self.assert_untouched(invoice)

        assert send(steps[-1]) == [200]
        ingestion.process_again(Callback.objects.earliest("pk"), provider, by="clerk")

        assert self.outcomes() == ["known", "recorded"]
        self.assert_paid_once(invoice)

    def test_after_a_crash_before_the_judging_the_inbox_has_it(
        self, fake, provider, invoice, steps, send, monkeypatch
    ):
        def dies(*args, **more):
            raise SystemExit("the process ends here")

        with monkeypatch.context() as broken:
            broken.setattr(ingestion, "_process", dies)
            with pytest.raises(SystemExit):
                send(steps[-1])
        assert self.outcomes() == ["received"]
        self.assert_untouched(invoice)

        # The service is away, and only the stored text is there.
        fake.is_told((500, ""))
        ingestion.process_again(Callback.objects.get(), provider, by="clerk")

        assert self.outcomes() == ["recorded"]
        self.assert_paid_once(invoice)

    def test_when_all_callbacks_are_lost_a_look_up_finds_the_money(self, fake, provider, invoice):
        attempt = invoice.attempt
        fake.is_paid(attempt.reference, fake.transaction_id(1), attempt.due)

        for _ in range(2):
            history = provider.look_up(attempt.reference)
            ingestion.reconcile_history(provider, attempt, history, by="reconcile")

        self.assert_paid_once(invoice)

    def test_callbacks_after_a_look_up_tell_nothing_new(self, fake, provider, invoice, steps, send):
        attempt = invoice.attempt
        fake.is_paid(attempt.reference, fake.transaction_id(1), attempt.due)
        ingestion.reconcile_history(provider, attempt, provider.look_up(attempt.reference), "it")

        assert set(send(*steps)) == {200}

        assert set(self.outcomes()) == {"known"}
        self.assert_paid_once(invoice)

    def test_the_inbox_never_holds_a_secret(self, fake, steps, send, holds_no_secret):
        send(*steps, *fake.malformed())

        for callback in Callback.objects.all():
            holds_no_secret(callback.query, callback.body, callback.note)
