"""Static files: hashed names for everything, ES modules included, and a plain word when they are missing."""

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.apps import StaticFilesConfig
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.http import HttpRequest
from whitenoise.storage import CompressedManifestStaticFilesStorage

# What the live pages cannot do without, by the name it is served under.
NEEDED = ("centrifuge/index.mjs", "uplot/uPlot.esm.js")
CURE = "Run `make setup`."


class AssetsConfig(StaticFilesConfig):
    """`collectstatic` leaves out what npm packages ship beside the modules that pages load."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "*.d.ts", "*.cjs.js", "*.iife*.js", "protobuf"]

    def ready(self) -> None:
        super().ready()
        register(check_assets, Tags.staticfiles)


class AssetsStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise has no types
    """Names a file by its content, and rewrites the imports between ES modules accordingly.

    A file that was not collected keeps its plain name: the page comes without it and says so, where Django would answer 500 everywhere.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        return str(super().stored_name(name)) if self.knows(name) else name

    def knows(self, name: str) -> bool:
        return bool(self.hash_key(self.clean_name(name)) in self.hashed_files)


def problem() -> str:
    """What is wrong with the static files, in one sentence; empty when nothing is."""
    if missing := [name for name in settings.PACKAGES if not settings.PACKAGES[name].is_dir()]:
        these = "packages" if len(missing) > 1 else "package"
        verb = "are" if len(missing) > 1 else "is"
        return f"The browser {these} {' and '.join(missing)} {verb} not installed, so live views cannot work."
    if settings.DEBUG or not isinstance(staticfiles_storage, AssetsStorage):
        return ""
    if not all(staticfiles_storage.knows(name) for name in NEEDED):
        return f"The static files are not collected in {settings.STATIC_ROOT}, so pages have no style and no live view."
    return ""


def assets(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `assets_problem`, the sentence that `base.html` shows when static files are missing."""
    sentence = problem()
    return {"assets_problem": f"{sentence} {CURE}" if sentence else ""}


def check_assets(**kwargs: Any) -> list[CheckMessage]:
    sentence = problem()
    return [checks.Warning(sentence, hint=CURE, id="realtime.W003")] if sentence else []
