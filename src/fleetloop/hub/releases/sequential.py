"""Whether a rate has fallen, judged while the tries come in."""

from dataclasses import dataclass
from math import log

LEAST, MOST = 0.02, 0.98


@dataclass(frozen=True)
class SequentialTest:
    """Wald's sequential probability ratio test of a success rate (Annals of Mathematical Statistics 16, 1945).

    H0: the rate is `expected`. H1: it is `worse_by` less, at most half of it.

    Attributes:
        false_alarm: alpha, the chance to refuse under H0.
        miss: beta, the chance to accept under H1.
        most: tries after which it is decided by the likelier hypothesis. Both chances grow somewhat by that; where
            `most` is several times what the test needs on average, they hold.
    """

    expected: float
    worse_by: float
    false_alarm: float
    miss: float
    most: int

    def verdict(self, successes: int, tries: int) -> bool | None:
        """True: as good as expected. False: worse. None: not known yet."""
        good = min(max(self.expected, LEAST), MOST)
        bad = max(good - self.worse_by, good / 2)
        evidence = successes * log(bad / good) + (tries - successes) * log((1 - bad) / (1 - good))
        if evidence >= log((1 - self.miss) / self.false_alarm):
            return False
        if evidence <= log(self.miss / (1 - self.false_alarm)):
            return True
        return evidence < 0 if tries >= self.most else None
