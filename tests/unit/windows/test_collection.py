"""The collector rests while many objects are made, and is what it was afterwards."""

import gc

import pytest

from convmemory.windows.collection import uncollected


@pytest.mark.parametrize(("count", "inside"), [(1000, True), (1001, False)])
def test_it_rests_for_many_objects_only(count, inside):
    with uncollected(count):
        assert gc.isenabled() is inside
    assert gc.isenabled()


def test_it_is_on_again_after_an_error():
    with pytest.raises(ZeroDivisionError), uncollected(10_000):
        raise ZeroDivisionError
    assert gc.isenabled()


def test_it_stays_off_where_the_application_has_it_off():
    gc.disable()
    try:
        with uncollected(10_000):
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
