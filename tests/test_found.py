"""What fuzzing found: each line of input that showed a mistake, as plain as it can be."""
import pytest

from support import Bench


@pytest.mark.parametrize("kind", ["vzdump", "qmstart", "nonsense", ".."])
def test_the_type_of_a_task_is_not_that_of_a_guest(kind):
    """An argument `type` was taken for the guest's kind, and the guest's node could not be looked up."""
    answer = Bench().run("proxmox_list_tasks", vmid=100, type=kind)
    assert not answer.failed, answer.text
