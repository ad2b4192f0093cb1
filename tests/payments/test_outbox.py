"""The outbox: rows that name what has to be done after the commit."""

import pytest
from django.db import transaction
from django.utils.module_loading import import_string
from django_tasks.base import Task
from django_tasks_db.models import DBTaskResult

from payments import outbox


@pytest.mark.parametrize("path", outbox.TASKS)
def test_every_name_is_a_tasks(path):
    task = import_string(path)

    assert isinstance(task, Task)
    assert task.module_path == path


@pytest.mark.django_db
def test_a_row_is_as_the_tasks_own_would_be():
    ours = outbox.enqueue(outbox.LOOK_AGAIN, 7)

    import_string(outbox.LOOK_AGAIN).enqueue(7)

    theirs = DBTaskResult.objects.exclude(pk=ours.pk).get()
    for name in ("task_path", "args_kwargs", "priority", "queue_name", "backend_name", "run_after"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.django_db
def test_what_is_rolled_back_is_not_done():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        outbox.enqueue(outbox.ALLOCATE_BACKORDERS, 7)
        raise ZeroDivisionError

    assert not DBTaskResult.objects.exists()
