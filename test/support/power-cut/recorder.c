/*
 * Records what a program does to the files of one directory, for power-cut.ts: preloaded, it writes every write, sync,
 * truncation, creation, renaming and removal to a trace when the call has succeeded. Indexes of write-ahead logs (-shm)
 * are left out: they are memory that SQLite makes anew.
 *
 *   LD_PRELOAD=recorder.so  RECORDED_DIRECTORY=/data  RECORDED_TRACE=/trace
 *
 * A record: length, kind, inode, offset, lengths of two names, then the names and the data. Files are told apart by
 * inode, as they are renamed while they are open.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536
#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))real(#name))

struct head {
  uint32_t length;
  uint32_t kind;
  uint64_t inode;
  uint64_t offset;
  uint32_t name, other;
} __attribute__((packed));

static char directory[PATH_MAX];
static size_t directory_length;
static int trace = -1;
/* By descriptor: the inode of a file of the directory, or 0. */
static uint64_t files[FILES];

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

static void begin(void) {
  static int begun = 0;
  if (begun) return;
  begun = 1;
  const char *watched = getenv("RECORDED_DIRECTORY"), *path = getenv("RECORDED_TRACE");
  if (watched == NULL || path == NULL) return;
  snprintf(directory, sizeof directory, "%s/", watched);
  directory_length = strlen(directory);
  trace = REAL(int, open, const char *, int, ...)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void constructed(void) { begin(); }

/* The name of a file in the directory; NULL for any other. */
static const char *name_of(const char *path) {
  begin();
  if (trace < 0 || strncmp(path, directory, directory_length) != 0) return NULL;
  const char *name = path + directory_length;
  size_t length = strlen(name);
  if (length >= 4 && strcmp(name + length - 4, "-shm") == 0) return NULL;
  return name;
}

static void record(char kind, uint64_t inode, uint64_t offset, const char *name, const char *other,
                   const struct iovec *data, int count, size_t bytes) {
  struct head head = {0};
  struct iovec parts[3 + 1024];
  head.kind = (uint32_t)kind;
  head.inode = inode;
  head.offset = offset;
  head.name = (uint32_t)strlen(name);
  head.other = (uint32_t)strlen(other);
  head.length = (uint32_t)(sizeof head + head.name + head.other + bytes);
  parts[0] = (struct iovec){&head, sizeof head};
  parts[1] = (struct iovec){(void *)name, head.name};
  parts[2] = (struct iovec){(void *)other, head.other};
  int used = 3;
  for (int index = 0; index < count && bytes > 0; index++) {
    parts[used] = data[index];
    if (parts[used].iov_len > bytes) parts[used].iov_len = bytes;
    bytes -= parts[used++].iov_len;
  }
  int before = errno;
  if (REAL(ssize_t, writev, int, const struct iovec *, int)(trace, parts, used) != (ssize_t)head.length) abort();
  errno = before;
}

static uint64_t inode_of(int file) {
  struct stat found;
  return fstat(file, &found) == 0 ? found.st_ino : 0;
}

/* The inode of a file of the directory, else 0. Some calls of the C library close descriptors without our `close`. */
static uint64_t known(int file) {
  if (file < 0 || file >= FILES || files[file] == 0) return 0;
  if (inode_of(file) != files[file]) files[file] = 0;
  return files[file];
}

static int opened(int file, const char *path, int is_new) {
  if (file < 0 || file >= FILES) return file;
  files[file] = 0;
  const char *name = name_of(path);
  if (name == NULL) return file;
  files[file] = inode_of(file);
  if (is_new) record('C', files[file], 0, name, "", NULL, 0, 0);
  return file;
}

static int is_new(const char *path, int flags) {
  return (flags & O_CREAT) && name_of(path) != NULL && access(path, F_OK) != 0;
}

#define OPEN(symbol)                                                                   \
  int symbol(const char *path, int flags, ...) {                                       \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;            \
    va_end(rest);                                                                      \
    int fresh = is_new(path, flags);                                                   \
    int file = REAL(int, symbol, const char *, int, ...)(path, flags, mode);           \
    opened(file, path, fresh);                                                         \
    if (known(file) && (flags & O_TRUNC) && !fresh) record('T', files[file], 0, "", "", NULL, 0, 0); \
    return file;                                                                       \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(symbol)                                                                 \
  int symbol(int at, const char *path, int flags, ...) {                               \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;            \
    va_end(rest);                                                                      \
    int fresh = is_new(path, flags);                                                   \
    return opened(REAL(int, symbol, int, const char *, int, ...)(at, path, flags, mode), path, fresh); \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int file) {
  if (file >= 0 && file < FILES) files[file] = 0;
  return REAL(int, close, int)(file);
}

static ssize_t wrote(int file, const struct iovec *data, int count, ssize_t bytes, off_t offset) {
  uint64_t inode = known(file);
  if (inode == 0 || bytes <= 0) return bytes;
  if (offset < 0) offset = lseek(file, 0, SEEK_CUR) - bytes;
  record('W', inode, (uint64_t)offset, "", "", data, count, (size_t)bytes);
  return bytes;
}

ssize_t write(int file, const void *data, size_t length) {
  struct iovec one = {(void *)data, length};
  return wrote(file, &one, 1, REAL(ssize_t, write, int, const void *, size_t)(file, data, length), -1);
}

ssize_t writev(int file, const struct iovec *data, int count) {
  return wrote(file, data, count, REAL(ssize_t, writev, int, const struct iovec *, int)(file, data, count), -1);
}

#define PWRITE(symbol)                                                                 \
  ssize_t symbol(int file, const void *data, size_t length, off_t offset) {            \
    struct iovec one = {(void *)data, length};                                         \
    return wrote(file, &one, 1, REAL(ssize_t, symbol, int, const void *, size_t, off_t)(file, data, length, offset), \
                 offset);                                                              \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(symbol)                                                                \
  ssize_t symbol(int file, const struct iovec *data, int count, off_t offset) {        \
    return wrote(file, data, count,                                                    \
                 REAL(ssize_t, symbol, int, const struct iovec *, int, off_t)(file, data, count, offset), offset); \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define TRUNCATE(symbol)                                                               \
  int symbol(int file, off_t size) {                                                   \
    int failed = REAL(int, symbol, int, off_t)(file, size);                            \
    if (!failed && known(file)) record('T', files[file], (uint64_t)size, "", "", NULL, 0, 0); \
    return failed;                                                                     \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* The inode of the directory's own descriptor counts as 0. */
static int is_directory(int file) {
  struct stat own, its;
  return trace >= 0 && stat(directory, &own) == 0 && fstat(file, &its) == 0 && own.st_ino == its.st_ino &&
         own.st_dev == its.st_dev;
}

/* What was written before a sync began is on the disk when it has ended: both are recorded, with their thread. */
#define SYNC(symbol)                                                                   \
  int symbol(int file) {                                                               \
    int is_ours = known(file) != 0 || is_directory(file);                              \
    uint64_t inode = known(file), thread = (uint64_t)syscall(SYS_gettid);              \
    if (is_ours) record('B', inode, thread, "", "", NULL, 0, 0);                       \
    int failed = REAL(int, symbol, int)(file);                                         \
    if (is_ours && !failed) record('S', inode, thread, "", "", NULL, 0, 0);            \
    return failed;                                                                     \
  }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
  int failed = REAL(int, rename, const char *, const char *)(from, to);
  const char *name = name_of(from), *other = name_of(to);
  if (!failed && name != NULL && other != NULL) record('R', 0, 0, name, other, NULL, 0, 0);
  return failed;
}

static int removed(int failed, const char *path) {
  const char *name = name_of(path);
  if (!failed && name != NULL) record('U', 0, 0, name, "", NULL, 0, 0);
  return failed;
}

int unlink(const char *path) { return removed(REAL(int, unlink, const char *)(path), path); }
int remove(const char *path) { return removed(REAL(int, remove, const char *)(path), path); }
int unlinkat(int at, const char *path, int flags) {
  return removed(REAL(int, unlinkat, int, const char *, int)(at, path, flags), path);
}
