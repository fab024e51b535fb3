import inspect
import pickle
import re

import pytest

from mogface_batch import errors


def all_classes() -> list[type[errors.MogfaceBatchError]]:
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__ and issubclass(kind, errors.MogfaceBatchError)
    ]


def arguments(kind: type[errors.MogfaceBatchError]) -> tuple:
    if issubclass(kind, errors.ContractError):
        return "a.onnx", ("tensor 'boxes' is missing", "tensor 'scores' is missing")
    if issubclass(kind, errors.FetchFault):
        return "timeout", "It took too long.", 4
    if issubclass(kind, errors.RowFault):
        return "truncated", "The file ends too early."
    return ("A sentence.",)


@pytest.mark.parametrize("kind", all_classes(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_whole(kind):
    error = kind(*arguments(kind))

    back = pickle.loads(pickle.dumps(error))

    assert type(back) is kind
    assert error.args == arguments(kind)
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def drawn_tree() -> dict[str, tuple[str, int | None]]:
    """Return class -> parent and exit code, as the picture in the module's docstring has them."""
    found: dict[str, tuple[str, int | None]] = {}
    above = ["MogfaceBatchError"]
    for line in errors.__doc__.splitlines():
        match = re.match(r"^( *)([*x+-]) (\w+)(.*)$", line)
        if match is None:
            continue
        depth = "*x+-".index(match[2])
        above[depth:] = [match[3]]
        code = re.search(r"\((\d+)\)$", match[4])
        found[match[3]] = (above[depth - 1] if depth else "Exception", int(code[1]) if code else None)
    return found


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    real = {kind.__name__: kind.__base__.__name__ for kind in all_classes()}

    assert {name: parent for name, (parent, _) in drawn_tree().items()} == real


def test_the_exit_codes_in_the_docstring_are_those_of_the_classes():
    drawn = {name: code for name, (_, code) in drawn_tree().items() if code is not None}

    assert drawn == {name: getattr(errors, name).exit_code for name in drawn}
    assert set(drawn) == {kind.__name__ for kind in errors.JobFault.__subclasses__()}


def test_every_job_fault_has_an_exit_code_of_its_own_and_none_that_means_done_a_bug_or_too_many_failed():
    codes = [kind.exit_code for kind in errors.JobFault.__subclasses__()]

    assert len(set(codes)) == len(codes)
    assert not {0, 1, 6} & set(codes)


def test_a_contract_error_says_every_violation_and_what_to_type():
    text = str(errors.ContractError("a.onnx", ("tensor 'boxes' is missing", "stride is 0")))

    assert "a.onnx" in text
    assert "- tensor 'boxes' is missing" in text
    assert "- stride is 0" in text
    assert "mogface-batch export" in text
