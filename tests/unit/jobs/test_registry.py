import functools
import importlib
import sys

import pytest

from forebay.jobs import DuplicateHandler, Registry, RetryPolicy, default_registry, job


async def handle(context):
    return context


def test_a_handler_is_found_by_its_type_and_stays_itself():
    registry = Registry()
    retry = RetryPolicy(max_attempts=2)
    assert registry.job("mail.send", retry=retry, timeout=5)(handle) is handle
    spec = registry.lookup("mail.send")
    assert (spec.function, spec.is_async, spec.retry, spec.timeout) == (handle, True, retry, 5)
    assert registry.types() == {"mail.send"}


def test_an_unknown_type_has_no_handler():
    assert Registry().lookup("nothing") is None


def test_plain_functions_are_marked_as_not_async():
    registry = Registry()

    @registry.job("report")
    def report(context):
        return context

    assert registry.lookup("report").is_async is False


def test_two_functions_for_one_type_are_refused_naming_both_places():
    registry = Registry()

    @registry.job("mail.send")
    def first(context):
        return context

    with pytest.raises(DuplicateHandler) as caught:

        @registry.job("mail.send")
        def second(context):
            return context

    message = str(caught.value)
    assert "first" in message
    assert "second" in message
    assert message.count(f"{__file__}:") == 2


def test_a_module_that_is_imported_again_registers_again(tmp_path, monkeypatch):
    source = "from forebay.jobs import job\n@job('again.and.again')\ndef run(context): ...\n"
    (tmp_path / "again_jobs.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("again_jobs")
    module = importlib.reload(module)
    try:
        assert default_registry.lookup("again.and.again").function is module.run
    finally:
        del sys.modules["again_jobs"]
        del default_registry._specs["again.and.again"]


def test_a_script_that_is_also_imported_as_a_module_registers_again(tmp_path):
    registry = Registry()
    source = compile("@job('t')\ndef run(context): ...\n", str(tmp_path / "jobs.py"), "exec")
    for name in ("__main__", "jobs"):
        exec(source, {"__name__": name, "job": registry.job})
    assert registry.lookup("t").function.__module__ == "jobs"


def none():
    return None


def two(context, more):
    return context, more


def two_with_default(context, more=1):
    return context, more


def keyword_only(*, context):
    return context


@pytest.mark.parametrize("function", [none, two, two_with_default, keyword_only])
def test_a_handler_takes_exactly_one_argument(function):
    with pytest.raises(TypeError, match="exactly one argument") as caught:
        Registry().job("t")(function)
    assert f"async def {function.__name__}(job: JobContext)" in str(caught.value)


def test_a_wrapped_handler_counts_the_arguments_of_what_it_wraps():
    @functools.wraps(handle)
    def wrapper(*args, **kwargs):
        return handle(*args, **kwargs)

    registry = Registry()
    registry.job("t")(wrapper)
    assert registry.types() == {"t"}


def test_a_generator_cannot_be_a_handler():
    async def stream(context):
        yield context

    with pytest.raises(TypeError, match="generator"):
        Registry().job("t")(stream)


@pytest.mark.parametrize("thing", [int, len, functools.partial(two, 1), object()])
def test_only_functions_can_be_handlers(thing):
    with pytest.raises(TypeError, match="a handler is a function"):
        Registry().job("t")(thing)


def test_the_decorator_without_a_type_says_how_it_is_used():
    with pytest.raises(TypeError, match="needs the job's type"):
        job(handle)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_must_be_positive(timeout):
    with pytest.raises(ValueError, match="timeout"):
        Registry().job("t", timeout=timeout)


@pytest.mark.parametrize("type_", ["", "x" * 201, "a\nb", "\ud800"])
def test_a_type_is_a_short_printable_text(type_):
    with pytest.raises(ValueError, match="type"):
        Registry().job(type_)
