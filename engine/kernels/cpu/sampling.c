/* Choosing tokens: sample_greedy.py and sample_gumbel.py. */
#include <math.h>

#include "threads.h"
#include "vector.h"

typedef struct {
    const float *logits;
    int64_t *out;
    int64_t width;
} Argmax;

/* First index of the largest value; -1 if the row holds a NaN. */
static void argmax_rows(void *arg, int64_t from, int64_t to) {
    const Argmax *a = arg;
    for (int64_t t = from; t < to; t++) {
        const float *x = a->logits + t * a->width;
        float best = x[0];
        vec high = splat(best), odd = {0};
        int64_t i = 0;
        for (; i + LANES <= a->width; i += LANES) {
            vec v = load(x + i);
            high = pick(v > high, v, high);
            odd += v * 0.0f; /* NaN or infinity leaves a mark */
        }
        best = largest(high);
        int marked = sum(odd) != 0.0f;
        for (; i < a->width; i++) {
            best = x[i] > best ? x[i] : best;
            marked |= x[i] != x[i];
        }
        if (marked || best != best) {
            int64_t bad = 0;
            for (int64_t j = 0; j < a->width; j++) bad += x[j] != x[j];
            if (bad) {
                a->out[t] = -1;
                continue;
            }
        }
        int64_t at = 0;
        while (x[at] != best) at++;
        a->out[t] = at;
    }
}

EXPORT void pagoda_argmax(const float *logits, int64_t *out, int64_t rows, int64_t width) {
    Argmax a = {logits, out, width};
    parallel(rows, argmax_rows, &a);
}

typedef struct {
    const float *logits;
    const uint64_t *seeds;
    const int64_t *positions;
    int64_t *out;
    int64_t width;
} Gumbel;

/* Philox4x32-10 on one counter (Salmon et al., SC 2011). */
INLINE void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t left = (uint64_t)c[0] * 0xD2511F53u, right = (uint64_t)c[2] * 0xCD9E8D57u;
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(right >> 32) ^ c1 ^ k0;
        c[1] = (uint32_t)right;
        c[2] = (uint32_t)(left >> 32) ^ c3 ^ k1;
        c[3] = (uint32_t)left;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

/* The noise of a 32-bit word is at most -ln(-ln(1 - 2^-33)) < 23: a token that is further below
 * the best sum so far cannot win, and its noise is never computed. */
#define MOST_NOISE 23.0

static void gumbel_rows(void *arg, int64_t from, int64_t to) {
    const Gumbel *a = arg;
    for (int64_t t = from; t < to; t++) {
        const float *x = a->logits + t * a->width;
        const uint64_t seed = a->seeds[t];
        double best = -INFINITY;
        int64_t at = -1;
        for (int64_t i = 0; i < a->width; i += 4) {
            const int count = a->width - i < 4 ? (int)(a->width - i) : 4;
            int near = 0;
            for (int j = 0; j < count; j++) near |= x[i + j] + MOST_NOISE > best;
            if (!near) continue;
            uint32_t c[4] = {(uint32_t)(i / 4), (uint32_t)a->positions[t], 0, 0};
            philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
            for (int j = 0; j < count; j++) {
                if (!(x[i + j] + MOST_NOISE > best)) continue;
                double sum = x[i + j] - log(-log((c[j] + 0.5) / 4294967296.0));
                if (sum > best) best = sum, at = i + j;
            }
        }
        a->out[t] = at;
    }
}

EXPORT void pagoda_gumbel(const float *logits, const uint64_t *seeds, const int64_t *positions,
                          int64_t *out, int64_t rows, int64_t width) {
    Gumbel a = {logits, seeds, positions, out, width};
    parallel(rows, gumbel_rows, &a);
}
