"""The `pagoda` command. `serve` is the launcher; every other verb is a Django command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

USAGE = """pagoda serve [MODEL] [flags]        serve a model (see: pagoda serve --help)
pagoda keys create|list|rotate|revoke
pagoda models register|list|load|unload|restart|download|delete
pagoda admin reset-password [USER]
pagoda migrate | check | agent | settle | createsuperuser …   Django's and our own commands
"""
INTERRUPTED = 130  # as a shell reports SIGINT
HELP_WORDS = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of the console script and of manage.py. Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in ([], *([word] for word in HELP_WORDS)):
        sys.stdout.write(USAGE)
        return 0 if words else 2
    try:
        if words[0] == "serve":
            # Nothing runs yet that needs an orderly end, and a KeyboardInterrupt raised while
            # modules load can be swallowed by them: let the signal itself end the process.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            from inference_site.launcher.serve import serve

            return serve(words[1:])
        return django_command(words)
    except KeyboardInterrupt:
        return INTERRUPTED


def django_command(words: Sequence[str]) -> int:
    """Run one management command. Wrong settings are one line on stderr and status 2."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")
    from engine.settings import SettingError

    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(["pagoda", *words])
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
