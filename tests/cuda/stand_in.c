/* A stand-in for the CUDA driver: one device that accepts every kernel and runs none.
 *
 * With it the CUDA path runs to its end on a machine without a GPU: kernels are compiled by the real NVRTC,
 * memory is handed out and counted, copies happen. What is read back are the zeros of fresh memory.
 *
 * STAND_IN_CC    compute capability, such as 90 (default) or 80
 * STAND_IN_GB    device memory in GiB (default 80); beyond it an allocation fails as on a real device
 * STAND_IN_FREE_MB  only so much can be had, though the device says nothing of it: somebody else came and took the rest
 * STAND_IN_COPY  uploads of more bytes are counted but not made, so that a model larger than the machine "loads"
 * STAND_IN_REPORT  file that gets one JSON line when the process ends
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef int Result;
typedef uint64_t Ptr;
enum { OK = 0, OUT_OF_MEMORY = 2 };
#define ACCEPT(name, ...) Result name(__VA_ARGS__) { return OK; }

static size_t setting(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* --- the ledger: every allocation with its size, in a hash table with chains --- */

typedef struct Block { Ptr at; size_t bytes; struct Block *next; } Block;
static Block *blocks[1 << 14];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { size_t total, used, peak, modules, launches, up, down, left; } device;

static Block **chain(Ptr at) { return &blocks[(at >> 12) & ((1 << 14) - 1)]; }

static void report(void) {
    const char *path = getenv("STAND_IN_REPORT");
    FILE *out = path ? fopen(path, "a") : stderr;
    if (!out) return;
    fprintf(out, "{\"modules\":%zu,\"launches\":%zu,\"peak_bytes\":%zu,\"used_bytes\":%zu,\"uploaded\":%zu,\"read\":%zu}\n",
            device.modules, device.launches, device.peak, device.used, device.up, device.down);
    if (path) fclose(out);
}

static void start(void) {
    device.total = setting("STAND_IN_GB", 80) << 30;
    device.left = setting("STAND_IN_FREE_MB", device.total >> 20) << 20;
    atexit(report);
}

Result cuInit(unsigned flags) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    return OK;
}

