"""Rollups for `series`, the identity of the database, and who may redact."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

# WITHOUT ROWID, which no option of a model asks for.
ROLLUP = """
    CREATE TABLE realtime_rollup (
        stream_id bigint NOT NULL REFERENCES realtime_stream (id) DEFERRABLE INITIALLY DEFERRED,
        size integer unsigned NOT NULL CHECK (size >= 0),
        block bigint unsigned NOT NULL CHECK (block >= 0),
        field varchar(64) NOT NULL,
        first_time bigint NOT NULL,
        last_time bigint NOT NULL,
        minimum real NOT NULL,
        maximum real NOT NULL,
        total real NOT NULL,
        count integer unsigned NOT NULL CHECK (count >= 0),
        PRIMARY KEY (stream_id, size, block, field)
    ) WITHOUT ROWID
"""


def let_operators_redact(apps, schema_editor):
    """As in 0003: Django makes permissions only after all migrations."""
    using = schema_editor.connection.alias
    types = apps.get_model("contenttypes", "ContentType").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    content_type, _ = types.get_or_create(app_label="realtime", model="record")
    redact, _ = permissions.get_or_create(codename="redact_record", content_type=content_type, defaults={"name": "Can redact record"})
    operators = apps.get_model("auth", "Group").objects.using(using).filter(name="Operator")
    for group in operators:
        group.permissions.add(redact)


class Migration(migrations.Migration):
    dependencies = [("realtime", "0004_limits_and_sizes")]

    operations = [
        migrations.CreateModel(
            name="Database",
            fields=[("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False))],
        ),
        migrations.AlterModelOptions(
            name="record",
            options={"permissions": [("redact_record", "Can redact record")]},
        ),
        migrations.AddField(
            model_name="stream",
            name="rolled",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ROLLUP, "DROP TABLE realtime_rollup")],
            state_operations=[
                migrations.CreateModel(
                    name="Rollup",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "stream", "size", "block", "field", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("size", models.PositiveIntegerField()),
                        ("block", models.PositiveBigIntegerField()),
                        ("field", models.CharField(max_length=64)),
                        ("first_time", models.BigIntegerField()),
                        ("last_time", models.BigIntegerField()),
                        ("minimum", models.FloatField()),
                        ("maximum", models.FloatField()),
                        ("total", models.FloatField()),
                        ("count", models.PositiveIntegerField()),
                        (
                            "stream",
                            models.ForeignKey(
                                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="rollups", to="realtime.stream"
                            ),
                        ),
                    ],
                ),
            ],
        ),
        migrations.RunPython(let_operators_redact, migrations.RunPython.noop),
    ]
