"""Calls into the library: errors as exceptions, options, progress, Ctrl-C."""
from __future__ import annotations

import operator
import os
import sys
import threading


def _coretype() -> str | None:
    """The kernels of OpenBLAS for this processor, where its own guess may be wrong (Debian's takes new ones for old)."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return None
    if {"avx512f", "avx512bw", "avx512vl"} <= set(flags):
        return "SKYLAKEX"
    return "HASWELL" if {"avx2", "fma"} <= set(flags) else None


def _load():
    """The binding. OpenBLAS reads its core type while it is loaded, and others must not see it."""
    given = os.environ.get("OPENBLAS_CORETYPE")
    wanted = None if given else _coretype()
    if wanted:
        os.environ["OPENBLAS_CORETYPE"] = wanted
    try:
        from . import _native
    finally:
        if wanted:
            del os.environ["OPENBLAS_CORETYPE"]
    return _native.ffi, _native.lib


ffi, lib = _load()


class Error(Exception):
    """What the library could not do.

    `code`: kind ("config", "shape", "not_found", …); `hint`: what to do, or "";
    `file`, `place`: file and (line, column) where the message names them, else None.
    """

    def __init__(self, message: str, code: str = "config", hint: str = "", file: str | None = None,
                 place: tuple[int, int] | None = None):
        super().__init__(message + (f" (hint: {hint})" if hint else ""))
        self.message, self.code, self.hint, self.file, self.place = message, code, hint, file, place

    def __reduce__(self):
        return type(self), (self.message, self.code, self.hint, self.file, self.place)


class ShapeError(Error, ValueError):
    """Shapes do not fit."""


class RangeError(Error, ValueError):
    """A value outside its range."""


class ConfigError(Error, ValueError):
    """A configuration, method or parameter that is not valid."""


class NotFoundError(Error, FileNotFoundError):
    """There is no such file, layer or split."""


class FormatError(Error, ValueError):
    """A file that is not valid."""


class UnsupportedError(Error, NotImplementedError):
    """What pquant has no layer, operator or format for."""


class InterruptedCall(Error):
    """The call was cancelled by its progress callback."""


class OutOfMemory(Error, MemoryError):
    """There is not enough memory."""


_KINDS = [("ok", Error), ("memory", OutOfMemory), ("shape", ShapeError), ("range", RangeError), ("numeric", Error),
          ("io", Error), ("access", Error), ("not_found", NotFoundError), ("format", FormatError),
          ("config", ConfigError), ("unsupported", UnsupportedError), ("interrupted", InterruptedCall)]


def last_error() -> Error:
    """The failure of this thread's last call."""
    file, line, column = ffi.new("char[]", 4096), ffi.new("int *"), ffi.new("int *")
    there = lib.pquant_error_place(file, 4096, line, column)
    code, kind = _KINDS[lib.pquant_error_status()]
    return kind(text(lib.pquant_error()), code, text(lib.pquant_error_hint()),
                text(file) if there else None, (line[0], column[0]) if there and line[0] else None)


def text(pointer) -> str:
    return ffi.string(pointer).decode("utf-8", "replace") if pointer != ffi.NULL else ""


def path_bytes(path) -> bytes:
    """A path as the library takes it."""
    try:
        name = os.fsencode(path)
    except TypeError:
        raise ConfigError(f"{path!r} is no path") from None
    if not name or b"\0" in name:
        raise ConfigError(f"{path!r} is no path of a file")
    return name


def check(failed) -> None:
    """Raises where a call gave NULL or a number that is not 0."""
    if failed == ffi.NULL if isinstance(failed, ffi.CData) else failed != 0:
        raise last_error()


def given(pointer):
    """The pointer, unless it is NULL."""
    if pointer == ffi.NULL:
        raise last_error()
    return pointer


class _Call:
    """One long call: its flag to cancel, its callbacks, what they raised."""

    def __init__(self, progress=None, changed=None):
        self.cancel = ffi.new("int *")
        self.progress, self.changed = progress, changed
        self.raised: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        self.raised = self.raised or error
        self.cancel[0] = 1


@ffi.def_extern(error=1)
def pquant_on_progress(context, what, done, total, note):
    call = ffi.from_handle(context)
    if call.cancel[0]:
        return 1
    try:
        return 1 if call.progress is not None and call.progress(text(what), done, total, text(note)) is False else 0
    except BaseException as error:  # raised again by run()
        call.stop(error)
        return 1


@ffi.def_extern()
def pquant_on_change(context, method, layer, what):
    call = ffi.from_handle(context)
    try:
        if call.changed is not None:
            call.changed(text(method), text(layer), text(what))
    except BaseException as error:
        call.stop(error)