/* Memory is mapped without being reserved: pages that nobody touches cost nothing. */
static Result take(Ptr *at, size_t bytes) {
    size_t room = (bytes + 4095) & ~(size_t)4095;
    Result result = OUT_OF_MEMORY;
    cuInit(0);
    if (!room) room = 4096;
    pthread_mutex_lock(&lock);
    if (device.used + room <= device.left) {
        void *memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        Block *block = malloc(sizeof *block);
        if (memory != MAP_FAILED && block) {
            *block = (Block){ (Ptr)memory, room, *chain((Ptr)memory) };
            *chain((Ptr)memory) = block;
            device.used += room;
            if (device.used > device.peak) device.peak = device.used;
            *at = (Ptr)memory;
            result = OK;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static Result give(Ptr at) {
    pthread_mutex_lock(&lock);
    for (Block **link = chain(at); *link; link = &(*link)->next) {
        Block *block = *link;
        if (block->at != at) continue;
        *link = block->next;
        munmap((void *)at, block->bytes);
        device.used -= block->bytes;
        free(block);
        break;
    }
    pthread_mutex_unlock(&lock);
    return OK;
}

static void upload(Ptr to, const void *from, size_t bytes) {
    device.up += bytes;
    if (bytes <= setting("STAND_IN_COPY", SIZE_MAX)) memcpy((void *)to, from, bytes);
}

static void fetch(void *to, Ptr from, size_t bytes) {
    device.down += bytes;
    memcpy(to, (void *)from, bytes);
}

/* --- device and context --- */

Result cuDriverGetVersion(int *version) { *version = 12080; return OK; }
Result cuDeviceGet(int *out, int ordinal) { *out = ordinal; return OK; }
Result cuDeviceGetCount(int *count) { *count = 1; return OK; }
Result cuDeviceGetName(char *name, int room, int dev) { snprintf(name, room, "no device, sm_%zu", setting("STAND_IN_CC", 90)); return OK; }
Result cuDeviceGetUuid_v2(void *uuid, int dev) { memset(uuid, 1, 16); return OK; }
Result cuDeviceTotalMem_v2(size_t *bytes, int dev) { cuInit(0); *bytes = device.total; return OK; }
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { cuInit(0); *free_bytes = device.total - device.used; *total = device.total; return OK; }

/* Limits of an sm_80 / sm_90 device that kernels are chosen by; numbers of CUdevice_attribute. */
Result cuDeviceGetAttribute(int *value, int attribute, int dev) {
    size_t cc = setting("STAND_IN_CC", 90);
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;          /* threads of a block: all, x, y */
    case 4: *value = 64; break;                            /* z */
    case 5: *value = 2147483647; break;                    /* grid x */
    case 6: case 7: *value = 65535; break;                 /* grid y, z */
    case 8: *value = 49152; break;                         /* shared memory of a block */
    case 10: *value = 32; break;                           /* warp */
    case 12: *value = 65536; break;                        /* registers of a block */
    case 13: *value = 1755000; break;                      /* clock, kHz */
    case 16: *value = cc >= 90 ? 132 : 108; break;         /* multiprocessors */
    case 39: *value = 2048; break;                         /* threads of a multiprocessor */
    case 75: *value = (int)(cc / 10); break;
    case 76: *value = (int)(cc % 10); break;
    case 81: *value = cc >= 90 ? 233472 : 167936; break;   /* shared memory of a multiprocessor */
    case 97: *value = cc >= 90 ? 232448 : 166912; break;   /* the same, opt-in of a block */
    default: *value = 1;
    }
    return OK;
}

static int context;
Result cuDevicePrimaryCtxRetain(void **out, int dev) { *out = &context; return OK; }
Result cuCtxGetCurrent(void **out) { *out = &context; return OK; }
Result cuCtxGetDevice(int *out) { *out = 0; return OK; }
Result cuDeviceCanAccessPeer(int *can, int a, int b) { *can = 0; return OK; }
ACCEPT(cuDevicePrimaryCtxRelease_v2, int dev)
ACCEPT(cuCtxSetCurrent, void *c)
ACCEPT(cuCtxSynchronize, void)
ACCEPT(cuCtxEnablePeerAccess, void *c, unsigned flags)

/* --- memory --- */

Result cuMemAlloc_v2(Ptr *at, size_t bytes) { return take(at, bytes); }
Result cuMemAllocAsync(Ptr *at, size_t bytes, void *stream) { return take(at, bytes); }
Result cuMemAllocFromPoolAsync(Ptr *at, size_t bytes, void *pool, void *stream) { return take(at, bytes); }
Result cuMemFree_v2(Ptr at) { return give(at); }
Result cuMemFreeAsync(Ptr at, void *stream) { return give(at); }
Result cuMemAllocHost_v2(void **at, size_t bytes) { *at = malloc(bytes); return *at ? OK : OUT_OF_MEMORY; }
Result cuMemHostAlloc(void **at, size_t bytes, unsigned flags) { return cuMemAllocHost_v2(at, bytes); }
Result cuMemFreeHost(void *at) { free(at); return OK; }
Result cuMemcpyHtoD_v2(Ptr to, const void *from, size_t n) { upload(to, from, n); return OK; }
Result cuMemcpyHtoDAsync_v2(Ptr to, const void *from, size_t n, void *stream) { upload(to, from, n); return OK; }
Result cuMemcpyDtoH_v2(void *to, Ptr from, size_t n) { fetch(to, from, n); return OK; }
Result cuMemcpyDtoHAsync_v2(void *to, Ptr from, size_t n, void *stream) { fetch(to, from, n); return OK; }
ACCEPT(cuMemcpyDtoDAsync_v2, Ptr to, Ptr from, size_t n, void *stream)
ACCEPT(cuMemcpy2DAsync_v2, const void *copy, void *stream)
ACCEPT(cuMemcpyPeerAsync, Ptr to, void *a, Ptr from, void *b, size_t n, void *stream)
ACCEPT(cuMemsetD8_v2, Ptr at, unsigned char value, size_t n)
ACCEPT(cuMemsetD8Async, Ptr at, unsigned char value, size_t n, void *stream)
static int pool;
Result cuDeviceGetDefaultMemPool(void **out, int dev) { *out = &pool; return OK; }
Result cuDeviceGetMemPool(void **out, int dev) { *out = &pool; return OK; }
Result cuMemPoolGetAttribute(void *p, int attribute, void *value) { *(uint64_t *)value = device.used; return OK; }
ACCEPT(cuMemPoolSetAttribute, void *p, int attribute, void *value)
ACCEPT(cuMemPoolTrimTo, void *p, size_t keep)

/* --- streams and events: everything is done at once --- */

Result cuStreamCreate(void **out, unsigned flags) { *out = malloc(1); return OK; }
Result cuStreamCreateWithPriority(void **out, unsigned flags, int priority) { return cuStreamCreate(out, flags); }
Result cuStreamDestroy_v2(void *stream) { free(stream); return OK; }
Result cuStreamIsCapturing(void *stream, int *status) { *status = 0; return OK; }
Result cuLaunchHostFunc(void *stream, void (*f)(void *), void *data) { f(data); return OK; }
Result cuEventCreate(void **out, unsigned flags) { *out = malloc(1); return OK; }
Result cuEventDestroy_v2(void *event) { free(event); return OK; }
Result cuEventElapsedTime(float *ms, void *from, void *to) { *ms = 0.01f; return OK; }
Result cuEventElapsedTime_v2(float *ms, void *from, void *to) { *ms = 0.01f; return OK; }
ACCEPT(cuStreamSynchronize, void *stream)
ACCEPT(cuStreamQuery, void *stream)
ACCEPT(cuStreamWaitEvent, void *stream, void *event, unsigned flags)
ACCEPT(cuEventRecord, void *event, void *stream)
ACCEPT(cuEventSynchronize, void *event)
ACCEPT(cuEventQuery, void *event)

/* --- kernels --- */

static Result module(void **out) { device.modules++; *out = malloc(1); return OK; }
static Result launched(void) { __sync_fetch_and_add(&device.launches, 1); return OK; }
Result cuModuleLoadData(void **out, const void *image) { return module(out); }
Result cuModuleLoadDataEx(void **out, const void *image, unsigned n, void *options, void **values) { return module(out); }
Result cuModuleUnload(void *m) { free(m); return OK; }
Result cuModuleGetFunction(void **out, void *m, const char *name) { *out = strdup(name); return OK; }
Result cuFuncGetAttribute(int *value, int attribute, void *f) { *value = 1024; return OK; }
ACCEPT(cuFuncSetAttribute, void *f, int attribute, int value)
ACCEPT(cuFuncSetCacheConfig, void *f, int config)
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks_out, void *f, int threads, size_t shared) { *blocks_out = 2; return OK; }
Result cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **parameters, void **extra) { return launched(); }
Result cuLaunchKernelEx(const void *config, void *f, void **parameters, void **extra) { return launched(); }
Result cuLaunchCooperativeKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                 unsigned shared, void *stream, void **parameters) { return launched(); }
ACCEPT(cuTensorMapEncodeTiled, void *map, int type, unsigned rank, void *at, const void *shape, const void *strides,
       const void *box, const void *steps, int interleave, int swizzle, int promotion, int fill)
ACCEPT(cuTensorMapEncodeIm2col, void *map, int type)

Result cuGetErrorName(Result error, const char **name) { *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN"; return OK; }
Result cuGetErrorString(Result error, const char **text) { *text = error == OUT_OF_MEMORY ? "out of memory" : "unknown"; return OK; }
