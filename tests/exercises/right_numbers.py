"""The right numbers of each exercise that asks for numbers, and of each prediction: (answers, further arguments)."""

MIB = 2**20
P = 123_457

RANKS = {
    "00.1": ((6,), {}),
    "00.2": ((96 * MIB,), {}),
    "00.3": ((14, 6), {}),
    "00.6": ((96 * MIB, 64 * MIB), {}),
}

DATA = {
    "01.1": ((2 * 3 / 4 * 8 * P,), {"parameters": P}),
    "01.2": ((48, 12, 60), {}),
    "01.6": ((0.8, 0.2), {}),
    "01.10": ((20 * P, 14 * P, 8 * P), {"parameters": P}),
    "01.13": ((2 * 7 * 8 * P,), {"ranks": 8, "parameters": P}),
    "01.14": ((8, 2, 1 / 9), {}),
}

PIPELINE = {
    "03.1": ((3 / 11, 3 / 11, 3 / 19), {}),
    "03.2": ((64, 16), {}),
    "03.3": ((8, 1, 32, 8, 15), {}),
    "03.4": (tuple(k * 2 * 8 * 4 * 512 * 1024 * 4 for k in (1, 3, 7)), {"m": 8, "b": 4, "T": 512, "C": 1024}),
    "03.5": ((1 / 9, 3 / 35), {}),
}

NUMBERS = RANKS | DATA | PIPELINE

_LINK = {"bytes_per_s": 1e9, "latency_s": 1e-5}
NUMBERS |= {
    "01.i": ((1.0, 2.5, 1.4), {"parameters": 1000, "layers": 800}),
    "01.j": ((0.6 + 0.3,), {"parameters": 100_000, "messages": 10, **_LINK}),
    "01.k": ((1.5,), {}),
    "01.l": ((3 * 10 * 7 * 4, 4 / 3), {"blocks": 3, "length": 10, "channels": 7}),
}
