"""The process that runs a program for `mtjax.evaluation.sandbox`: it gives up every right first. Standard library only.

It is started as a script, by path. One line of JSON on standard input says what to run; one line of JSON on standard
output, after a word that only the caller knows, says what came of it.
"""

import ast
import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import traceback

NOBODY = 65534
UNSHARED = {"user": 0x10000000, "network": 0x40000000, "processes": 0x20000000, "messages": 0x08000000}
"""Namespaces of one's own, by what they keep apart: CLONE_NEWUSER, NEWNET, NEWPID and NEWIPC."""
MOUNTS, BIND, PRIVATE, ALL = 0x00020000, 4096, 1 << 18, 16384  # CLONE_NEWNS, and flags of mount
NO_NEW_PRIVILEGES, DEATH_SIGNAL, NOT_DUMPABLE = 38, 1, 4  # prctl
CREATE_RULES, ADD_RULE, RESTRICT = 444, 445, 446  # Landlock's system calls, the same on every architecture
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
ALL_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""Rights that Landlock can take away, by its version; later versions have those of 3 and one for devices."""

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    """OSError if a system call failed."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def show_library(library, place):
    """Show the standard library, which may lie in a folder of root's, at a place that nobody can read."""
    check(libc.unshare(MOUNTS), "unshare")
    check(libc.mount(b"none", b"/", None, ALL | PRIVATE, None), "mount")
    check(libc.mount(library.encode(), place.encode(), None, BIND | ALL, None), "mount")
    sys.path[:] = [place, os.path.join(place, "lib-dynload")]


def become_nobody(asked):
    """Give up root, for whom the kernel does not count processes."""
    if os.getuid() == 0:
        with contextlib.suppress(OSError):
            show_library(asked["library"], asked["place"])
            asked["readable"].append(asked["place"])
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(NOT_DUMPABLE, 1, 0, 0, 0)  # else /proc/self belongs to root, and its maps cannot be written


def unshare():
    """Namespaces of one's own: no network, and no sight of other processes."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(sum(UNSHARED.values()) | MOUNTS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def restrict_files(folder, readable):
    """Landlock: write nowhere but in the folder, and read only there and what Python needs."""
    version = check(libc.syscall(CREATE_RULES, None, 0, 1), "Landlock")
    rights = ALL_FILE_RIGHTS.get(version, ALL_FILE_RIGHTS[3])
    rules = check(libc.syscall(CREATE_RULES, ctypes.byref(ctypes.c_uint64(rights)), 8, 0), "Landlock")
    device = WRITE_FILE | READ_FILE
    places = {folder: rights & ~EXECUTE, "/dev/null": device, "/dev/urandom": READ_FILE}
    places |= dict.fromkeys(readable, READ_FILE | READ_DIR | EXECUTE)
    for place, allowed in places.items():
        if not os.path.exists(place):
            continue
        handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(place):
            allowed &= EXECUTE | WRITE_FILE | READ_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed & rights, handle))
        check(libc.syscall(ADD_RULE, rules, 1, rule, 0), f"Landlock of {place}")
        os.close(handle)
    check(libc.syscall(RESTRICT, rules, 0), "Landlock")


def give_up_capabilities():
    """Give up what the namespace of one's own allows inside."""
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    check(libc.capset(ctypes.create_string_buffer(header), ctypes.create_string_buffer(none)), "capset")


def limit(seconds, memory, processes, file_bytes):
    """Resource limits, which nobody can raise again."""
    for kind, most in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(kind, (most, most))


def apart(asked):
    """Take away what the settings ask for; the names of what the system does not allow."""
    missing = []
    libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    become_nobody(asked)
    try:
        unshare()
    except OSError as error:
        missing.append(f"namespaces ({error})")
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    try:
        restrict_files(asked["folder"], asked["readable"])
    except OSError as error:
        missing.append(f"files ({error})")
    return missing


def shown(value):
    """A value as text, or None for what is no value of the program, such as a function."""
    if callable(value) or type(value).__name__ == "module":
        return None
    return repr(value)[:1000]


def execute(asked):
    """Run a program; what came of it."""
    space = {"__name__": "__main__"}
    if asked["kind"] == "trace":
        found: dict = {"statements": [], "states": [], "answers": []}
        for statement in ast.parse(asked["code"]).body:
            try:
                exec(compile(ast.Module([statement], []), "program", "exec"), space)
            except Exception as error:
                return found | {"error": f"{type(error).__name__} in line {statement.lineno}"}
            values = (shown(value) for name, value in space.items() if not name.startswith("__"))
            found["statements"].append(ast.unparse(statement))
            found["states"].append(sorted(value for value in values if value is not None))
            found["answers"].append(shown(space[asked["variable"]]) if asked["variable"] in space else None)
        return found | {"answer": shown(space.get(asked["variable"]))}
    exec(compile(asked["code"], "program", "exec"), space)
    if asked["kind"] == "answer":
        return {"answer": shown(space[asked["variable"]])}
    passed = []
    for test in asked["tests"]:
        try:
            exec(compile(test, "test", "exec"), space)
            passed.append(True)
        except Exception:
            passed.append(False)
    return {"passed": passed}


def main():
    """Read what to run, give up every right, run it and say what came of it."""
    asked = json.loads(sys.stdin.readline())
    missing = apart(asked)
    answer = os.dup(1)
    if missing and not asked["weaker"]:
        os.write(answer, (asked["word"] + json.dumps({"missing": missing}) + "\n").encode())
        return
    if asked["kind"] == "probe":
        os.write(answer, (asked["word"] + json.dumps({"missing": missing}) + "\n").encode())
        return
    nowhere = os.open("/dev/null", os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)
    first = os.fork()  # the first process of the namespace; when it ends, the kernel ends all others in it
    if first:
        os.close(answer)
        os.waitpid(first, 0)
        return
    libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if not missing:
        give_up_capabilities()
    limit(asked["seconds"], asked["memory"], asked["processes"], asked["file_bytes"])
    word = asked.pop("word")
    second = os.fork()
    if second:

        def over(*_):
            os.write(answer, (word + json.dumps({"timeout": True}) + "\n").encode())
            os._exit(0)

        signal.signal(signal.SIGALRM, over)
        signal.alarm(asked["seconds"])
        while os.wait()[0] != second:
            pass
        os._exit(0)
    found = {}
    try:
        found = execute(asked)
    except MemoryError:
        found = {"error": "MemoryError"}
    except BaseException as error:
        own = [entry.lineno for entry in traceback.extract_tb(error.__traceback__) if entry.filename == "program"]
        line = getattr(error, "lineno", None) or (own[-1] if own else None)
        found = {"error": type(error).__name__ + (f" in line {line}" if line else "")}
    with contextlib.suppress(OSError):
        os.write(answer, (word + json.dumps(found) + "\n").encode())
    os._exit(0)


if __name__ == "__main__":
    main()
