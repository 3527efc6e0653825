from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0003_model_pooling"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="gpus",
            field=models.JSONField(blank=True, default=list, help_text="GPUs engines may use: name, memory_bytes, free_bytes, capability."),
        ),
    ]
