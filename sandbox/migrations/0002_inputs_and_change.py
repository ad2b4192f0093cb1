
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sandbox', '0001_initial'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='transaction',
            name='payer',
        ),
        migrations.AddField(
            model_name='output',
            name='is_change',
            field=models.BooleanField(default=False, verbose_name='goes back to who pays'),
        ),
        migrations.AddField(
            model_name='settings',
            name='dust_relay_fee',
            field=models.PositiveIntegerField(default=3, verbose_name='satoshis per byte below which an output is dust (0: nothing is)'),
        ),
        migrations.CreateModel(
            name='Input',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('address', models.CharField(db_index=True, max_length=100)),
                ('value', models.BigIntegerField(verbose_name='value in satoshis')),
                ('transaction', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='inputs', to='sandbox.transaction')),
            ],
            options={
                'ordering': ['position'],
                'constraints': [models.UniqueConstraint(fields=('transaction', 'position'), name='one_input_per_position'), models.CheckConstraint(condition=models.Q(('value__gt', 0)), name='input_of_some_value')],
            },
        ),
    ]
