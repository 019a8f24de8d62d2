"""A program as a child process: with a clean environment, its output in a file, and an end that it can't outlive."""

import os
import re
import subprocess

from eventually import eventually

LOG_TAIL_BYTES = 4_000


class Process:
    """Runs `arguments` until `stop`, and waits until its output matches `ready`."""

    def __init__(self, name, arguments, folder, ready, environment=None):
        self.name = name
        self.log = folder / f"{name}.log"
        # Neither the caller's AWS settings nor its proxies may have a say in what is tested.
        clean = {"PATH": os.environ["PATH"], "HOME": str(folder), **(environment or {})}
        with self.log.open("wb") as log:
            # Should the tests be killed, their children go as well.
            command = ["setpriv", "--pdeathsig", "KILL", *map(str, arguments)]
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean, cwd=folder)
        try:
            self.ready = eventually(f"{name} is ready", lambda: self._look(re.compile(ready)))
        except BaseException:
            self.stop()
            raise

    def _look(self, ready):
        found = ready.search(self.output())
        if not found and self.child.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.child.returncode}:\n{self.output()[-LOG_TAIL_BYTES:]}")
        assert found, self.output()[-LOG_TAIL_BYTES:]
        return found

    def output(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        self.child.kill()
        self.child.wait()
