"""Writes the rounds of BLAKE2b (RFC 7693) as straight code: `python -m features.history.blake2b_generator > features/history/blake2b_rounds.py`.

A kernel that looks the order of the words up takes half as long again. Code made at run time could not be cached.
"""

from features.history.blake2b import LANES, ROUNDS, SIGMA

HEAD = '''"""The rounds of BLAKE2b (RFC 7693). `features.history.blake2b_generator` writes this file; do not edit it."""

import numpy as np

from features.normalization.compiling import Array, Int, inlined_kernel, kernel

U32, U24, U16, U63 = np.uint64(32), np.uint64(24), np.uint64(16), np.uint64(63)
U40, U48, U1 = np.uint64(40), np.uint64(48), np.uint64(1)
IV = tuple(
    np.uint64(word)
    for word in (
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    )
)  # fmt: skip
LAST_BLOCK = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined_kernel
def _mix(a: Int, b: Int, c: Int, d: Int, x: Int, y: Int) -> tuple[Int, Int, Int, Int]:
    a = a + b + x
    d = d ^ a
    d = (d >> U32) | (d << U32)
    c = c + d
    b = b ^ c
    b = (b >> U24) | (b << U40)
    a = a + b + y
    d = d ^ a
    d = (d >> U16) | (d << U48)
    c = c + d
    b = b ^ c
    b = (b >> U63) | (b << U1)
    return a, b, c, d


@kernel
def compress(h: Array, m: Array, counted: Int, last: Int) -> None:
    """Mix a block into the state. `counted` is the number of bytes so far, and `last` is `LAST_BLOCK` or 0, all uint64.

    Parameters
    ----------
    h : uint64 array, (8,)
    m : uint64 array, (16,)
    """
'''


def generate() -> str:
    """Return the text of the file of the rounds."""
    lines = [f"    v{place} = h[{place}]" for place in range(8)]
    lines += [f"    v{place} = IV[{place - 8}]" for place in range(8, 16)]
    lines[12], lines[14] = "    v12 = IV[4] ^ counted", "    v14 = IV[6] ^ last"
    for number in range(ROUNDS):
        order = SIGMA[number % len(SIGMA)]
        for place, (a, b, c, d) in enumerate(LANES):
            x, y = order[2 * place], order[2 * place + 1]
            lines.append(f"    v{a}, v{b}, v{c}, v{d} = _mix(v{a}, v{b}, v{c}, v{d}, m[{x}], m[{y}])")
    lines += [f"    h[{place}] = h[{place}] ^ v{place} ^ v{place + 8}" for place in range(8)]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(generate(), end="")
