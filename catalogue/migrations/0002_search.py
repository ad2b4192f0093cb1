from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import migrations

# As in catalogue/search.py: PostgreSQL takes the index only for the very same expression.
WORDS = GinIndex(
    SearchVector("title", weight="A", config="english")
    + SearchVector("description", weight="B", config="english"),
    name="products_by_words",
)


def make(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.add_index(apps.get_model("catalogue", "Product"), WORDS)


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.remove_index(apps.get_model("catalogue", "Product"), WORDS)


class Migration(migrations.Migration):

    dependencies = [
        ("catalogue", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(make, remove),
    ]
