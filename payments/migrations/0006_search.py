from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import migrations

# As in payments/search.py: PostgreSQL takes the index only for the very same expression.
WORDS = GinIndex(
    SearchVector("title", weight="A", config="english")
    + SearchVector("description", weight="B", config="english"),
    name="products_by_words",
)


def make(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.add_index(apps.get_model("payments", "Product"), WORDS)


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.remove_index(apps.get_model("payments", "Product"), WORDS)


class Migration(migrations.Migration):

    dependencies = [
        ("payments", "0005_product_pictures"),
    ]

    operations = [
        migrations.RunPython(make, remove),
    ]
