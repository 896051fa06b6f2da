"""Two groups for people who may enter the admin: Viewer sees everything of Wirelog, Operator also changes what operators change."""

from django.conf import settings
from django.db import migrations

VIEWED = (
    "apikey", "auditentry", "connection", "membership", "namespace", "notice",
    "presence", "readmarker", "record", "serverprocess", "stream",
)  # fmt: skip
OPERATED = {
    "stream": ("add", "change"),
    "namespace": ("add", "change", "delete"),
    "membership": ("add", "change", "delete"),
    "apikey": ("add", "change"),
}


def make_groups(apps, schema_editor):
    using = schema_editor.connection.alias
    views = [permission(apps, using, "view", "realtime", model) for model in VIEWED]
    operates = [permission(apps, using, action, "realtime", model) for model, actions in OPERATED.items() for action in actions]
    # Who names the members of a stream must be able to find them.
    operates += [
        permission(apps, using, "view", *settings.AUTH_USER_MODEL.lower().split(".")),
        permission(apps, using, "view", "auth", "group"),
    ]
    groups = apps.get_model("auth", "Group").objects.using(using)
    for name, permissions in (("Viewer", views), ("Operator", views + operates)):
        group, _ = groups.get_or_create(name=name)
        group.permissions.add(*permissions)


def permission(apps, using, action, app, model):
    """Django makes permissions only after all migrations; made here with the same names, they are found there and kept."""
    types = apps.get_model("contenttypes", "ContentType").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    content_type, _ = types.get_or_create(app_label=app, model=model)
    words = apps.get_model(app, model)._meta.verbose_name
    found, _ = permissions.get_or_create(
        codename=f"{action}_{model}", content_type=content_type, defaults={"name": f"Can {action} {words}"}
    )
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("realtime", "0002_lobby"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    # The groups stay when this is undone: people may be in them.
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
