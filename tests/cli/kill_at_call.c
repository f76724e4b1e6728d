/* Preloaded into the program by test_sweep_kill.py: ends it as SIGKILL does at its n-th step towards a file
 * (KILL_AT_CALL), in the middle of a write, before a sync, before or after a rename. With KILL_COUNT_FILE it
 * writes there how many such steps there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static long steps;

static int is_the_one(void) {
    static long chosen = -1;
    if (chosen < 0) {
        const char* text = getenv("KILL_AT_CALL");
        chosen = text ? atol(text) : 0;
    }
    return __sync_add_and_fetch(&steps, 1) == chosen;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    pause();
}

ssize_t write(int fd, const void* bytes, size_t count) {
    ssize_t (*next)(int, const void*, size_t) = dlsym(RTLD_NEXT, "write");
    if (fd > 2 && is_the_one()) {
        if (count > 1) (void)!next(fd, bytes, count / 2);
        die();
    }
    return next(fd, bytes, count);
}

int fsync(int fd) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    if (is_the_one()) die();
    return next(fd);
}

int ftruncate(int fd, off_t size) {
    int (*next)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate");
    if (is_the_one()) die();
    return next(fd, size);
}

int rename(const char* from, const char* to) {
    int (*next)(const char*, const char*) = dlsym(RTLD_NEXT, "rename");
    if (is_the_one()) die();
    const int result = next(from, to);
    if (is_the_one()) die();
    return result;
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned int flags) {
    int (*next)(int, const char*, int, const char*, unsigned int) = dlsym(RTLD_NEXT, "renameat2");
    if (is_the_one()) die();
    const int result = next(from_folder, from, to_folder, to, flags);
    if (is_the_one()) die();
    return result;
}

__attribute__((destructor)) static void tell(void) {
    const char* name = getenv("KILL_COUNT_FILE");
    const long counted = steps;
    FILE* file = name ? fopen(name, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", counted);
    fclose(file);
}
