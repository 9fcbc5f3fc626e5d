"""pquant's random numbers (core/rng.h): Philox-4x32-10 streams of a seed for one purpose."""
import numpy as np

M32, M64 = (1 << 32) - 1, (1 << 64) - 1


def philox(key, counter):
    k0, k1 = key & M32, key >> 32
    c0, c1, c2, c3 = counter & M32, counter >> 32, 0, 0
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & M32, (p0 >> 32) ^ c3 ^ k1, p0 & M32
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return c0, c1, c2, c3


class Stream:
    def __init__(self, seed, purpose):
        h = 0xCBF29CE484222325
        for byte in purpose.encode():
            h = ((h ^ byte) * 0x100000001B3) & M64
        h ^= (seed * 0x9E3779B97F4A7C15) & M64
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & M64
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & M64
        self.key, self.counter, self.words = h ^ (h >> 31), 0, []

    def word(self):
        if not self.words:
            self.words = list(philox(self.key, self.counter))
            self.counter += 1
        return self.words.pop(0)

    def bits(self):
        high = self.word()
        return high << 32 | self.word()

    def uniform(self):
        return (self.bits() >> 11) * 2.0 ** -53

    def below(self, n):
        limit = M64 - M64 % n
        while True:
            draw = self.bits()
            if draw < limit:
                return draw % n

    def shuffle(self, index):
        for i in range(len(index), 1, -1):
            j = self.below(i)
            index[i - 1], index[j] = index[j], index[i - 1]
        return index


def orders(seed, epoch, labels):
    """The order of an epoch's events where none are set aside, and its stream of keys of batches."""
    mixed = Stream(seed, "validation").shuffle(list(range(len(labels))))
    by_class = [i for c in range(max(labels) + 1) for i in mixed if labels[i] == c]
    return np.array(Stream(seed, f"shuffle {epoch}").shuffle(by_class)), Stream(seed ^ epoch << 32, "batch")
