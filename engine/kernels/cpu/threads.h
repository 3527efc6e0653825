/* Splits a range of independent items over a fixed pool of threads, each with memory of its own. */
#ifndef PAGODA_THREADS_H
#define PAGODA_THREADS_H

#include <stdint.h>

typedef void (*Work)(void *arg, int64_t from, int64_t to);

/* Calls work on ranges that cover 0 … items - 1 and returns when all are done. */
void parallel(int64_t items, Work work, void *arg);

/* Memory of the calling thread, 64-byte aligned, valid until its next call; kept between calls, so
 * that its pages stay mapped and in the thread's caches. Aborts when there is none. */
float *thread_scratch(int64_t floats);

#endif
