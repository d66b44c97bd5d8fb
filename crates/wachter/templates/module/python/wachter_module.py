"""The module protocol, version 1, with the standard library alone (Python 3.9 and later).

A module is a function that takes a Context and returns changed(...) or unchanged(...); hand it to
run(). Raise Failed where something was tried and could not be done, Refused where it was not tried.
Any other exception is a failure too, and its traceback goes to the log.

Messages go to what was stdout; print() writes to stderr, which the node keeps as log.
"""

import datetime
import json
import os
import sys
import traceback

PROTOCOL = 1
MAX_REQUEST = 16 << 20
MAX_LINE = 2 << 20
MAX_STATE = 1 << 20


class Failed(Exception):
    """It was tried and could not be done: one sentence for a person."""


class Refused(Exception):
    """It was not tried: something that the module needs was withheld, as in a dry run."""


def changed(message=None, output=None):
    """Something is different from before; in a dry run, would be."""
    return _report(True, message, output)


def unchanged(message=None, output=None):
    """Everything is as it was before. A second run with the same input says this."""
    return _report(False, message, output)


class Context:
    """What a module knows about its run, and how it speaks.

    input    what the agent or the caller hands in; options() reads it with defaults
    state    a dictionary that is kept from run to run, 1 MiB of JSON at most
    host     the host views that were granted, by name: context.host["memory"]["total_bytes"]
    missing  what the node could not see of the host: one sentence each
    event    the event that caused the run as CloudEvents JSON, or None
    dry_run  nothing may be changed: say what would be
    idempotency_key
             what the run is for: the same text when a run that failed or was cut off is repeated
    deadline when the node stops the run, a datetime in UTC
    """

    def __init__(self, request, output):
        host = request.get("host") or {}
        self.run = request["run"]
        self.module = request["module"]
        self.input = {} if request.get("input") is None else request["input"]
        self.state = {} if request.get("state") is None else request["state"]
        self.host = host.get("views") or {}
        self.missing = host.get("missing") or []
        self.event = request.get("event")
        self.dry_run = bool(request.get("dry_run"))
        self.idempotency_key = request.get("idempotency_key")
        self.deadline = _time(request["deadline"])
        self._output = output

    def options(self, defaults):
        """The input as a dictionary, filled with defaults, which decide the types.

        A key that is not among the defaults, and a value of another type than its default, is a
        failure that names it. A default of None takes any value.
        """
        if not isinstance(self.input, dict):
            raise Failed(f"the input is not right: it must be an object, not {_kind(self.input)}")
        for key, value in self.input.items():
            if key not in defaults:
                known = ", ".join(sorted(defaults))
                raise Failed(f"the input `{key}` is not known; known are {known}")
            default = defaults[key]
            fits = default is None or type(value) is type(default)
            if not fits and isinstance(default, float) and type(value) is int:
                fits = True
            if not fits:
                raise Failed(
                    f"the input `{key}` is not right: it must be {_kind(default)}, not {_kind(value)}"
                )
        return {**defaults, **self.input}

    def remaining(self):
        """Seconds until the deadline; 0 when it has passed."""
        now = datetime.datetime.now(datetime.timezone.utc)
        return max(0.0, (self.deadline - now).total_seconds())

    def log(self, level, message, **fields):
        """Writes to the log; level is trace, debug, info, warn, error or critical."""
        line = {"level": level, "message": str(message)[:65536]}
        self._output.say("log", {**line, "fields": fields} if fields else line)

    def progress(self, fraction, message):
        """Says how far the run is, 0 to 1, and what is being done."""
        self._output.say("progress", {"fraction": fraction, "message": str(message)})

    def emit(self, topic, subject=None, data=None):
        """Emits an event; the topic must stand under `emits` in module.yaml."""
        self._output.say("event", _without_none(type=topic, subject=subject, data=data))

    def finding(
        self, topic, *, severity, confidence, subject, message, fingerprint, evidence=None, resolved=False
    ):
        """Reports a problem, or with resolved=True that it has gone.

        severity is info, low, medium, high or critical; confidence 0 to 1. The fingerprint stays
        the same while the problem is the same.
        """
        self._output.say(
            "finding",
            _without_none(
                type=topic,
                severity=severity,
                confidence=confidence,
                subject=subject,
                message=message,
                fingerprint=fingerprint,
                evidence=evidence,
                resolved=resolved,
            ),
        )

    def metric(self, name, value, **labels):
        """Reports a measurement, its unit in its name: memory_available_bytes."""
        texts = {key: str(label) for key, label in labels.items()}
        self._output.say("metric", {"name": name, "value": value, "labels": texts})


def run(execute):
    """Reads the request, calls execute(context) and writes the result. Does not return.

    The exit code repeats the result: 0 succeeded, 1 failed, 2 refused, 3 nobody was there to read.
    """
    output = _Output()
    try:
        result = _execute(execute, output)
    except Refused as error:
        result = {"outcome": "refused", "message": str(error)}
    except Failed as error:
        result = {"outcome": "failed", "message": str(error)}
    except _Gone:
        os._exit(3)
    except BaseException as error:  # sys.exit() and Ctrl-C are no reason to end without a result.
        traceback.print_exc()
        result = {"outcome": "failed", "message": f"{type(error).__name__}: {error}"}
    sys.stderr.flush()
    try:
        output.end(result)
    except _Gone:
        os._exit(3)
    sys.exit({"succeeded": 0, "failed": 1, "refused": 2}[result["outcome"]])


def _execute(execute, output):
    context = Context(_read_request(), output)
    report = execute(context)
    if not isinstance(report, dict) or "changed" not in report:
        raise Failed("the module returned neither changed(...) nor unchanged(...)")
    result = {"outcome": "succeeded", **report}
    if not context.dry_run:
        size = len(json.dumps(context.state, allow_nan=False))
        if size > MAX_STATE:
            raise Failed(f"the state has {size} bytes; {MAX_STATE} is the most: keep less from run to run")
        result["state"] = context.state
    # What cannot be written must fail here, where it can still be said.
    _line("result", result)
    return result


def _read_request():
    data = sys.stdin.buffer.read(MAX_REQUEST + 1)
    if len(data) > MAX_REQUEST:
        raise Failed(f"the request has more than {MAX_REQUEST} bytes")
    if not data.strip():
        raise Failed("there is no request on stdin: a node starts a module; to try one, use `wachter module test`")
    try:
        request = json.loads(data)
        protocol = request["protocol"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Failed(f"the request is not one: {error!r}") from None
    if protocol != PROTOCOL:
        raise Refused(
            f"the node speaks module protocol {protocol}, this module speaks {PROTOCOL}; "
            "take the wachter_module.py of the node's version"
        )
    for key in ("run", "module", "deadline"):
        if key not in request:
            raise Failed(f"the request is not one: `{key}` is missing")
    return request


class _Gone(BaseException):
    """The node does not read any more. No `except Exception` of a module catches it."""


class _Output:
    """The real stdout, for messages alone."""

    def __init__(self):
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)

    def say(self, kind, body):
        self._write(_line(kind, body))

    def end(self, result):
        self._write(_line("result", result))

    def _write(self, line):
        left = memoryview(line)
        try:
            while left:
                left = left[self._file.write(left):]
        except OSError:
            raise _Gone from None


def _line(kind, body):
    try:
        text = json.dumps({kind: body}, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise Failed(f"{kind}: cannot be written as JSON: {error}") from None
    # A file name that is not UTF-8 holds halves of surrogate pairs, which no node takes.
    line = text.encode("utf-8", "replace")
    if len(line) > MAX_LINE:
        raise Failed(f"{kind}: has {len(line)} bytes; {MAX_LINE} is the most: name a file, or say less")
    return line + b"\n"


def _report(is_changed, message, output):
    return _without_none(changed=is_changed, message=message, output=output)


def _without_none(**values):
    return {key: value for key, value in values.items() if value is not None}


def _kind(value):
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(type(value), {dict: "an object", list: "a list"}.get(type(value), "null"))


def _time(text):
    # datetime takes a final Z and nanoseconds only from Python 3.11 on.
    whole, _, _ = text.rstrip("Zz").partition(".")
    try:
        return datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Failed(f"the deadline `{text}` is not a time of RFC 3339") from None
