"""The program as a script that is quick to start: for others, such as W&B's agent, that start it themselves."""

import contextlib
import json
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TextIO

from tests.helpers.forked import Forked

SCRIPT = """#!{interpreter} -SE
import json, os, signal, socket, sys

started, early = [], []

def forward(number, _):
    if started:
        os.kill(started[0], number)
    else:
        early.append(number)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, forward)
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    lines = asked.makefile("rw")
    print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]), file=lines, flush=True)
    started.append(int(lines.readline()))
    for number in early:
        os.kill(started[0], number)
    status = int(lines.readline())
sys.exit(status if status >= 0 else 128 - status)
"""


class ForkedProgram:
    """`with ForkedProgram() as path` serves a script that does what `mmnar` does, as a copy of the fork server.

    It forwards signals to the copy and ends with its status.

    Args:
        module: that is run.
    """

    def __init__(self, module: str = "mmnar_lightning") -> None:
        self.module = module
        self.place = tempfile.TemporaryDirectory()  # a short path, since that of a socket has at most 107 bytes
        self.server = socket.socket(socket.AF_UNIX)
        self.copies: list[Forked] = []

    def __enter__(self) -> Path:
        address, script = (Path(self.place.name, name) for name in ("asked", "mmnar"))
        self.server.bind(str(address))
        self.server.listen()
        script.write_text(SCRIPT.format(interpreter=sys.executable, address=str(address)))
        script.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()
        return script

    def __exit__(self, *_: object) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for copy in self.copies:
            copy.kill()
        self.place.cleanup()

    def _serve(self) -> None:
        while True:
            try:
                asked, _ = self.server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._run, args=(asked,), daemon=True).start()

    def _run(self, asked: socket.socket) -> None:
        with contextlib.suppress(OSError), asked, asked.makefile("rw") as lines:  # the script may have been killed
            words, place, environment = json.loads(lines.readline())
            output = Path(self.place.name, f"output-{len(self.copies)}.txt")
            output.touch()
            copy = Forked(["-m", self.module, *words], Path(place), environment, output)
            self.copies.append(copy)
            _say(lines, copy.pid)
            _say(lines, copy.wait())


def _say(lines: TextIO, number: int) -> None:
    lines.write(f"{number}\n")
    lines.flush()
