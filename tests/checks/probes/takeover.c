// Takes a process of the host over, and tries with it what an intruder would:
//     takeover PID BYSTANDER     prints `name answer` of each system call it makes in its name
// The process waits in a system call; its registers are set to others, and that instruction is
// executed again. BYSTANDER is another process of the same user.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

static int pid;
static struct user_regs_struct saved;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void registers(int request, struct user_regs_struct *regs) {
    struct iovec part = {regs, sizeof *regs};
    if (ptrace(request, pid, NT_PRSTATUS, &part)) fail("registers");
}

#if defined(__x86_64__)
#define STACK(regs) (regs).rsp
static void aim(struct user_regs_struct *regs, long number, const long *a) {
    regs->rip = saved.rip - 2;
    regs->orig_rax = -1;
    regs->rax = number;
    regs->rdi = a[0], regs->rsi = a[1], regs->rdx = a[2];
    regs->r10 = a[3], regs->r8 = a[4], regs->r9 = a[5];
}
static long answer(const struct user_regs_struct *regs) { return regs->rax; }
static int at_call(void) {
    return (ptrace(PTRACE_PEEKTEXT, pid, saved.rip - 2, 0) & 0xffff) == 0x050f;
}
#elif defined(__aarch64__)
#define STACK(regs) (regs).sp
static void aim(struct user_regs_struct *regs, long number, const long *a) {
    regs->pc = saved.pc - 4;
    regs->regs[8] = number;
    for (int i = 0; i < 6; i++) regs->regs[i] = a[i];
}
static long answer(const struct user_regs_struct *regs) { return regs->regs[0]; }
static int at_call(void) {
    return (unsigned)ptrace(PTRACE_PEEKTEXT, pid, saved.pc - 4, 0) == 0xd4000001;
}
#endif

// Room for what arguments point to, below what the stack has in use.
static long room(void) { return (STACK(saved) - 16384) & ~15L; }

static long put(const void *data, size_t size) {
    char padded[256] = {0};
    memcpy(padded, data, size);
    for (size_t at = 0; at < size; at += sizeof(long)) {
        long word;
        memcpy(&word, padded + at, sizeof word);
        if (ptrace(PTRACE_POKEDATA, pid, room() + at, word)) fail("write");
    }
    return room();
}

static long call(long number, long a, long b, long c, long d, long e, long f) {
    struct user_regs_struct regs = saved;
    long arguments[] = {a, b, c, d, e, f};
    int status;
    aim(&regs, number, arguments);
    registers(PTRACE_SETREGSET, &regs);
    if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0)) fail("step");
    if (waitpid(pid, &status, __WALL) < 0 || !WIFSTOPPED(status)) {
        printf("ended\n");
        exit(0);
    }
    registers(PTRACE_GETREGSET, &regs);
    return answer(&regs);
}

static long show(const char *what, long result) {
    printf("%s %s\n", what, result < 0 && result > -4096 ? strerrorname_np(-result) : "done");
    fflush(stdout);
    return result;
}

#define CALL6(number, a, b, c, d, e, f, ...) call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(number, ...) CALL6(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define TEXT(text) put(text, sizeof text)

int main(int argc, char **argv) {
    int status, bystander;
    long tcp, nothing[11] = {CLONE_NEWUSER};
    struct sockaddr_in any = {.sin_family = AF_INET};
    pid = atoi(argv[1]);
    bystander = atoi(argv[2]);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) fail("seize");
    if (waitpid(pid, &status, __WALL) < 0) fail("wait");
    registers(PTRACE_GETREGSET, &saved);
    if (!at_call()) {
        printf("not in a call\n");
        return 1;
    }
    // What it is there for, which shows that it is in our hands.
    tcp = show("internet", CALL(SYS_socket, AF_INET, SOCK_STREAM));
    show("read", CALL(SYS_openat, AT_FDCWD, TEXT("/etc/hostname"), O_RDONLY));
    show("write", CALL(SYS_openat, AT_FDCWD, TEXT("/tmp/taken"), O_WRONLY | O_CREAT, 0666));
    show("folder", CALL(SYS_mkdirat, AT_FDCWD, TEXT("/tmp/taken.d"), 0777));
    show("folder-of-root", CALL(SYS_chdir, TEXT("/")));
    show("look", CALL(SYS_faccessat, AT_FDCWD, TEXT("/etc/passwd"), 0));
    show("file-in-memory", CALL(SYS_memfd_create, TEXT("x"), 0));
    show("signal", CALL(SYS_kill, bystander, 0));
    show("signal-thread", CALL(SYS_tgkill, bystander, bystander, 0));
    show("handle", CALL(SYS_pidfd_open, bystander));
    show("trace", CALL(SYS_ptrace, PTRACE_SEIZE, bystander));
    show("memory-of-another", CALL(SYS_process_vm_readv, bystander));
    show("limit-of-another", CALL(SYS_prlimit64, bystander, 7));
    show("execute", CALL(SYS_execve, TEXT("/nowhere")));
    show("new-process", CALL(SYS_clone, SIGCHLD));
    show("new-process-3", CALL(SYS_clone3, put(nothing, sizeof nothing), sizeof nothing));
    show("unshare-user", CALL(SYS_unshare, CLONE_NEWUSER));
    show("unshare-net", CALL(SYS_unshare, CLONE_NEWNET));
    show("enter", CALL(SYS_setns, 0));
    show("mount", CALL(SYS_mount, 0, TEXT("/"), 0, MS_REC | MS_PRIVATE));
    show("root", CALL(SYS_setuid, 0));
    show("group", CALL(SYS_setgroups, 0));
    show("other-filter", CALL(SYS_seccomp, 3));
    show("local-socket", CALL(SYS_socket, AF_UNIX, SOCK_STREAM));
    show("netlink", CALL(SYS_socket, AF_NETLINK, SOCK_RAW));
    show("packets", CALL(SYS_socket, AF_PACKET, SOCK_RAW));
    show("raw", CALL(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP));
    show("bind", CALL(SYS_bind, tcp, put(&any, sizeof any), sizeof any));
    show("listen", CALL(SYS_listen, tcp, 1));
    show("mark", CALL(SYS_setsockopt, tcp, SOL_SOCKET, SO_MARK, TEXT("\1\0\0\0"), 4));
    show("owner-of-socket", CALL(SYS_fcntl, tcp, F_SETOWN, bystander));
    show("control", CALL(SYS_ioctl, tcp, 0x8901));
    show("code", CALL(SYS_mprotect, room() & ~4095L, 4096, PROT_READ | PROT_EXEC));
    show("program", CALL(SYS_bpf, 0));
    show("ring", CALL(SYS_io_uring_setup, 1));
    show("events", CALL(SYS_perf_event_open, 0));
    show("key", CALL(SYS_add_key, 0));
    return 0;
}
