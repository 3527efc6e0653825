/* y = x W^T + b for one thread's share of rows; see packed_gemm.py for the layout of W. */
#ifndef PAGODA_GEMM_H
#define PAGODA_GEMM_H

#include <stdint.h>

#define BLOCK_ROWS 96 /* rows whose activations are worked on in the second cache */

typedef struct {
    const float *x; /* [rows, stride_x], or words of pairs when both sides are bfloat16 */
    const uint32_t *panels; /* of any alignment */
    const float *bias;
    float *y; /* [rows, num_out] */
    int64_t rows, num_in, steps, num_out, stride_x;
    const uint32_t *next; /* weights that are needed after these, or 0 */
} Gemm;

/* All rows by all float32 panels, in the calling thread. */
void gemm_f32(const Gemm *g);

#endif
