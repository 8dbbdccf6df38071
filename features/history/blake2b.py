"""BLAKE2b (RFC 7693): its constants, and the state after the block of a key, from which kernels go on for each value."""

SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
ROUNDS = 12
LANES = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
IV = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
BLOCK_BYTES = 128
_MASK = (1 << 64) - 1


def compute_key_state(key: bytes, digest_size: int) -> tuple[int, ...]:
    """Compute the eight words of the state after the block of a key of 1 to 64 bytes."""
    state = [*IV]
    state[0] ^= 0x01010000 ^ len(key) << 8 ^ digest_size
    block = key.ljust(BLOCK_BYTES, b"\0")
    words = [int.from_bytes(block[at : at + 8], "little") for at in range(0, BLOCK_BYTES, 8)]
    v = [*state, *IV]
    v[12] ^= BLOCK_BYTES
    for number in range(ROUNDS):
        order = SIGMA[number % len(SIGMA)]
        for place, lane in enumerate(LANES):
            _mix(v, lane, words[order[2 * place]], words[order[2 * place + 1]])
    return tuple(word ^ v[place] ^ v[place + 8] for place, word in enumerate(state))


def _mix(v: list[int], lane: tuple[int, int, int, int], x: int, y: int) -> None:
    a, b, c, d = lane
    for word, first, second in ((x, 32, 24), (y, 16, 63)):
        v[a] = (v[a] + v[b] + word) & _MASK
        v[d] = _rotate(v[d] ^ v[a], first)
        v[c] = (v[c] + v[d]) & _MASK
        v[b] = _rotate(v[b] ^ v[c], second)


def _rotate(word: int, bits: int) -> int:
    return (word >> bits | word << (64 - bits)) & _MASK
