/*
 * What a disk would hold after loss of power, and what it does when it fails.
 *
 * Preloaded into the server. POWER_SRC is the folder that is watched, POWER_DST its mirror: a file is copied there when it
 * is synced, as it is then, and whatever was never synced is not there. When a folder is synced, names that are gone from
 * it go from the mirror.
 *
 * The file POWER_FAULT, while it is there, makes the disk misbehave, by its first letter:
 *   h  syncs hold until it goes away
 *   e  syncs fail with EIO
 *   f  writes fail with ENOSPC
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One thread at a time writes to the mirror: two that sync the same file would take each other's part away. */
static pthread_mutex_t mirroring = PTHREAD_MUTEX_INITIALIZER;

static char fault(void)
{
    const char *path = getenv("POWER_FAULT");
    char letter = 0;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (read(fd, &letter, 1) != 1)
            letter = 0;
        close(fd);
    }
    return letter;
}

/* The path below POWER_SRC that a descriptor stands for, and its mirror; 0 if it lies elsewhere. */
static int watched(int fd, char *path, char *mirror)
{
    const char *src = getenv("POWER_SRC"), *dst = getenv("POWER_DST");
    char link[64];
    if (!src || !dst)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t prefix = strlen(src);
    if (strncmp(path, src, prefix) != 0 || (path[prefix] != '/' && path[prefix] != 0))
        return 0;
    return snprintf(mirror, PATH_MAX, "%s%s", dst, path + prefix) < PATH_MAX;
}

static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

/* A failure here must not pass for a disk that works. */
static void demand(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        abort();
    }
}

static void copy(int from, char *mirror)
{
    /* Closing another descriptor of the file would drop SQLite's locks, so it is read through this one. */
    static _Thread_local char piece[1 << 16];
    char part[PATH_MAX + 8];
    make_folders(mirror);
    snprintf(part, sizeof part, "%s.part", mirror);
    int to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    demand(to >= 0, part);
    off_t at = 0;
    for (ssize_t got; (got = pread(from, piece, sizeof piece, at)) != 0; at += got) {
        demand(got > 0, "a file that is synced cannot be read");
        demand(syscall(SYS_write, to, piece, got) == got, part);
    }
    close(to);
    demand(rename(part, mirror) == 0, mirror);
}

static void forget_what_is_gone(const char *folder, const char *mirror)
{
    char path[PATH_MAX * 2];
    DIR *names = opendir(mirror);
    if (!names)
        return;
    for (struct dirent *name; (name = readdir(names));) {
        snprintf(path, sizeof path, "%s/%s", folder, name->d_name);
        if (access(path, F_OK) == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", mirror, name->d_name);
        unlink(path);
    }
    closedir(names);
}

static int sync_watched(int fd, long call)
{
    char path[PATH_MAX], mirror[PATH_MAX];
    struct stat about;
    if (!watched(fd, path, mirror))
        return syscall(call, fd);
    while (fault() == 'h')
        usleep(1000);
    if (fault() == 'e') {
        errno = EIO;
        return -1;
    }
    demand(fstat(fd, &about) == 0, path);
    pthread_mutex_lock(&mirroring);
    if (S_ISDIR(about.st_mode))
        forget_what_is_gone(path, mirror);
    else
        copy(fd, mirror);
    pthread_mutex_unlock(&mirroring);
    return syscall(call, fd);
}

int fsync(int fd)
{
    return sync_watched(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_watched(fd, SYS_fdatasync);
}

static int is_full(int fd)
{
    char path[PATH_MAX], mirror[PATH_MAX];
    if (!watched(fd, path, mirror) || fault() != 'f')
        return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    return is_full(fd) ? -1 : syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    return is_full(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
    return is_full(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, at);
}
