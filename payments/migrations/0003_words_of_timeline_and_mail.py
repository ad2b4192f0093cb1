from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0002_money_never_lost'),
    ]

    operations = [
        migrations.AlterField(
            model_name='event',
            name='kind',
            field=models.CharField(choices=[('created', 'Created'), ('quoted', 'Quoted anew'), ('seen', 'Payment seen'), ('confirmed', 'Payment confirmed'), ('verified', 'Payment verified independently'), ('valued', 'Payment valued'), ('covered', 'Covered by what was seen'), ('uncovered', 'No longer covered'), ('paid', 'Paid'), ('paid-late', 'Paid, although late'), ('dropped', 'Payment gone from the network'), ('returned', 'Payment back on the network'), ('review', 'Needs review'), ('mailed', 'Mailed'), ('downloaded', 'Downloaded'), ('touched', 'Touched by hand')], max_length=12),
        ),
        migrations.AlterField(
            model_name='mail',
            name='kind',
            field=models.CharField(choices=[('paid', 'Receipt and goods'), ('uncovered', 'A payment is gone'), ('review', 'A person looks at it'), ('sold', 'Something was sold'), ('alarm', 'An invoice needs review'), ('vanished', 'A payment is gone after the sale')], max_length=12),
        ),
    ]
