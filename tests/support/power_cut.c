/* Keeps, of each file below $POWER_CUT_ROOT, the content of its last fsync in $POWER_CUT_KEPT: what a power cut leaves.
   Loaded by LD_PRELOAD. A renamed file keeps what was synced of it under its new name. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int kept_name(const char *path, char *name) {
  const char *root = getenv("POWER_CUT_ROOT"), *kept = getenv("POWER_CUT_KEPT");
  if (!root || !kept || strncmp(path, root, strlen(root)) != 0) return 0;
  int length = snprintf(name, PATH_MAX, "%s/", kept);
  for (const char *at = path; *at && length < PATH_MAX - 2; at++) name[length++] = *at == '/' ? '%' : *at;
  name[length] = 0;
  return 1;
}

static void keep(int file) {
  char link[64], path[PATH_MAX], name[PATH_MAX], temporary[PATH_MAX + 32], block[65536];
  struct stat status;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return;
  path[length] = 0;
  if (!kept_name(path, name)) return;
  /* By the same descriptor where it can read: closing another one would drop SQLite's locks. */
  int reading = (fcntl(file, F_GETFL) & O_ACCMODE) == O_WRONLY ? open(path, O_RDONLY) : file;
  snprintf(temporary, sizeof temporary, "%s.%d.part", name, (int)getpid());
  int copy = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  off_t at = 0;
  for (ssize_t got; reading >= 0 && (got = pread(reading, block, sizeof block, at)) > 0; at += got)
    if (write(copy, block, got) != got) abort();
  close(copy);
  if (reading != file && reading >= 0) close(reading);
  rename(temporary, name);
}

int fsync(int file) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  int result = real(file);
  if (result == 0) keep(file);
  return result;
}

int fdatasync(int file) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
  int result = real(file);
  if (result == 0) keep(file);
  return result;
}

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
  char kept_from[PATH_MAX], kept_to[PATH_MAX];
  int result = real(from, to);
  if (result == 0 && kept_name(from, kept_from) && kept_name(to, kept_to)) {
    if (access(kept_from, F_OK) == 0) real(kept_from, kept_to);
    else unlink(kept_to);
  }
  return result;
}
