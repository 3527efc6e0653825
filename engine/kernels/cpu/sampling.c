/* Choosing tokens: apply_masks.py, sample_greedy.py and sample_gumbel.py. */
#include <math.h>

#include "threads.h"
#include "vector.h"

typedef struct {
    float *logits;
    const uint32_t *masks;
    const int64_t *places, *rows;
    uint8_t *alive;
    int64_t width, words;
} Masks;

static void mask_rows(void *arg, int64_t from, int64_t to) {
    const Masks *a = arg;
    const ivec bit = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                      1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    for (int64_t t = from; t < to; t++) {
        float *x = a->logits + a->places[t] * a->width;
        const uint32_t *mask = a->masks + a->rows[t] * a->words;
        uint32_t any = 0;
        int64_t i = 0;
        for (; i + LANES <= a->width; i += LANES) {
            uint32_t half = mask[i / 32] >> (i % 32) & 0xffff;
            any |= half;
            ivec in = ((ivec){0} + (int32_t)half & bit) != 0;
            if (half == 0) store(x + i, splat(-INFINITY));
            else if (half != 0xffff) store(x + i, pick(in, load(x + i), splat(-INFINITY)));
        }
        for (; i < a->width; i++) {
            uint32_t in = mask[i / 32] >> (i % 32) & 1;
            any |= in;
            if (!in) x[i] = -INFINITY;
        }
        a->alive[t] = any != 0;
    }
}

EXPORT void pagoda_apply_masks(float *logits, const uint32_t *masks, const int64_t *places,
                               const int64_t *rows, uint8_t *alive, int64_t count, int64_t width,
                               int64_t words) {
    Masks a = {logits, masks, places, rows, alive, width, words};
    parallel(count, mask_rows, &a);
}

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

typedef uint64_t wide __attribute__((vector_size(8 * LANES))); /* 32-bit words in 64-bit lanes */

/* Words of tokens first … first + GROUP - 1, by Philox4x32-10 on sixteen counters at a time
 * (Salmon et al., SC 2011): word w of counter n belongs to token 4 n + w. */
INLINE void philox_words(int64_t first, uint32_t position, uint64_t seed, uint32_t words[GROUP]) {
    const wide low = (wide){0} + 0xFFFFFFFFu;
    wide c0, c1 = (wide){0} + position, c2 = {0}, c3 = {0};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int l = 0; l < LANES; l++) c0[l] = (uint32_t)(first / 4) + l;
    for (int round = 0; round < 10; round++) {
        wide left = c0 * 0xD2511F53u, right = c2 * 0xCD9E8D57u;
        c0 = (right >> 32) ^ c1 ^ k0;
        c1 = right & low;
        c2 = (left >> 32) ^ c3 ^ k1;
        c3 = left & low;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int l = 0; l < LANES; l++) {
        words[4 * l] = (uint32_t)c0[l], words[4 * l + 1] = (uint32_t)c1[l];
        words[4 * l + 2] = (uint32_t)c2[l], words[4 * l + 3] = (uint32_t)c3[l];
    }
}

/* Which tokens of a group may still win: with noise g = -ln(-ln u) < -ln(1 - u), the sum x + g
 * passes `best` only if 1 - u < e^(x - best). The slack covers the rounding of both sides. */
INLINE int may_win(const float *x, const uint32_t words[GROUP], float best, int32_t near[GROUP]) {
    ivec any = {0};
    for (int v = 0; v < GROUP; v += LANES) {
        uvec word;
        memcpy(&word, words + v, sizeof word);
        vec above = __builtin_convertvector((ivec)(~word >> 1), vec) * 4.6566129e-10f;
        ivec passed = above <= vexp(load(x + v) - best) * 1.001f + 1e-9f;
        memcpy(near + v, &passed, sizeof passed);
        any |= passed;
    }
    int found = 0;
    for (int l = 0; l < LANES; l++) found |= any[l];
    return found;
}

static void gumbel_rows(void *arg, int64_t from, int64_t to) {
    const Gumbel *a = arg;
    for (int64_t t = from; t < to; t++) {
        const float *row = a->logits + t * a->width;
        double best = -INFINITY;
        float below = -INFINITY; /* best, never rounded up */
        int64_t at = -1;
        for (int64_t i = 0; i < a->width; i += GROUP) {
            float x[GROUP];
            int64_t count = a->width - i < GROUP ? a->width - i : GROUP;
            for (int64_t j = 0; j < GROUP; j++) x[j] = j < count ? row[i + j] : -INFINITY;
            uint32_t words[GROUP];
            int32_t near[GROUP];
            memset(near, 1, sizeof near);
            philox_words(i, (uint32_t)a->positions[t], a->seeds[t], words);
            if (at >= 0 && !may_win(x, words, below, near)) continue;
            for (int j = 0; j < GROUP; j++) {
                if (!near[j] || x[j] == -INFINITY) continue;
                double sum = x[j] - log(-log((words[j] + 0.5) / 4294967296.0));
                if (sum > best) best = sum, at = i + j, below = nextafterf((float)best, -INFINITY);
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
