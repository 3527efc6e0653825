"""The `pagoda` command. `serve` is the launcher; verbs of `COMMANDS` need no database; every other
verb is a Django command."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

COMMANDS: Mapping[str, tuple[str, str]] = {  # verb → where it is, what it does
    "serve": ("inference_site.launcher.serve:serve", "serve a model, with everything it needs"),
    "chat": ("inference_site.commands.talk:chat", "talk to a running server"),
    "complete": ("inference_site.commands.talk:complete", "continue texts on a running server"),
    "run-batch": ("inference_site.commands.run_batch:run_batch", "answer a file of requests"),
    "bench": ("inference_site.commands.bench:bench", "measure serve, latency, throughput, startup"),
    "collect-env": ("inference_site.commands.collect_env:collect_env", "facts for a bug report"),
}
DJANGO: Mapping[str, str] = {
    "keys": "create, list, rotate, revoke API keys",
    "models": "register, list, load, unload, restart, download, delete models",
    "adapters": "add, load, unload, list, remove LoRA adapters",
    "usage": "requests, tokens and cost over a time",
    "doctor": "check what this installation stands on",
    "admin": "reset-password of a staff login",
    "backup": "write all rows and adapters to one file",
    "restore": "bring them back from it",
    "migrate": "bring the database up to date",
}
INTERRUPTED = 130  # as a shell reports SIGINT
HELP_WORDS = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of the console script and of manage.py. Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["version"], ["--version"]):
        sys.stdout.write(f"pagoda {importlib.metadata.version('pagoda')}\n")
        return 0
    if words in ([], *([word] for word in HELP_WORDS)):
        sys.stdout.write(usage())
        return 0 if words else 2
    # The memory of a process that crashes holds prompts and keys; children inherit the limit.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        if words[0] == "serve":
            # Nothing runs yet that needs an orderly end, and a KeyboardInterrupt raised while
            # modules load can be swallowed by them: let the signal itself end the process.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if words[0] in COMMANDS:
            return _command(words)
        return django_command(words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `pagoda … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def usage() -> str:
    rows = [(verb, words) for verb, (_, words) in COMMANDS.items()] + list(DJANGO.items())
    lines = [f"  {verb:12} {words}" for verb, words in rows]
    head = "usage: pagoda VERB [flags]     pagoda VERB --help tells the flags of each"
    return "\n".join([head, "", *lines, "", "Any other verb is a command of Django.", ""])


def _command(words: Sequence[str]) -> int:
    path, _ = COMMANDS[words[0]]
    module, _, name = path.partition(":")
    run: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), name)
    if words[0] == "serve":
        return run(words[1:])
    from inference_site.commands import CommandFailed

    try:
        return run(words[1:])
    except CommandFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1


def django_command(words: Sequence[str]) -> int:
    """Run one management command. Wrong settings are one line on stderr and status 2."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")
    from engine.settings import SettingError

    try:
        import django
        from django.core.management import CommandError, execute_from_command_line, get_commands
        from django.db import DatabaseError

        django.setup()
        if words[0] not in get_commands():
            near = difflib.get_close_matches(words[0], [*COMMANDS, *get_commands()], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            sys.stderr.write(f"There is no verb {words[0]!r}.{hint} See: pagoda --help\n")
            return 2
        try:  # with a trace a refusal comes to us; else Django writes "CommandError: " before it
            execute_from_command_line(["pagoda", words[0], "--traceback", *words[1:]])
        except CommandError as error:
            if "--traceback" in words:
                raise
            sys.stderr.write(f"{error}\n")
            return error.returncode
        except DatabaseError as error:
            if "--traceback" in words:
                raise
            sys.stderr.write(
                f"The database cannot do that: {error}. Check PAGODA_DATABASE_URL; one of an "
                "older version needs: pagoda migrate\n"
            )
            return 1
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
