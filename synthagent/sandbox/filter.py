"""Which system calls code in the Python tool may make: names -> a program for the kernel (seccomp, by `seccompy`).

What is not named here is refused: with EPERM where this version of Linux is known to have the call, with ENOSYS
otherwise, as an older kernel would. So code starts threads but no process, sends no signal, opens no socket but a pair
within itself, raises no limit, and gets memory only where its limit counts it: no shared memory, no anonymous files. Of
the kernel it sees files, memory, time and its own signals; `ptrace`, `bpf`, `io_uring`, keys, mounts, namespaces and
the like are out of reach.
"""

from __future__ import annotations

import errno
import platform
from contextlib import suppress
from functools import lru_cache

_FILES = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 creat close close_range
lseek stat lstat fstat newfstatat fstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat
symlink symlinkat truncate ftruncate fallocate fsync fdatasync flock dup dup2 dup3 pipe pipe2 chmod fchmod fchmodat
fchmodat2 umask utime utimes utimensat futimesat copy_file_range sendfile fadvise64 readahead getxattr lgetxattr
fgetxattr listxattr llistxattr flistxattr
"""
_MEMORY = "brk mmap munmap mremap mprotect madvise msync mincore mlock munlock membarrier get_mempolicy"
_SIGNALS_OF_ITS_OWN = """
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause alarm
getitimer setitimer restart_syscall
"""
_THREADS = """
futex futex_wait futex_wake futex_waitv set_robust_list get_robust_list set_tid_address rseq sched_yield
sched_getaffinity sched_getparam sched_getscheduler sched_getattr sched_get_priority_max sched_get_priority_min exit
exit_group wait4 waitid
"""
_WHAT_IT_IS = """
gettid getpid getppid getuid geteuid getgid getegid getgroups getresuid getresgid getpgid getpgrp getsid getpriority
getrlimit getrusage sysinfo times uname getcpu capget arch_prctl getrandom
"""
_TIME = """
time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep timerfd_create timerfd_settime
timerfd_gettime
"""
_WAITING = """
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
socketpair sendto recvfrom sendmsg recvmsg getsockopt setsockopt getsockname getpeername shutdown
"""
_ALLOWED = (_FILES, _MEMORY, _SIGNALS_OF_ITS_OWN, _THREADS, _WHAT_IT_IS, _TIME, _WAITING)

_THREAD = 0x00010000  # of `clone`: the new one belongs to this process
_OTHER_NAMESPACES = 0x7E020080  # of `clone`: user, process, network, mount and other namespaces
_OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: whom the kernel sends a signal about a file, and which
_TERMINAL_AND_BLOCKING = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS .. FIOCLEX, as `open` asks them
_NAMES = (15, 16)  # PR_SET_NAME, PR_GET_NAME: of a thread


@lru_cache(maxsize=1)
def unsupported() -> str:
    """Why there is no filter for this machine; nothing if there is one."""
    import sys

    if sys.platform != "linux":
        return f"the Python tool needs Linux, this is {sys.platform}"
    import seccompy

    try:
        seccompy.arch()
    except seccompy.UnsupportedError:
        return f"no filter of system calls for {platform.machine()}, only for x86_64 and aarch64"
    return "" if seccompy.supported() else "this kernel has no filters of system calls (seccomp)"


@lru_cache(maxsize=1)
def program() -> bytes:
    """The program, as `struct sock_filter` records; made for this machine's architecture."""
    from seccompy import Action, CmpOp, Filter

    known = _known()
    allowed = [name for names in _ALLOWED for name in names.split() if name in known]  # ARM has no `open`
    filter = Filter(default=int(Action.ERRNO) | errno.ENOSYS)
    for name in allowed:
        filter.allow(name)
    filter.allow("clone", args=[(0, CmpOp.MASKED_EQ, _THREAD, _THREAD | _OTHER_NAMESPACES)])
    for command in _OWNERS:  # the kernel reads 32 bits of it
        filter.errno("fcntl", errno.EPERM, args=[(1, CmpOp.MASKED_EQ, command, 0xFFFFFFFF)])
    filter.allow("fcntl")
    for command in _TERMINAL_AND_BLOCKING:
        filter.allow("ioctl", args={1: command})
    for command in _NAMES:
        filter.allow("prctl", args={0: command})
    filter.allow("prlimit64", args={2: 0})  # to read limits, not to set them
    # Without clone3 the C library takes clone, whose flags can be looked into.
    for name in sorted(known - {*allowed, "fcntl", "clone3"}):
        filter.errno(name, errno.EPERM)
    return filter.program


def _known() -> set[str]:
    """The calls that `seccompy` knows for this architecture."""
    from seccompy import syscall_name

    names = set()
    for number in range(1024):
        with suppress(ValueError):
            names.add(syscall_name(number))
    return names
