/* Logs what a process does to its files, and when it says that something is durable, for tests/storage/images.py.
 *
 * Loaded with LD_PRELOAD; the log's name is in HOLDFAST_SHIM_LOG. A record is a header and, for a write, its data.
 * Calls go straight to the kernel, so nothing here depends on the order in which libraries were loaded.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct header {
    uint64_t kind;   /* 'w' write, 's' sync, 't' truncate, 'a' acknowledgement */
    uint64_t inode;  /* of the file; the number that was acknowledged */
    uint64_t dsync;  /* whether the write is durable when it returns */
    uint64_t offset; /* of the write; the length of a truncate */
    uint64_t size;   /* of the data that follows */
};

static int log_fd = -1;

static void record(char kind, int fd, uint64_t offset, const void *data, uint64_t size) {
    struct stat status;
    if (log_fd == -1) {
        const char *name = getenv("HOLDFAST_SHIM_LOG");
        if (name == NULL)
            return;
        log_fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    struct header header = {kind, status.st_ino, (fcntl(fd, F_GETFL) & O_DSYNC) != 0, offset, size};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)data, size}};
    if (syscall(SYS_writev, log_fd, parts, 2) != (long)(sizeof header + size))
        abort();
}

void shim_acknowledge(uint64_t number) {
    struct header header = {'a', number, 0, 0, 0};
    if (log_fd != -1 && syscall(SYS_write, log_fd, &header, sizeof header) != sizeof header)
        abort();
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
    if (done > 0)
        record('w', fd, offset, data, done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = pwrite(fd, parts[i].iov_base, parts[i].iov_len, offset + total);
        if (done < 0)
            return total ? total : done;
        total += done;
        if ((size_t)done < parts[i].iov_len)
            break;
    }
    return total;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev(fd, parts, count, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    off_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, size);
    if (done > 0 && offset >= 0)
        record('w', fd, offset, data, done);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0)
            return total ? total : done;
        total += done;
        if ((size_t)done < parts[i].iov_len)
            break;
    }
    return total;
}

static int synced(int fd, int result) {
    if (result == 0)
        record('s', fd, 0, NULL, 0);
    return result;
}

int fdatasync(int fd) { return synced(fd, syscall(SYS_fdatasync, fd)); }

int fsync(int fd) { return synced(fd, syscall(SYS_fsync, fd)); }

static int truncated(int fd, off_t length, int result) {
    if (result == 0)
        record('t', fd, length, NULL, 0);
    return result;
}

int ftruncate(int fd, off_t length) { return truncated(fd, length, syscall(SYS_ftruncate, fd, length)); }

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }
