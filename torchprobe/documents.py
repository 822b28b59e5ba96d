"""JSON documents in one normal form: frozen in memory, strict on disk."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from torchprobe.errors import FileFormatError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FrozenDict", "dumps", "freeze", "loads"]

MAX_DEPTH = 32  # settings nest a handful deep; far below the interpreter's own limit
MAX_DIGITS = 40  # holds every 128-bit seed; longer integers cost quadratic time to read

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NORMAL = (str, float, bool, type(None))
_NON_FINITE = ("nan", "inf", "-inf")


def _refuse(self: object, *_args: object, **_options: object) -> NoReturn:
    raise TypeError(f"a {type(self).__name__} is frozen; dict(...) makes a copy that can be edited")


class FrozenDict(dict[str, Any]):
    """A dictionary that cannot be changed; json, pickle, copy and ``==`` treat it as a dict.

    Example:
        >>> settings = freeze({"cut": 0.5, "layers": ["a", "b"]})
        >>> settings["layers"]
        ('a', 'b')
        >>> settings["cut"] = 1
        Traceback (most recent call last):
        TypeError: a FrozenDict is frozen; dict(...) makes a copy that can be edited
    """

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)


def freeze(value: Any) -> Any:
    """The normal form of a value: None, bool, int, float, str, tuples and `FrozenDict`.

    Arrays and tensors become nested tuples, other objects (a function, a dtype, an estimator) the
    text that names them: a document is a record of what was used, not a way to rebuild it.

    Raises:
        SettingError: nested too deep, an integer too long, or two keys with the same text.
    """
    return _freeze(value, MAX_DEPTH)


def _freeze(value: Any, depth: int) -> Any:
    if type(value) in _NORMAL:  # nearly everything: names along axes, by the hundred thousand
        return value
    if depth < 0:
        raise SettingError(f"a document nests deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, Mapping):
        return _freeze_mapping(value, depth)
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item, depth - 1) for item in value)
    if isinstance(value, (set, frozenset)):
        return tuple(_freeze(item, depth - 1) for item in sorted(value, key=repr))
    if hasattr(value, "tolist") and not isinstance(value, type):  # numpy and torch
        return _freeze(value.tolist(), depth - 1)
    return _freeze_atom(value)


def _freeze_mapping(mapping: Mapping[Any, Any], depth: int) -> FrozenDict:
    frozen = {str(key): _freeze(item, depth - 1) for key, item in mapping.items()}
    if len(frozen) < len(mapping):
        raise SettingError(f"two keys of a document have the same text: {list(mapping)!r:.200}")
    return FrozenDict(frozen)


def _freeze_atom(value: Any) -> Any:
    if isinstance(value, int):
        return _short_int(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return _ADDRESS.sub("", repr(value))  # an address would differ from run to run


def _short_int(value: int) -> int:
    if abs(value) >= 10**MAX_DIGITS:
        raise SettingError(f"an integer of a document has more than {MAX_DIGITS} digits")
    return value


def dumps(document: Any, *, indent: int | None = None, sort_keys: bool = False) -> bytes:
    """A document as strict ASCII JSON: the same document always gives the same bytes.

    NaN and infinities, which JSON has not, are written ``{"$float": "nan"}``; keys that begin with
    ``$`` get a second one, so that no name can be taken for such a number.
    """
    text = json.dumps(
        _encode(freeze(document)), allow_nan=False, indent=indent, sort_keys=sort_keys
    )
    return text.encode("ascii")


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, FrozenDict):
        return {_escape(key): _encode(item) for key, item in value.items()}
    return value


def _escape(key: str) -> str:
    return f"${key}" if key.startswith("$") else key


def loads(data: bytes, origin: object) -> Any:
    """The document that `dumps` wrote, in normal form.

    Args:
        data: the JSON text.
        origin: where it came from, for the message.

    Raises:
        FileFormatError: not strict JSON: a repeated key, NaN, an integer of thousands of digits,
            nesting thousands deep, another encoding than UTF-8.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_decode_pairs,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_parse_int,
        )
        return freeze(value)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{str(origin)!r} is not a document torchprobe wrote: {_cause(error)}; the file is "
            "damaged or was edited by hand, so save it again or take another copy"
        ) from error


def _cause(error: Exception) -> str:
    return "it nests too deep" if isinstance(error, RecursionError) else str(error)[:200]


def _decode_pairs(pairs: list[tuple[str, Any]]) -> Any:
    decoded = dict(pairs)
    if len(decoded) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {repeated[:60]!r} is there twice")
    if list(decoded) == ["$float"]:
        return _non_finite(decoded["$float"])
    return {_unescape(key): value for key, value in decoded.items()}


def _non_finite(name: Any) -> float:
    if name not in _NON_FINITE:
        raise ValueError(f"{name!r:.60} is not one of {_NON_FINITE}")
    return float(name)


def _unescape(key: str) -> str:
    if key.startswith("$") and not key.startswith("$$"):
        raise ValueError(f"the key {key[:60]!r} has no meaning")
    return key.removeprefix("$")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:60]} is too large")
    return value


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:  # and a sign
        raise ValueError(f"an integer has {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)
