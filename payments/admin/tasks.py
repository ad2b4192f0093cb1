from django.contrib import admin
from django_tasks.base import TaskResultStatus
from django_tasks_db.admin import DBTaskResultAdmin
from django_tasks_db.models import DBTaskResult, get_date_max

from payments.worker import try_again

admin.site.unregister(DBTaskResult)


@admin.register(DBTaskResult)
class TaskAdmin(DBTaskResultAdmin):
    """What the workers did, will do, and gave up; what was given up can be tried again."""

    list_display = ["task_name", "about", "status", "attempts", "trouble", "enqueued_at", "next"]
    list_filter = ["status", "task_path", "enqueued_at"]
    search_fields = ["task_path", "exception_class_path", "traceback"]
    show_full_result_count = False
    actions = ["try_again"]

    @admin.action(description="Try again", permissions=["retry"])
    def try_again(self, request, queryset):
        self.message_user(request, f"To be tried again: {try_again(queryset)}")

    def has_retry_permission(self, request):
        return request.user.has_perm("django_tasks_database.change_dbtaskresult")

    @admin.display(description="about")
    def about(self, task):
        return ", ".join(str(argument) for argument in task.args_kwargs["args"])[:80]

    @admin.display(description="attempts")
    def attempts(self, task):
        return len(task.worker_ids)

    @admin.display(description="what went wrong last")
    def trouble(self, task):
        return task.traceback.strip().rpartition("\n")[2][:160]

    @admin.display(description="next attempt", ordering="run_after")
    def next(self, task):
        waits = task.status == TaskResultStatus.READY and task.run_after != get_date_max()
        return task.run_after if waits else None
