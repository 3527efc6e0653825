/* Element-wise ops of a layer: add_norm.py, gated_activation.py, rope_cache.py. */
#include <math.h>

#include "threads.h"
#include "vector.h"

INLINE float square_sum(const float *x, int64_t n) {
    vec acc = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) acc += load(x + i) * load(x + i);
    float total = sum(acc);
    for (; i < n; i++) total += x[i] * x[i];
    return total;
}

INLINE void norm_row(float *out, const float *x, const float *weight, int64_t n, float eps) {
    float scale = 1.0f / sqrtf(square_sum(x, n) / (float)n + eps);
    for (int64_t i = 0; i < n; i++) out[i] = weight[i] * (x[i] * scale);
}

typedef struct {
    const float *x, *weight;
    float *residual, *out;
    int64_t width;
    float eps;
} AddNorm;

static void add_norm_rows(void *arg, int64_t from, int64_t to) {
    const AddNorm *a = arg;
    for (int64_t t = from; t < to; t++) {
        float *residual = a->residual + t * a->width;
        if (a->x)
            for (int64_t i = 0; i < a->width; i++) residual[i] += a->x[t * a->width + i];
        norm_row(a->out + t * a->width, residual, a->weight, a->width, a->eps);
    }
}

EXPORT void pagoda_add_norm(const float *x, float *residual, const float *weight, float *out,
                            int64_t rows, int64_t width, float eps) {
    AddNorm a = {x, weight, residual, out, width, eps};
    parallel(rows, add_norm_rows, &a);
}

typedef struct {
    const float *gate_up;
    float *out;
    int64_t width;
} SiluMul;

static void silu_mul_rows(void *arg, int64_t from, int64_t to) {
    const SiluMul *a = arg;
    for (int64_t t = from; t < to; t++) {
        const float *gate = a->gate_up + 2 * t * a->width, *up = gate + a->width;
        float *out = a->out + t * a->width;
        int64_t i = 0;
        for (; i + LANES <= a->width; i += LANES) {
            vec g = load(gate + i);
            store(out + i, g / (1.0f + vexp(-g)) * load(up + i));
        }
        for (; i < a->width; i++) out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

EXPORT void pagoda_silu_mul(const float *gate_up, float *out, int64_t rows, int64_t width) {
    SiluMul a = {gate_up, out, width};
    parallel(rows, silu_mul_rows, &a);
}

typedef struct {
    float *qkv;
    const float *cos, *sin, *q_norm, *k_norm;
    void *keys, *values;
    const int64_t *slots;
    int64_t q_heads, kv_heads, dim, block;
    float eps;
    int is_bf16;
} RopeCache;

INLINE void put(void *cache, int64_t index, float x, int is_bf16) {
    if (is_bf16) ((uint16_t *)cache)[index] = to_bf16(x);
    else ((float *)cache)[index] = x;
}

INLINE void rotate(float *head, const float *cos, const float *sin, int64_t half) {
    for (int64_t i = 0; i < half; i++) {
        float low = head[i], high = head[i + half];
        head[i] = low * cos[i] - high * sin[i];
        head[i + half] = high * cos[i] + low * sin[i];
    }
}

INLINE void rope_token(const RopeCache *a, int64_t t, int is_bf16) {
    const int64_t dim = a->dim, half = dim / 2, rotated = a->q_heads + a->kv_heads;
    float *row = a->qkv + t * (rotated + a->kv_heads) * dim;
    for (int64_t h = 0; h < rotated; h++) {
        const float *weight = h < a->q_heads ? a->q_norm : a->k_norm;
        if (weight) norm_row(row + h * dim, row + h * dim, weight, dim, a->eps);
        rotate(row + h * dim, a->cos + t * half, a->sin + t * half, half);
    }
    const int64_t block = a->slots[t] / a->block, offset = a->slots[t] % a->block;
    for (int64_t g = 0; g < a->kv_heads; g++) {
        const float *key = row + (a->q_heads + g) * dim, *value = row + (rotated + g) * dim;
        const int64_t head = (block * a->kv_heads + g) * dim * a->block;
        for (int64_t i = 0; i < dim; i++) {
            put(a->keys, head + i * a->block + offset, key[i], is_bf16);
            put(a->values, head + offset * dim + i, value[i], is_bf16);
        }
    }
}

static void rope_tokens(void *arg, int64_t from, int64_t to) {
    const RopeCache *a = arg;
    for (int64_t t = from; t < to; t++) {
        if (a->is_bf16) rope_token(a, t, 1);
        else rope_token(a, t, 0);
    }
}

EXPORT void pagoda_rope_cache(float *qkv, const float *cos, const float *sin, const float *q_norm,
                              const float *k_norm, void *keys, void *values, const int64_t *slots,
                              int64_t tokens, int64_t q_heads, int64_t kv_heads, int64_t dim,
                              int64_t block, float eps, int64_t is_bf16) {
    RopeCache a = {qkv, cos, sin, q_norm, k_norm, keys, values, slots,
                   q_heads, kv_heads, dim, block, eps, (int)is_bf16};
    parallel(tokens, rope_tokens, &a);
}
