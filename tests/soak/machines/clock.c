/* A machine's clock that is wrong by CLOCK_OFFSET_S seconds; LD_PRELOAD it.
 *
 * Only the time of day is wrong: libfaketime also changes the clocks that measure durations, which
 * breaks the waits of Python's threads. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t offset_s(void) {
    const char *text = getenv("CLOCK_OFFSET_S");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset_s();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *stored) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (stored)
        *stored = found.tv_sec;
    return found.tv_sec;
}
