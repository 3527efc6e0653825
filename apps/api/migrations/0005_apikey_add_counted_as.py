from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0004_playgroundpreset'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='counted_as',
            field=models.CharField(default='', editable=False, max_length=8),
        ),
    ]
