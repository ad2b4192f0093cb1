"""manage.py worker: what follows a commit is done, once, whatever dies meanwhile."""

import os
import signal
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from payments import ingestion, tasks, worker
from payments.models import BasketLine, Invoice, Mail
from payments.worker import Worker
from tests.conftest import report
from tests.live import PATIENCE_SECONDS, running, wait_until

TASKS = "/admin/django_tasks_database/dbtaskresult/"


@pytest.fixture
def sold(invoice, provider):
    """A paid invoice, whose mail to the merchant waits for the worker."""
    ingestion.record_report(provider, report(invoice, 1, invoice.attempt.due, 2))
    return invoice


@pytest.fixture
def broken_mail(monkeypatch):
    """A mail server that fails; the fixture's value counts how often it was asked."""
    asked = []

    def fail(self):
        asked.append(self.to)
        raise ConnectionRefusedError("the mail server is down")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    return asked


def only_task():
    return DBTaskResult.objects.get()


# The outbox


@pytest.mark.django_db(transaction=True)
def test_what_follows_is_written_in_the_transaction_that_causes_it(sold):
    assert {task.task_path for task in DBTaskResult.objects.all()} == {"payments.tasks.send_mail"}
    assert Mail.objects.get().kind == "sold"


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_nothing_to_do(invoice, provider):
    with pytest.raises(RuntimeError), transaction.atomic():
        ingestion.record_report(provider, report(invoice, 1, invoice.attempt.due, 2))
        assert DBTaskResult.objects.exists()
        raise RuntimeError("the process dies before the commit")

    assert not DBTaskResult.objects.exists()
    assert not Mail.objects.exists()
    assert Invoice.objects.get().settlement == "waiting"


def test_once_ends_when_nothing_is_due(sold):
    call_command("worker", "--once")

    assert only_task().status == "SUCCESSFUL"
    assert len(mail.outbox) == 1


def test_once_with_nothing_to_do_ends_at_once(db):
    call_command("worker", "--once")


def test_what_is_put_off_is_not_due_yet(sold, broken_mail):
    call_command("worker", "--once")
    call_command("worker", "--once")

    assert len(broken_mail) == 1


# Trying again


