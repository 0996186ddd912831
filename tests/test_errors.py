import pytest

from pediatricsgpt.errors import UserError, require_extra


def test_a_missing_package_is_named_with_the_extra_that_brings_it() -> None:
    with pytest.raises(ImportError) as missing:
        import no_such_package_at_all  # type: ignore[import-not-found] # noqa: F401
    error = require_extra("speech", missing.value)
    assert isinstance(error, UserError)
    assert "'no_such_package_at_all'" in str(error)
    assert "pip install 'pediatricsgpt[speech]'" in str(error)


def test_a_package_that_lacks_a_part_of_its_own_is_told_in_one_line_with_its_own_words() -> None:
    message = str(require_extra("documents", ImportError("x.clean is a project of its own.\nGet it.")))
    assert message.startswith("this needs what cannot be imported (x.clean is a project of its own. Get it.)")
    assert "None" not in message
    assert "\n" not in message
