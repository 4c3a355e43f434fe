/* Appends every change of a file below $POWER_CUT_ROOT to the log $POWER_CUT_LOG. Loaded by LD_PRELOAD.
   A record is an operation, the lengths of two parts, an offset, and the parts: a path, and data or another path. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char *path) {
  const char *root = getenv("POWER_CUT_ROOT");
  return root && getenv("POWER_CUT_LOG") && strncmp(path, root, strlen(root)) == 0;
}

static void note(char operation, const char *path, long long offset, const void *data, size_t length) {
  unsigned head[2] = {strlen(path), length};
  size_t total = 1 + sizeof head + sizeof offset + head[0] + length;
  char *record = malloc(total), *at = record;
  *at++ = operation;
  at = mempcpy(at, head, sizeof head);
  at = mempcpy(at, &offset, sizeof offset);
  at = mempcpy(at, path, head[0]);
  memcpy(at, data, length);
  int file = syscall(SYS_openat, AT_FDCWD, getenv("POWER_CUT_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || syscall(SYS_write, file, record, total) != (long)total) abort();
  syscall(SYS_close, file);
  free(record);
}

static int path_of(int file, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_below(path);
}

static int full_path(int folder, const char *name, char *path) {
  char base[PATH_MAX];
  if (name[0] == '/') snprintf(path, PATH_MAX, "%s", name);
  else {
    if (folder == AT_FDCWD ? !getcwd(base, sizeof base) : (path_of(folder, base), 0)) return 0;
    snprintf(path, PATH_MAX, "%s/%s", base, name);
  }
  return is_below(path);
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  int watched = (flags & (O_CREAT | O_TRUNC)) && full_path(folder, name, path);
  if (!watched) return syscall(SYS_openat, folder, name, flags, mode);
  pthread_mutex_lock(&lock);
  long long made = access(path, F_OK) != 0;
  int file = syscall(SYS_openat, folder, name, flags, mode);
  if (file >= 0 && (made || (flags & O_TRUNC))) note(made ? 'c' : 't', path, 0, "", 0);
  pthread_mutex_unlock(&lock);
  return file;
}

#define OPEN(NAME, FOLDER, ...)                                   \
  int NAME(__VA_ARGS__, int flags, ...) {                         \
    va_list rest;                                                 \
    va_start(rest, flags);                                        \
    mode_t mode = va_arg(rest, int);                              \
    va_end(rest);                                                 \
    return opened(FOLDER, name, flags, mode);                     \
  }
OPEN(open, AT_FDCWD, const char *name)
OPEN(open64, AT_FDCWD, const char *name)
OPEN(openat, folder, int folder, const char *name)
OPEN(openat64, folder, int folder, const char *name)

static void note_written(int file, long long offset, const void *data, ssize_t length) {
  char path[PATH_MAX];
  struct stat status;
  if (length <= 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || !path_of(file, path)) return;
  note('w', path, offset >= 0 ? offset : lseek(file, 0, SEEK_CUR) - length, data, length);
}

ssize_t write(int file, const void *data, size_t length) {
  pthread_mutex_lock(&lock);
  ssize_t written = syscall(SYS_write, file, data, length);
  note_written(file, -1, data, written);
  pthread_mutex_unlock(&lock);
  return written;
}

static ssize_t written_at(int file, const void *data, size_t length, off_t offset) {
  pthread_mutex_lock(&lock);
  ssize_t written = syscall(SYS_pwrite64, file, data, length, offset);
  note_written(file, offset, data, written);
  pthread_mutex_unlock(&lock);
  return written;
}
ssize_t pwrite(int file, const void *data, size_t length, off_t offset) { return written_at(file, data, length, offset); }
ssize_t pwrite64(int file, const void *data, size_t length, off_t offset) { return written_at(file, data, length, offset); }

static int truncated(int file, off_t size) {
  char path[PATH_MAX];
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_ftruncate, file, size);
  if (result == 0 && path_of(file, path)) note('t', path, size, "", 0);
  pthread_mutex_unlock(&lock);
  return result;
}
int ftruncate(int file, off_t size) { return truncated(file, size); }
int ftruncate64(int file, off_t size) { return truncated(file, size); }

static int synced(int file) {
  char path[PATH_MAX];
  struct stat status;
  pthread_mutex_lock(&lock);
  if (fstat(file, &status) == 0 && path_of(file, path)) note(S_ISDIR(status.st_mode) ? 'd' : 's', path, 0, "", 0);
  pthread_mutex_unlock(&lock);
  return 0; /* the log is the disk */
}
int fsync(int file) { return synced(file); }
int fdatasync(int file) { return synced(file); }

static int moved(char operation, const char *from, const char *to) {
  char first[PATH_MAX], second[PATH_MAX];
  pthread_mutex_lock(&lock);
  int result = operation == 'r' ? REAL(rename)(from, to) : REAL(link)(from, to);
  if (result == 0 && full_path(AT_FDCWD, from, first) && full_path(AT_FDCWD, to, second))
    note(operation, first, 0, second, strlen(second));
  pthread_mutex_unlock(&lock);
  return result;
}
int rename(const char *from, const char *to) { return moved('r', from, to); }
int link(const char *from, const char *to) { return moved('l', from, to); }

static int removed(int folder, const char *name, int flags) {
  char path[PATH_MAX];
  pthread_mutex_lock(&lock);
  int watched = full_path(folder, name, path), result = syscall(SYS_unlinkat, folder, name, flags);
  if (result == 0 && watched && !(flags & AT_REMOVEDIR)) note('u', path, 0, "", 0);
  pthread_mutex_unlock(&lock);
  return result;
}
int unlink(const char *name) { return removed(AT_FDCWD, name, 0); }
int unlinkat(int folder, const char *name, int flags) { return removed(folder, name, flags); }
