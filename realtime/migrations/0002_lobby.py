from django.db import migrations


def create_lobby(apps, schema_editor):
    streams = apps.get_model("realtime", "Stream")
    streams.objects.get_or_create(name="lobby", defaults={"title": "Lobby", "kind": "feed"})


class Migration(migrations.Migration):
    dependencies = [("realtime", "0001_initial")]
    operations = [migrations.RunPython(create_lobby, migrations.RunPython.noop)]
