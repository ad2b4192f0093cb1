import django.db.models.deletion
import payments.pictures
import pictures.models
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import migrations, models


def rows(apps, schema_editor):
    """Those of the database that is being migrated."""
    database = schema_editor.connection.alias
    for name in ("Product", "Picture"):
        yield apps.get_model("payments", name).objects.using(database)


def to_rows(apps, schema_editor):
    """Makes a product's one picture its first; one whose file is gone or broken is left out."""
    Product, Picture = rows(apps, schema_editor)
    for product in Product.exclude(picture="").iterator():
        try:
            with product.picture.open("rb") as file:
                upload = File(file, name=product.picture.name)
                payments.pictures.check(upload)
                Picture.create(product=product, image=upload)
        except (OSError, ValidationError):
            print(f" (no picture in {product.picture.name})", end="")


def to_columns(apps, schema_editor):
    """Keeps the first picture of each product, where there was room for only one."""
    Product, Picture = rows(apps, schema_editor)
    for product in Product.all().iterator():
        first = Picture.filter(product=product).order_by("position", "pk").first()
        if first:
            Product.filter(pk=product.pk).update(picture=first.image.name)


class Migration(migrations.Migration):

    dependencies = [
        ("payments", "0004_unsettled_transactions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Picture",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("image", pictures.models.PictureField(aspect_ratios=[None], breakpoints={"l": 1200, "m": 992, "s": 768, "xl": 1400, "xs": 576}, container_width=960, file_types=["AVIF", "WEBP", "JPEG"], grid_columns=3, height_field="height", help_text="1920 pixels or more in width look best.", pixel_densities=[1, 2], upload_to=payments.pictures.path_of, width_field="width")),
                ("alt", models.CharField(blank=True, help_text="For those who cannot see it.", max_length=200, verbose_name="in words")),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="The smallest stands first.")),
                ("width", models.PositiveIntegerField(default=0, editable=False)),
                ("height", models.PositiveIntegerField(default=0, editable=False)),
                ("product", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="pictures", to="payments.product")),
            ],
            options={
                "ordering": ["position", "pk"],
            },
        ),
        migrations.RunPython(to_rows, to_columns, elidable=True),
    ]
