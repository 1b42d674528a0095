"""Names of tools fit every model, and are the same in each turn."""

import pytest

from proxy.dialects.openai_responses.names import model_name


@pytest.mark.parametrize(
    ("name", "namespace", "fits"),
    [("look", "", "look"), ("find", "crm", "crm__find"), ("a" * 64, "", "a" * 64)],
)
def test_a_name_that_fits_stays(name: str, namespace: str, fits: str) -> None:
    assert model_name(name, namespace) == fits


@pytest.mark.parametrize(("name", "namespace"), [("a" * 65, ""), ("find", "n" * 62), ("read file", ""), ("läs", "")])
def test_another_is_shortened_to_one_that_does(name: str, namespace: str) -> None:
    fitting = model_name(name, namespace)

    assert len(fitting) <= 64
    assert fitting.replace("_", "").replace("-", "").isalnum()
    assert fitting.isascii()
    assert fitting == model_name(name, namespace)


def test_long_names_that_differ_only_at_the_end_stay_different() -> None:
    assert model_name("a" * 80 + "b") != model_name("a" * 80 + "c")
