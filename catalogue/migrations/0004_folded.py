from functools import reduce
from operator import add

import django.contrib.postgres.indexes
from django.contrib.postgres.search import SearchVector
from django.db import migrations, models

import catalogue.folding

OLD = "products_by_words"
# As in catalogue/search.py: PostgreSQL takes the index only for the very same expression.
WORDS = django.contrib.postgres.indexes.GinIndex(
    reduce(
        add,
        [
            SearchVector(field, weight=weight, config=config)
            for field, weight in (("folded_title", "A"), ("folded_description", "B"))
            for config in ("simple", "english")
        ],
    ),
    name="products_by_folded_words",
)


def fold_all(apps, schema_editor):
    """Saving a row folds its words."""
    for product in apps.get_model("catalogue", "Product").objects.iterator():
        product.save(update_fields=["folded_title", "folded_description"])


def make(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX IF EXISTS {OLD}")
        schema_editor.add_index(apps.get_model("catalogue", "Product"), WORDS)


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.remove_index(apps.get_model("catalogue", "Product"), WORDS)


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0003_strangers")]

    operations = [
        migrations.RemoveIndex(model_name="product", name="products_by_title"),
        migrations.AddField(
            model_name="product",
            name="folded_description",
            field=catalogue.folding.FoldedField(default="", editable=False, of="description"),
        ),
        migrations.AddField(
            model_name="product",
            name="folded_title",
            field=catalogue.folding.FoldedField(default="", editable=False, of="title"),
        ),
        migrations.RunPython(fold_all, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(fields=["folded_title", "id"], name="products_by_folded_title"),
        ),
        migrations.RunPython(make, remove),
    ]
