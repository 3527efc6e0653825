/* Vectors of floats through the compiler's own extension: the same source serves AVX-512 (16
 * lanes), AVX2 and NEON (8, split by the compiler). All sums run in a fixed order. */
#ifndef PAGODA_VECTOR_H
#define PAGODA_VECTOR_H

#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#define MAX_ROWS 12 /* rows of a GEMM tile: 24 accumulators of 32 registers */
#else
#define MAX_ROWS 2
#endif
#define LANES 16
#define PANEL 32 /* output columns of a GEMM tile */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))

INLINE vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec splat(float x) { return (vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE vec bits_to_vec(uvec u) {
    vec v;
    memcpy(&v, &u, sizeof v);
    return v;
}
INLINE vec pick(ivec mask, vec yes, vec no) {
    ivec a, b;
    memcpy(&a, &yes, sizeof a);
    memcpy(&b, &no, sizeof b);
    return bits_to_vec((uvec)((a & mask) | (b & ~mask)));
}
/* 16 bfloat16 numbers widened. */
INLINE vec load_bf16(const uint16_t *p) {
#ifdef __AVX512F__ /* GCC 12 splits the portable form into two halves and joins them again */
    return bits_to_vec((uvec)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)) << 16);
#else
    typedef uint16_t half __attribute__((vector_size(2 * LANES)));
    half h;
    memcpy(&h, p, sizeof h);
    return bits_to_vec(__builtin_convertvector(h, uvec) << 16);
#endif
}
/* Rounds to nearest even, as torch does; NaN stays NaN. */
INLINE uint16_t to_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if (x != x) return 0x7fc0;
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
INLINE float from_bf16(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}
INLINE vec swap8(vec v) {
    return __builtin_shuffle(v, (ivec){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
}
INLINE vec swap4(vec v) {
    return __builtin_shuffle(v, (ivec){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
}
INLINE vec swap2(vec v) {
    return __builtin_shuffle(v, (ivec){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
}
INLINE vec swap1(vec v) {
    return __builtin_shuffle(v, (ivec){1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14});
}
/* Sum of lanes, pairwise in a fixed order. */
INLINE float sum(vec v) {
    v += swap8(v);
    v += swap4(v);
    v += swap2(v);
    return (v + swap1(v))[0];
}
/* Lane by lane; where either is NaN, b. */
#ifdef __AVX512F__
INLINE vec higher(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec lower(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#else
INLINE vec higher(vec a, vec b) { return pick(a > b, a, b); }
INLINE vec lower(vec a, vec b) { return pick(a < b, a, b); }
#endif
INLINE float largest(vec v) {
    v = higher(v, swap8(v));
    v = higher(v, swap4(v));
    v = higher(v, swap2(v));
    return higher(v, swap1(v))[0];
}
/* e^x for x <= 88: x = n ln 2 + r, a polynomial of degree 6 on r, relative error < 2e-7. */
INLINE vec vexp(vec x) {
    x = lower(splat(88.0f), higher(splat(-87.0f), x));
    vec shifted = x * 1.44269504f + 12582912.0f; /* rounds to whole n in the low bits */
    vec n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = splat(1.3981999e-3f);
    p = p * r + 8.3334519e-3f;
    p = p * r + 4.1665795e-2f;
    p = p * r + 1.6666665e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    ivec whole = __builtin_convertvector(n, ivec);
    return p * bits_to_vec((uvec)((whole + 127) << 23));
}
/* erf as x · P(x²) / Q(x²), minimax on |x| < 4 and 1 beyond: error below 3e-7. */
INLINE vec verf(vec x) {
    x = lower(splat(4.0f), higher(splat(-4.0f), x));
    const vec s = x * x;
    vec p = splat(-2.72614225801306e-10f), q = splat(-1.45660718464996e-05f);
    p = p * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    q = q * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return x * p / q;
}

INLINE vec vgelu(vec x) { return 0.5f * x * (1.0f + verf(x * 0.70710678f)); }
#endif
