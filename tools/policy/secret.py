"""The token's value out of a command: PROXMOX_TOKEN_COMMAND, run without a shell. What it prints is never logged."""
import os
import signal
import subprocess

SECONDS = 30
_NAME = "PROXMOX_TOKEN_COMMAND"


def printed(words):
    """What the command prints, without blanks around it; ValueError says why there is nothing, and never shows it."""
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   start_new_session=os.name == "posix")
    except OSError as error:
        raise ValueError("%s: %s cannot be run: %s" % (_NAME, words[0], error.strerror or error)) from None
    except ValueError:
        raise ValueError("%s: it cannot be run" % _NAME) from None
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        if os.name == "posix":                          # and what it has started
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        raise ValueError("%s: %s did not end within %d seconds" % (_NAME, words[0], SECONDS)) from None
    if process.returncode:
        raise ValueError("%s: %s ended with exit status %d" % (_NAME, words[0], process.returncode))
    return said.decode("utf-8", "replace").strip()
