"""Ctrl-C and SIGTERM as a wish that is granted after the step."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Notes the first signal while it is entered, so that no step is ever cut in half.

    The second signal does what it would have done without us. A signal that the process was started
    to ignore, as a script's background jobs ignore Ctrl-C, stays ignored.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[int, Any] = {}

    def __bool__(self) -> bool:
        """Say whether somebody wants the run to stop."""
        return self.signum is not None

    def __enter__(self) -> Self:
        """Take the signals over; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in SIGNALS}
            self._previous = {n: own for n, own in before.items() if own != signal.SIG_IGN}
            for number in self._previous:
                signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        self._give_back()

    def deliver(self) -> None:
        """Do now what the signal would have done when it came.

        Raises:
            KeyboardInterrupt: After Ctrl-C, or whatever the caller's own handler raises; also when
                that raises nothing, since what was stopped early must not pass for finished.
            SystemExit: After SIGTERM, if the caller has no handler of its own: dying at once, as
                the default handler does, would leave no time to mark the run as interrupted.
        """
        if self.signum is None:
            return
        if self.signum == signal.SIGTERM and signal.getsignal(self.signum) == signal.SIG_DFL:
            raise SystemExit(128 + signal.SIGTERM)
        signal.raise_signal(self.signum)
        raise KeyboardInterrupt

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.signum = signum
        self._give_back()
        log.warning("Stopping after this step, then saving; once more to stop at once.")

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
