"""Text that nobody has checked becomes values or an error, and is never executed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userllm.data.decoding import decode_json, decode_json_or_literal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_both_spellings_of_a_value_mean_the_same(value):
    finite = json.loads(json.dumps(value).replace("Infinity", "1"))
    assert decode_json(json.dumps(finite) + "\n") == finite
    assert decode_json_or_literal(repr(finite)) == finite


@pytest.mark.parametrize("text", ["", "{", '{"a": 1} {"b": 2}', "{'a': 1}", '{"a": NaN}'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match="no JSON"):
        decode_json(text)


def test_code_is_not_executed(tmp_path):
    victim = tmp_path / "victim"
    code = f"{{'asin': open({str(victim)!r}, 'w').close()}}"
    with pytest.raises(ValueError, match=r"Python code .* not executed"):
        decode_json_or_literal(code)
    assert not victim.exists()


@pytest.mark.parametrize("text", ["[" * 100_000, "1+" * 100_000 + "1", "{'a': 'b"])
def test_what_breaks_a_parser_is_an_ordinary_error(text):
    with pytest.raises(ValueError, match=r"neither JSON|brackets|Python code"):
        decode_json_or_literal(text)
