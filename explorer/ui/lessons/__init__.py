"""The lessons of the Learn page, a file for each family; here they are in order."""

from explorer.ui.lessons.calibration import CALIBRATION
from explorer.ui.lessons.gradients import CAM, GRAD_CAM
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.lessons.masking import SCORE_CAM
from explorer.ui.lessons.metrics import FOOLED
from explorer.ui.lessons.optimisation import OPTI_CAM
from explorer.ui.lessons.references import LIBRA_CAM
from explorer.ui.lessons.seeing import CHANNELS, SEEING
from explorer.ui.lessons.shares import LIFT_CAM

LESSONS: tuple[Lesson, ...] = (
    SEEING,
    CHANNELS,
    CAM,
    GRAD_CAM,
    SCORE_CAM,
    LIFT_CAM,
    LIBRA_CAM,
    CALIBRATION,
    OPTI_CAM,
    FOOLED,
)

__all__ = ["LESSONS", "Lesson", "Scene"]
