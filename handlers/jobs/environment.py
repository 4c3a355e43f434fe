"""Allowed programs and their environment: neither variables nor relative folders can change which program runs."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence

from flows.errors import FatalError
from handlers.secrets import Secrets

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")
_CHOOSES = re.compile(
    # Variables of the loader and of shells, and search paths for programs and files.
    r"LD_.*|DYLD_.*|GLIBC_.*|GCONV_PATH|LOCPATH|NLSPATH|PATH|PATHEXT|HOME|XDG_.*|SHELL|SHELLOPTS|ENV|IFS|PS[0-9]|CDPATH|"
    r"PROMPT_COMMAND|BASH.*|ZDOTDIR|FPATH|COMSPEC|"
    # Variables of interpreters for modules, options and start files.
    r"_?JAVA_.*|JDK_.*|CLASSPATH|PYTHON.*|PERL.*|RUBY.*|GEM_.*|BUNDLE_.*|NODE_.*|NPM_.*|DENO_.*|BUN_.*|LUA.*|PHP.*|R_.*|JULIA_.*|"
    r"DOTNET_.*|COR_.*|CORECLR_.*|GUILE_.*|TCLLIBPATH|EMACS.*|VIM.*|EXINIT|PIP_.*|UV_.*|VIRTUAL_ENV|CONDA_.*|"
    # Variables that name programs to start, or files that do.
    r"GIT_.*|.*EDITOR|VISUAL|.*PAGER|BROWSER|LESS.*|.*_RSH|.*_ASKPASS|.*_CONNECT_PROG|TAR_OPTIONS|MAKE.*|CC|CXX|CARGO.*|"
    r"RUST.*|GO[A-Z]+|CMAKE_.*|DOCKER_.*|KUBE.*|HELM_.*|ANSIBLE_.*|TF_.*|PSQLRC|PGSERVICEFILE|PGSYSCONFDIR|MYSQL_HOME|"
    r"AWS_CONFIG_FILE|BOTO_CONFIG|CURL_HOME|WGETRC|OPENSSL_(?:CONF|ENGINES|MODULES)|GNUPGHOME|SSH_.*|INPUTRC|TERMCAP|TERMINFO.*|"
    r"BRAID_.*|AWS_PROFILE|.*_CREDENTIALS_FILE|ODBCSYSINI|ODBCINI|JAVACMD|SCREENRC|ZIPOPT|UNZIP|GZIP|MANOPT|XZ_OPT|"
    r"(?:C|CPLUS|OBJC)_INCLUDE_PATH|C?PATH|LIBRARY_PATH|P4CONFIG|IPYTHONDIR|MIX_.*|PGSSL\w+|URE_BOOTSTRAP|KRB5_CONFIG|"
    # Endings of variables for a program's options, for code that it loads, and for files that name programs to start.
    r".*_(?:OPTS|OPTIONS|ARGS|FLAGS|HOME|PREFIX|SSH|COMPILER|INIT|LIBS?|LIBRARY|LIBRARIES|MODULES?|PLUGINS?|ICD_VENDORS)|"
    r".*_(?:MODULES?|PLUGINS?|LIBRARY|LIB|CONFIG|DRIVERS?|COMPILER|EXEC|ICD|INJECTION\d*|TMAC|PACKAGE|PROGRAM)_\w+|.*CMDLIST|"
    r".*(?:COMMAND|LIB_?PATH|RCPATH)|"
    # Parts of the names of variables that load code.
    r"(?:LADSPA|DSSI|LV2|VST|FREI0R|UNO|OCAML|AWK|NIX|JUPYTER|QML2?_IMPORT|COMPILER|GTK|QT|GST|GIO)_?\w*PATH|TEXMF\w*|GS_\w+|"
    r"MAGICK_\w+",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def find_program(argv: Sequence[str], allowed: Sequence[str]) -> str:
    """The absolute path of an allowed program, independent of the folder in which it will run.

    Raises:
        FatalError: it is not allowed, or does not exist.
    """
    if not argv or not argv[0]:
        raise FatalError("argv is empty; write the program and its arguments as a list: [rsync, -a, in/, out/]")
    if any("\0" in part for part in argv):
        raise FatalError("argv holds a NUL character")
    if argv[0] not in allowed:
        known = f"allowed are: {', '.join(allowed)}" if allowed else "none is allowed so far"
        raise FatalError(
            f"BRAID_COMMANDS does not allow the program {argv[0]!r} ({known}); add it there if pipelines may run it"
        )
    found = shutil.which(argv[0], path=_search_path())
    if found is None:
        raise FatalError(f"the program {argv[0]!r} is not on this machine; install it, or give its whole path")
    return os.path.abspath(found)


def program_environment(env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment of a program with `env`, and the secrets in it.

    Raises:
        FatalError: a name is invalid or would change which code runs, or a secret is missing.
    """
    for name in sorted(env):
        if not _NAME.fullmatch(name) or "\0" in env[name]:
            raise FatalError(f"env sets {name!r}, which is not a valid name of a variable")
        if _CHOOSES.fullmatch(name):
            raise FatalError(f"env sets {name!r}, which can change the program that runs; remove it")
    look_up, found, hidden = Secrets(), dict[str, str](), list[str]()
    for name, value in env.items():
        found[name] = look_up(value) if value.startswith("env:") else value
        if found[name] != value:
            hidden.append(found[name])
    inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"PATH": _search_path(), **inherited, **found}, hidden


def _search_path() -> str:
    """PATH without relative folders, whose content depends on the folder in which a program runs."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if os.path.isabs(folder))
