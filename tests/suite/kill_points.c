// Counts every change that a program makes to files under a folder, and kills or fails it at one of them.
//
//     cc -shared -fPIC -o kill_points.so kill_points.c -ldl
//     KILL_UNDER=/tmp/run KILL_AT=12 LD_PRELOAD=$PWD/kill_points.so aaren train ... --run /tmp/run
//
// KILL_UNDER   the folder, absolute; nothing is counted elsewhere
// KILL_LOG     a file (elsewhere) that gets a line for each change: its number, the call, the path
// KILL_AT      the change at which the process is killed, before it happens; with KILL_TORN a write is half done then
// KILL_FAIL    the change that fails, with the errno KILL_ERRNO, if it is not a removal; with KILL_FULL so do all that follow
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char under[PATH_MAX];
static long kill_at = -1, fail_at = -1, torn, full, error_number = ENOSPC;
static int log_file = -1;
static atomic_long changes;

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

static void number(const char *name, long *value) {
    const char *text = getenv(name);
    if (text) *value = atol(text);
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("KILL_UNDER"), *log = getenv("KILL_LOG");
    number("KILL_AT", &kill_at);
    number("KILL_TORN", &torn);
    number("KILL_FAIL", &fail_at);
    number("KILL_FULL", &full);
    number("KILL_ERRNO", &error_number);
    if (log) {
        REAL(open);
        log_file = real(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    }
    if (folder) strncpy(under, folder, sizeof under - 1);
}

static int begins(const char *path) {
    size_t length = strlen(under);
    return length && !strncmp(path, under, length);
}

// Whether a path, relative to an open folder or to where the process is, is under the folder.
static int is_under(int folder, const char *path) {
    char whole[2 * PATH_MAX], link[64];
    if (!under[0] || !path) return 0;
    if (path[0] == '/') return begins(path);
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, PATH_MAX)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, PATH_MAX - 1);
        if (length < 0) return 0;
        whole[length] = 0;
    }
    size_t length = strlen(whole);
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return begins(whole);
}

static int file_is_under(int file) {
    return file != log_file && is_under(file, "");
}

enum { GO_ON, FAIL, TEAR };

static int change(const char *call, const char *path, int file) {
    char line[PATH_MAX + 64], link[64], target[PATH_MAX];
    long now = atomic_fetch_add(&changes, 1) + 1;
    if (log_file >= 0) {
        if (!path) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", file);
            ssize_t length = readlink(link, target, sizeof target - 1);
            target[length < 0 ? 0 : length] = 0;
            path = target;
        }
        int length = snprintf(line, sizeof line, "%ld %s %s\n", now, call, path);
        REAL(write);
        real(log_file, line, length);
    }
    if (now == kill_at) {
        if (torn && !strcmp(call, "write")) return TEAR;
        kill(getpid(), SIGKILL);
        pause();
    }
    if (fail_at > 0 && (now == fail_at || (full && now > fail_at)) && !strstr("unlinkat rmdir", call)) {
        errno = error_number;
        return FAIL;
    }
    return GO_ON;
}

#define OF_PATH(call, folder, path) if (is_under(folder, path) && change(call, path, -1) == FAIL) return -1
#define OF_FILE(call, file) if (file_is_under(file) && change(call, NULL, file) == FAIL) return -1

static int writes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY;
}

static mode_t mode_of(int flags, va_list *rest) {
    return flags & O_CREAT ? va_arg(*rest, mode_t) : 0;
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, &rest); \
        va_end(rest); \
        REAL(name); \
        if (writes(flags)) OF_PATH("open", AT_FDCWD, path); \
        return real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, &rest); \
        va_end(rest); \
        REAL(name); \
        if (writes(flags)) OF_PATH("open", folder, path); \
        return real(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    if (file_is_under(file)) switch (change("write", NULL, file)) {
        case FAIL: return -1;
        case TEAR:
            if (count > 1) real(file, bytes, count / 2);
            kill(getpid(), SIGKILL);
            pause();
    }
    return real(file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count) { REAL(writev); OF_FILE("writev", file); return real(file, parts, count); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) { REAL(pwrite64); OF_FILE("pwrite", file); return real(file, bytes, count, at); }
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *put, size_t count, unsigned flags) {
    REAL(copy_file_range);
    OF_FILE("copy", to);
    return real(from, at, to, put, count, flags);
}
int fsync(int file) { REAL(fsync); OF_FILE("fsync", file); return real(file); }
int fdatasync(int file) { REAL(fdatasync); OF_FILE("fsync", file); return real(file); }
int ftruncate64(int file, off64_t length) { REAL(ftruncate64); OF_FILE("truncate", file); return real(file, length); }
int rename(const char *from, const char *to) { REAL(rename); OF_PATH("rename", AT_FDCWD, to); return real(from, to); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); OF_PATH("mkdir", AT_FDCWD, path); return real(path, mode); }
int unlink(const char *path) { REAL(unlink); OF_PATH("unlink", AT_FDCWD, path); return real(path); }
int rmdir(const char *path) { REAL(rmdir); OF_PATH("rmdir", AT_FDCWD, path); return real(path); }
int unlinkat(int folder, const char *path, int flags) { REAL(unlinkat); OF_PATH("unlinkat", folder, path); return real(folder, path, flags); }