def test_what_fails_is_tried_again_with_growing_pauses(sold, broken_mail, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    pauses, task = [], only_task()
    while task.status != "FAILED":
        began = timezone.now()
        call_command("worker", "--once")
        task.refresh_from_db()
        if task.status == "READY":
            pauses.append(task.run_after - began)
            time_machine.move_to(task.run_after - timedelta(seconds=1), tick=False)
            call_command("worker", "--once")
            task.refresh_from_db()
            assert len(task.worker_ids) == len(pauses)
            time_machine.move_to(task.run_after, tick=False)

    assert pauses == worker.RETRY_AFTER == sorted(worker.RETRY_AFTER)
    assert broken_mail.count(["merchant@example.com"]) >= len(pauses) + 1
    assert len(task.worker_ids) == len(pauses) + 1


@pytest.fixture
def given_up(sold, broken_mail, time_machine):
    """A mail that was tried as often as it is ever tried."""
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    task = only_task()
    while task.status != "FAILED":
        Worker().work()
        time_machine.shift(timedelta(hours=6))
        task.refresh_from_db()
    return task


def test_what_failed_for_the_last_time_is_seen_at_the_desk(given_up, admin_client):
    listed = admin_client.get(TASKS, {"status": "FAILED"}).content.decode()
    page = admin_client.get(f"{TASKS}{given_up.pk}/change/").content.decode()

    assert "send_mail" in listed
    assert "the mail server is down" in listed
    assert "ConnectionRefusedError" in page
    assert "_save" not in page


def test_no_mail_tells_of_a_mail_that_could_not_be_sent(given_up, sold):
    assert set(sold.mails.values_list("kind", flat=True)) == {"sold"}


def test_what_failed_for_the_last_time_is_seen_at_its_invoice(given_up, sold):
    sold.refresh_from_db()

    assert sold.review == (
        "the mail “Something was sold” to merchant@example.com could not be sent"
    )
    assert sold.timeline.last().kind == "review"


def test_what_failed_for_the_last_time_is_logged(sold, broken_mail, time_machine, caplog):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    for _ in range(7):
        assert not caplog.records
        Worker().work()
        time_machine.shift(timedelta(hours=6))

    (line,) = caplog.records
    assert "send_mail failed for the last time: the mail server is down" in line.getMessage()


def test_the_merchant_has_it_tried_again(given_up, admin_client, monkeypatch):
    monkeypatch.undo()
    form = {"action": "try_again", "_selected_action": [given_up.pk]}

    admin_client.post(TASKS, form)
    call_command("worker", "--once")

    given_up.refresh_from_db()
    assert given_up.status == "SUCCESSFUL"
    assert any(message.subject.startswith("Sold") for message in mail.outbox)


def test_only_what_failed_is_tried_again(sold, admin_client):
    call_command("worker", "--once")

    admin_client.post(TASKS, {"action": "try_again", "_selected_action": [only_task().pk]})

    assert only_task().status == "SUCCESSFUL"


def test_who_may_only_look_has_nothing_tried_again(given_up, client, django_user_model):
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_dbtaskresult"))
    client.force_login(clerk)

    client.post(TASKS, {"action": "try_again", "_selected_action": [given_up.pk]})

    given_up.refresh_from_db()
    assert client.get(TASKS).status_code == 200
    assert given_up.status == "FAILED"


def test_nobody_makes_changes_or_deletes_a_task_at_the_desk(sold, admin_client):
    page = f"{TASKS}{only_task().pk}/"

    codes = [
        admin_client.post(path, {"post": "yes"}).status_code
        for path in (f"{TASKS}add/", f"{page}change/", f"{page}delete/")
    ]

    assert codes == [403] * 3


def test_a_task_that_no_longer_exists_is_a_failure_to_be_seen(db, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    tasks.alarm_merchant.enqueue("x")
    DBTaskResult.objects.update(task_path="payments.tasks.gone")

    for _ in range(7):
        Worker().work()
        time_machine.shift(timedelta(hours=6))

    assert only_task().status == "FAILED"
    assert "gone" in only_task().traceback


def test_a_task_about_nothing_ends_as_failed_and_its_worker_goes_on(db, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    tasks.send_mail.enqueue(-1)
    tasks.verify.enqueue(-1)

    for _ in range(7):
        call_command("worker", "--once")
        time_machine.shift(timedelta(hours=6))

    assert [task.status for task in DBTaskResult.objects.all()] == ["FAILED"] * 2


def test_whatever_the_other_side_says_can_be_kept(sold, monkeypatch):
    def fail(self):
        raise ConnectionError("nul \0 and \udcff")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    call_command("worker", "--once")

    assert only_task().status == "READY"
    assert "ConnectionError: nul" in only_task().traceback


def test_one_bad_task_does_not_keep_the_others_waiting(sold):
    tasks.send_mail.enqueue(-1)
    tasks.alarm_merchant.enqueue("x")

    call_command("worker", "--once")

    assert len(mail.outbox) == 2
    assert DBTaskResult.objects.ready().count() == 0
    assert DBTaskResult.objects.filter(status="READY").count() == 1


# One worker at a time, and the next one when it is lost


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_gets_the_task(sold):
    together = threading.Barrier(8)

    def claim(_):
        try:
            together.wait()
            return Worker().claim()
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        claimed = [task for task in threads.map(claim, range(8)) if task]

    assert len(claimed) == 1
    assert len(only_task().worker_ids) == 1


def test_a_task_is_its_workers_until_the_lease_is_over(sold, settings, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    Worker().claim()
    time_machine.shift(settings.TASK_LEASE)
    Worker().work()
    assert not mail.outbox

    time_machine.shift(1)
    Worker().work()

    assert only_task().status == "SUCCESSFUL"
    assert len(mail.outbox) == 1


def test_a_worker_that_comes_too_late_undoes_nothing(sold, settings, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    slow = Worker()
    task = slow.claim()
    time_machine.shift(settings.TASK_LEASE + timedelta(seconds=1))
    Worker().work()

    slow.put_off(task, TimeoutError("at last"))

    assert only_task().status == "SUCCESSFUL"


def test_a_task_that_kills_its_workers_ends_as_failed(sold, settings, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    for _ in range(len(worker.RETRY_AFTER) + 1):
        Worker().take_over_the_lost()
        assert Worker().claim()
        time_machine.shift(settings.TASK_LEASE + timedelta(seconds=1))

    Worker().take_over_the_lost()

    task = DBTaskResult.objects.get(task_path="payments.tasks.send_mail", status="FAILED")
    assert "was lost" in task.traceback


def test_done_tasks_are_forgotten_in_the_end(sold, broken_mail, settings, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    Worker().work()
    tasks.verify.enqueue(sold.pk)
    Worker().work()
    assert DBTaskResult.objects.successful().count() == 1
    Worker().clean_up()
    assert DBTaskResult.objects.count() == 2

    time_machine.shift(timedelta(days=settings.CALLBACK_RETENTION_DAYS, seconds=1))
    Worker().clean_up()

    assert only_task().status == "READY"


def test_baskets_that_nobody_touches_are_forgotten(client, product, time_machine, settings):
    time_machine.move_to(timezone.now(), tick=False)
    client.post(f"/basket/{product.pk}/")
    time_machine.shift(timedelta(seconds=settings.VISITOR_COOKIE_AGE - 60))
    client.post(f"/basket/{product.pk}/")
    time_machine.shift(timedelta(seconds=120))
    Worker().clean_up()
    assert BasketLine.objects.get().quantity == 2

    time_machine.shift(timedelta(seconds=settings.VISITOR_COOKIE_AGE))
    Worker().clean_up()

    assert not BasketLine.objects.exists()


def test_logins_that_are_over_are_forgotten(admin_client, time_machine, settings):
    time_machine.move_to(timezone.now(), tick=False)
    admin_client.session.save()
    time_machine.shift(timedelta(seconds=settings.SESSION_COOKIE_AGE - 60))
    Worker().clean_up()
    assert Session.objects.count() == 1

    time_machine.shift(timedelta(seconds=61))
    Worker().clean_up()

    assert not Session.objects.exists()


def test_a_database_that_is_away_for_a_while_ends_no_worker(db, monkeypatch, caplog):
    monkeypatch.setattr(worker, "TROUBLE_SECONDS", 0)
    answers = iter([OperationalError("the server closed the connection"), True])

    def work(self):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        self.running = False
        return answer

    monkeypatch.setattr(Worker, "work", work)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        call_command("worker")
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)

    assert "The database does not answer the worker" in caplog.text


# Real processes, and a mail server that can be held


class Post(socketserver.ThreadingTCPServer):
    """A little SMTP server: counts Message-IDs; while `held`, it keeps everybody waiting."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Talk)
        self.open = threading.Event()
        self.open.set()
        self.callers = 0
        self.messages = []
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class Talk(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self):
        self.server.callers += 1
        self.server.open.wait(PATIENCE_SECONDS)
        try:
            self.say("220 here")
            while verb := self.rfile.readline().decode().strip().upper()[:4]:
                if verb == "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    text = b"".join(lines).decode()
                    self.server.messages.append(text)
                self.say("221 bye" if verb == "QUIT" else "250 ok")
        except OSError:
            pass  # it was killed


@pytest.fixture
def post():
    with Post() as server:
        yield server
        server.open.set()
        server.shutdown()


@pytest.fixture
def start(transactional_db, post):
    """Starts a worker of its own process on the test's database."""
    with ExitStack() as stack:

        def start(*options, lease=60):
            environment = {"EMAIL_URL": post.url, "TASK_LEASE_SECONDS": str(lease)}
            return stack.enter_context(running("worker", *options, **environment))

        yield start


def statuses():
    return list(DBTaskResult.objects.values_list("status", flat=True))


@pytest.mark.hard
def test_a_worker_killed_in_the_middle_of_a_mail_loses_nothing(sold, start, post):
    post.open.clear()
    victim = start()
    wait_until(lambda: post.callers == 1, "the worker talks to the mail server")
    victim.kill()
    victim.wait()
    assert statuses() == ["RUNNING"]
    post.open.set()

    start(lease=1)
    wait_until(lambda: statuses() == ["SUCCESSFUL"], "another worker takes it up")

    assert len(post.messages) == 1
    assert Mail.objects.get().sent_at
    assert [line.kind for line in sold.timeline.all()].count("mailed") == 1


@pytest.mark.hard
def test_two_workers_never_send_one_mail_twice(make_invoice, provider, start, post):
    for number in range(25):
        invoice = make_invoice(email="buyer@example.com")
        ingestion.record_report(provider, report(invoice, number, 10_000, 2))

    first, second = start("--once"), start("--once")

    assert first.wait(PATIENCE_SECONDS) == second.wait(PATIENCE_SECONDS) == 0
    assert statuses() == ["SUCCESSFUL"] * 50
    names = [line for text in post.messages for line in text.splitlines() if "Message-ID" in line]
    assert len(names) == len(set(names)) == 50
    assert all(len(task.worker_ids) == 1 for task in DBTaskResult.objects.all())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_its_task_before_it_ends(sold, start, post, number):
    post.open.clear()
    worker = start()
    wait_until(lambda: post.callers == 1, "the worker talks to the mail server")

    worker.send_signal(number)
    post.open.set()

    assert worker.wait(PATIENCE_SECONDS) == 0
    assert statuses() == ["SUCCESSFUL"]


@pytest.mark.hard
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_ends_cleanly(sold, start, number):
    worker = start()
    wait_until(lambda: statuses() == ["SUCCESSFUL"], "the worker has nothing left to do")

    worker.send_signal(number)

    assert worker.wait(PATIENCE_SECONDS) == 0


@pytest.mark.hard
def test_a_worker_ends_when_its_parent_is_gone(sold, start, post):
    assert start("--parent", str(os.getpid() + 1)).wait(PATIENCE_SECONDS) == 0
    assert not post.messages

    worker = start("--parent", str(os.getpid()))
    wait_until(lambda: post.messages, "the worker of a parent that lives works")

    assert worker.poll() is None


@pytest.mark.hard
def test_a_mail_server_that_comes_back_gets_the_mail(sold, start, post, monkeypatch):
    post.open.clear()
    monkeypatch.setenv("EMAIL_TIMEOUT", "1")
    worker = start()
    wait_until(lambda: only_task().status == "READY" and only_task().traceback, "it is put off")
    DBTaskResult.objects.update(run_after=timezone.now())

    post.open.set()
    wait_until(lambda: statuses() == ["SUCCESSFUL"], "the mail goes out")

    assert len(post.messages) == 1
    assert worker.poll() is None
