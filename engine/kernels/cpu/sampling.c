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
            high = higher(v, high);
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

#define GROUP (4 * LANES) /* tokens whose words are made together */

/* Words of tokens first … first + GROUP - 1, by Philox4x32-10 on sixteen counters at a time
 * (Salmon et al., SC 2011): word w of counter n belongs to token 4 n + w. */
INLINE void philox_words(int64_t first, uint32_t position, uint64_t seed, uint32_t words[GROUP]) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int l = 0; l < LANES; l++)
        c0[l] = (uint32_t)(first / 4) + l, c1[l] = position, c2[l] = 0, c3[l] = 0;
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < LANES; l++) {
            uint64_t left = (uint64_t)c0[l] * 0xD2511F53u, right = (uint64_t)c2[l] * 0xCD9E8D57u;
            c0[l] = (uint32_t)(right >> 32) ^ c1[l] ^ k0;
            c2[l] = (uint32_t)(left >> 32) ^ c3[l] ^ k1;
            c1[l] = (uint32_t)right;
            c3[l] = (uint32_t)left;
        }
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int l = 0; l < LANES; l++) {
        words[4 * l] = c0[l], words[4 * l + 1] = c1[l];
        words[4 * l + 2] = c2[l], words[4 * l + 3] = c3[l];
    }
}

/* Which tokens of a group may still win: with noise g = -ln(-ln u) < -ln(1 - u), the sum x + g
 * passes `best` only if 1 - u < e^(x - best). The slack covers the rounding of both sides. */
INLINE int may_win(const float *x, const uint32_t words[GROUP], float best, uint8_t near[GROUP]) {
    int any = 0;
    for (int v = 0; v < GROUP; v += LANES) {
        vec bound = vexp(load(x + v) - best);
        for (int l = 0; l < LANES; l++) {
            float above = (float)(0xFFFFFFFFu - words[v + l]) * 2.3283064e-10f;
            near[v + l] = above <= bound[l] * 1.001f + 1e-9f;
            any |= near[v + l];
        }
    }
    return any;
}

static void gumbel_rows(void *arg, int64_t from, int64_t to) {
    const Gumbel *a = arg;
    for (int64_t t = from; t < to; t++) {
        const float *row = a->logits + t * a->width;
        double best = -INFINITY;
        int64_t at = -1;
        for (int64_t i = 0; i < a->width; i += GROUP) {
            float x[GROUP];
            int64_t count = a->width - i < GROUP ? a->width - i : GROUP;
            for (int64_t j = 0; j < GROUP; j++) x[j] = j < count ? row[i + j] : -INFINITY;
            uint32_t words[GROUP];
            uint8_t near[GROUP];
            memset(near, 1, sizeof near);
            philox_words(i, (uint32_t)a->positions[t], a->seeds[t], words);
            if (at >= 0 && !may_win(x, words, (float)best, near)) continue;
            for (int j = 0; j < GROUP; j++) {
                if (!near[j] || x[j] == -INFINITY) continue;
                double sum = x[j] - log(-log((words[j] + 0.5) / 4294967296.0));
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
