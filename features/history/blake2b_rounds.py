"""The rounds of BLAKE2b (RFC 7693). `features.history.blake2b_generator` writes this file; do not edit it."""

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
    v0 = h[0]
    v1 = h[1]
    v2 = h[2]
    v3 = h[3]
    v4 = h[4]
    v5 = h[5]
    v6 = h[6]
    v7 = h[7]
    v8 = IV[0]
    v9 = IV[1]
    v10 = IV[2]
    v11 = IV[3]
    v12 = IV[4] ^ counted
    v13 = IV[5]
    v14 = IV[6] ^ last
    v15 = IV[7]
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[0], m[1])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[2], m[3])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[4], m[5])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[6], m[7])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[8], m[9])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[10], m[11])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[12], m[13])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[14], m[15])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[14], m[10])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[4], m[8])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[9], m[15])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[13], m[6])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[1], m[12])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[0], m[2])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[11], m[7])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[5], m[3])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[11], m[8])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[12], m[0])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[5], m[2])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[15], m[13])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[10], m[14])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[3], m[6])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[7], m[1])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[9], m[4])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[7], m[9])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[3], m[1])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[13], m[12])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[11], m[14])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[2], m[6])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[5], m[10])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[4], m[0])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[15], m[8])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[9], m[0])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[5], m[7])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[2], m[4])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[10], m[15])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[14], m[1])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[11], m[12])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[6], m[8])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[3], m[13])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[2], m[12])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[6], m[10])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[0], m[11])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[8], m[3])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[4], m[13])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[7], m[5])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[15], m[14])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[1], m[9])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[12], m[5])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[1], m[15])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[14], m[13])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[4], m[10])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[0], m[7])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[6], m[3])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[9], m[2])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[8], m[11])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[13], m[11])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[7], m[14])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[12], m[1])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[3], m[9])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[5], m[0])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[15], m[4])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[8], m[6])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[2], m[10])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[6], m[15])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[14], m[9])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[11], m[3])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[0], m[8])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[12], m[2])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[13], m[7])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[1], m[4])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[10], m[5])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[10], m[2])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[8], m[4])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[7], m[6])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[1], m[5])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[15], m[11])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[9], m[14])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[3], m[12])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[13], m[0])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[0], m[1])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[2], m[3])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[4], m[5])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[6], m[7])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[8], m[9])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[10], m[11])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[12], m[13])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[14], m[15])
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[14], m[10])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[4], m[8])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[9], m[15])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[13], m[6])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[1], m[12])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[0], m[2])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[11], m[7])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[5], m[3])
    h[0] = h[0] ^ v0 ^ v8
    h[1] = h[1] ^ v1 ^ v9
    h[2] = h[2] ^ v2 ^ v10
    h[3] = h[3] ^ v3 ^ v11
    h[4] = h[4] ^ v4 ^ v12
    h[5] = h[5] ^ v5 ^ v13
    h[6] = h[6] ^ v6 ^ v14
    h[7] = h[7] ^ v7 ^ v15