def whole(name: str, value, most: int, least: int = 0) -> int:
    """A whole number in its range."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} = {value!r} is not a whole number") from None
    if not least <= number <= most:
        raise RangeError(f"{name} = {number} is not in {least}..{most}", "range")
    return number


class Options:
    """The options of a call, and all that they point to."""

    def __init__(self, *, seed=0, threads=0, engine=None, calib=None, calib_events=0, train=None, validation=None,
                 teacher=None, progress=None, changed=None, negative_weights=False):
        seed, threads, calib_events = (whole(name, value, most) for name, value, most in (
            ("seed", seed, 2**64 - 1), ("threads", threads, 1024), ("calib_events", calib_events or 0, 2**53)))
        self.call = _Call(progress, changed)
        self.handle = ffi.new_handle(self.call)
        if engine is not None and not isinstance(engine, str):
            raise ConfigError(f"engine = {engine!r} is no name", hint='for example "float32", or None')
        self.engine = ffi.new("char[]", engine.encode()) if engine else ffi.NULL
        self.keep = (calib, train, validation, teacher)
        self.c = ffi.new("pquant_options *", {
            "size": ffi.sizeof("pquant_options"), "seed": seed, "threads": threads, "engine": self.engine,
            "calib": calib.c if calib else ffi.NULL, "calib_events": calib_events or 0,
            "train": train.c if train else ffi.NULL, "validation": validation.c if validation else ffi.NULL, "teacher": teacher.c if teacher else ffi.NULL,
            "progress": lib.pquant_on_progress if progress else ffi.NULL,
            "changed": lib.pquant_on_change if changed else ffi.NULL,
            "context": self.handle, "cancel": self.call.cancel, "negative_weights": bool(negative_weights)})


def run(options: Options, call, free):
    """What `call()` gives, made in a thread of its own, so that Ctrl-C ends it at once.

    The library stops at its next batch, layer or stage. Where that takes longer (one large factorisation), the call
    ends without it, and its result is freed when it comes.
    """
    try:
        made = _watched(options, call, free)
    except BaseException:
        _end_line(complete=False)
        raise
    _end_line(complete=True)
    return made


def _watched(options: Options, call, free):
    if threading.current_thread() is not threading.main_thread():
        return _finish(options, *_attempt(call))
    box, lock, abandoned = [], threading.Lock(), [False]

    def work():
        outcome = _attempt(call)
        with lock:
            if abandoned[0]:
                if outcome[1] is None:
                    free(outcome[0])
            else:
                box.append(outcome)

    thread = threading.Thread(target=work, daemon=True, name="pquant")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.05)
    except BaseException:
        options.call.cancel[0] = 1
        thread.join(0.3)
        with lock:
            abandoned[0] = True
            if box and box[0][1] is None:
                free(box[0][0])
        raise
    return _finish(options, *box[0])


def _attempt(call):
    try:
        return call(), None
    except BaseException as error:
        return None, error


def _finish(options: Options, made, error):
    if options.call.raised is not None:
        raise options.call.raised
    if error is not None:
        raise error
    return made


class _Line:
    """The line that bar() has begun: its stream, its length, and what it counts."""

    def __init__(self, stream, length: int, what: str, total: int):
        self.stream, self.length, self.what, self.total = stream, length, what, total


_line: _Line | None = None


def bar(what: str, done: int, total: int, note: str) -> None:
    """Progress on a line of the terminal, or in a notebook's cell; the call that it is given to ends that line."""
    global _line
    share, stream = done / total if total else 1.0, sys.stderr
    told = f"{what} {done:,} of {total:,} {100 * share:3.0f} %"
    if note:
        told += f"  layer '{note[:80]}'" if what == "layers" else f"  {note[:80]}"
    before = _line.length if _line is not None and _line.stream is stream else 0
    stream.write("\r" + told + " " * max(0, before - len(told)))
    _line = _Line(stream, len(told), what, total)
    if done >= total:
        stream.write("\n")
        _line = None
    stream.flush()


def _end_line(complete: bool) -> None:
    """Ends the line that bar() has begun, if any: what is written next stands on one of its own. Reports are at least
    0.05 s apart, so the last one of a call may tell less than was done."""
    global _line
    line, _line = _line, None
    if line is None:
        return
    if complete:
        told = f"{line.what} {line.total:,} of {line.total:,} 100 %"
        line.stream.write("\r" + told + " " * max(0, line.length - len(told)))
    line.stream.write("\n")
    line.stream.flush()
