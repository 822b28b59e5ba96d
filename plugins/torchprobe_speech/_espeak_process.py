"""The program that speaks: run by path in a process of its own, it imports nothing of torchprobe.

espeak-ng keeps global state that outlives even its own terminate and initialise (the noise of
breathy voices, for one), so only a fresh process with a fixed seed and the same sequence of
requests speaks the same twice.

    python _espeak_process.py LIBRARY DATA SEED

Each line of standard input is a request in JSON: text, voice, pitch, rate. Each answer on standard
output is two little-endian uint32, the sizes in bytes of what follows: a JSON object (rate,
phonemes, words; events are [sample, value]) and the samples (int16). Errors go to standard error
with exit status 1.
"""

import ctypes
import json
import os
import struct
import sys
from typing import Any

_SYNCHRONOUS = 2
_PHONEME_EVENTS_DO_NOT_EXIT = 0x0001 | 0x8000
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7  # espeak_EVENT_TYPE


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Speaker:
    """espeak-ng through its C interface; one a process."""

    def __init__(self, library: str, data: str, seed: int) -> None:
        self._espeak = ctypes.CDLL(library)
        self.rate = self._espeak.espeak_Initialize(
            _SYNCHRONOUS, 0, os.fsencode(data), _PHONEME_EVENTS_DO_NOT_EXIT
        )
        if self.rate <= 0:
            raise RuntimeError(f"espeak_Initialize failed with {self.rate} for the data at {data}")
        self._callback = _Callback(self._receive)  # a collected callback would crash espeak
        self._espeak.espeak_SetSynthCallback(self._callback)
        self._espeak.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._clear()

    def say(self, text: str, voice: str, pitch: int, rate: int) -> bytes:
        """Speaks one text; what was heard is then in `phonemes` and `words`."""
        self._clear()
        self._set_voice(voice, pitch, rate)
        spoken = text.encode()
        status = self._espeak.espeak_Synth(
            spoken, ctypes.c_size_t(len(spoken) + 1), 0, 1, 0, _UTF8, None, None
        )
        if status != 0 or not self._audio:
            raise RuntimeError(f"espeak_Synth failed with {status} for {text!r}")
        return bytes(self._audio)

    def _clear(self) -> None:
        self._audio = bytearray()
        self.phonemes: list[tuple[int, str]] = []
        self.words: list[tuple[int, tuple[int, int]]] = []

    def _set_voice(self, voice: str, pitch: int, rate: int) -> None:
        if self._espeak.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        self._espeak.espeak_SetParameter(_RATE, rate, 0)
        self._espeak.espeak_SetParameter(_PITCH, pitch, 0)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._audio += ctypes.string_at(samples, 2 * count)
        index = 0
        while events[index].type != _END_OF_LIST:
            self._note(events[index])
            index += 1
        return 0

    def _note(self, event: _Event) -> None:
        if event.type == _PHONEME:
            self.phonemes.append((event.sample, event.id.string.decode()))
        elif event.type == _WORD:
            first = event.text_position - 1  # espeak counts characters from 1
            self.words.append((event.sample, (first, first + event.length)))


def main() -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints must not mix with the answers
    speaker = Speaker(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    for line in sys.stdin:
        audio = speaker.say(**json.loads(line))
        heard = {"rate": speaker.rate, "phonemes": speaker.phonemes, "words": speaker.words}
        header = json.dumps(heard).encode()
        answers.write(struct.pack("<II", len(header), len(audio)) + header + audio)
        answers.flush()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(str(error))
