"""Several tasks learned by one model: each training batch belongs to one of them."""

from collections.abc import Mapping

from userllm.errors import UserError
from userllm.task.batch import Material
from userllm.task.exam import Exam, Task
from userllm.task.favorite_category import FavoriteCategory


class Multi:
    """Train on several tasks in turn and ask all of them.

    Which task a batch belongs to is drawn in proportion to the weights. A task of weight 0 is
    asked and never trained on.

    Args:
        weights: Share of the training batches by name of the task, whatever they add up to.
        tasks: The tasks by name; None leaves one out.

    Source: named as future work in User-LLM section 6.
    """

    def __init__(self, *, weights: Mapping[str, float], **tasks: Task | None) -> None:
        self.tasks = {name: task for name, task in tasks.items() if task is not None}
        self.weights = {name: weights.get(name, -1.0) for name in self.tasks}
        wrong = [name for name, weight in self.weights.items() if weight < 0]
        unknown = sorted(set(weights) - set(tasks))
        if wrong or unknown:
            raise UserError(
                f"task.weights={dict(weights)}: expected a number of at least 0 for each of "
                f"{', '.join(self.tasks)}, and no other. Type "
                f"task.weights={{{','.join(f'{name}:1' for name in self.tasks)}}}"
            )
        favorite = self.tasks.get("favorite_category")
        if isinstance(favorite, FavoriteCategory):
            rest = sum(self.weights.values()) - self.weights["favorite_category"]
            favorite.among_others = rest > 0
        if not sum(self.weights.values()):
            raise UserError(
                "task.weights: nothing would be trained on. Expected at least one weight above 0."
            )

    def exams(self, material: Material, weight: float) -> list[Exam]:
        """Return the exams of all tasks, with their shares of the weight."""
        total = sum(self.weights.values())
        return [
            exam
            for name, task in self.tasks.items()
            for exam in task.exams(material, weight * self.weights[name] / total)
        ]
