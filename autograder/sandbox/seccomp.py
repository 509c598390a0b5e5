"""The system calls that the sandbox refuses, as a program for the kernel's filter."""

from __future__ import annotations

import errno
import os
import socket
from functools import cache

# Memory that no limit of a process counts, ways to other processes, ways to new namespaces and mounts,
# and parts of the kernel that a notebook has no business with and that have had many holes.
REFUSED = """
    memfd_create memfd_secret shmget msgget semget mq_open vmsplice
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp perf_event_open
    unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
    io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key bpf userfaultfd fanotify_init
    name_to_handle_at open_by_handle_at quotactl swapon swapoff acct syslog reboot kexec_load kexec_file_load
    init_module finit_module delete_module iopl ioperm settimeofday clock_settime adjtimex clock_adjtime vhangup
""".split()
NEW_NAMESPACES = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # they type into a terminal
HINTS = (1036, 1038)  # F_SET_RW_HINT and its kind: they stay with a file that other kernels open, too
BUFFERS = (7, 8, 32, 33)  # SO_SNDBUF and its kind: a socket's memory is counted nowhere, so it stays as small as it is


@cache
def program() -> bytes:
    """The filter as BPF, for bubblewrap's --seccomp.

    Raises:
        ImportError, OSError, RuntimeError: libseccomp is not there.
    """
    import pyseccomp

    refused = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    for name in REFUSED:
        try:
            refused.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
        except OSError as error:  # a name that this libseccomp, or this machine, does not know
            if error.errno not in (errno.EINVAL, errno.EDOM, errno.EFAULT):
                raise
    for flag in NEW_NAMESPACES:
        wanted = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag)
        refused.add_rule(pyseccomp.ERRNO(errno.EPERM), "clone", wanted)
    # Its flags lie in memory, where no filter sees them; libraries fall back on clone.
    refused.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for request in (TIOCSTI, TIOCLINUX):
        wanted = pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request)
        refused.add_rule(pyseccomp.ERRNO(errno.EPERM), "ioctl", wanted)
    for hint in HINTS:
        refused.add_rule(pyseccomp.ERRNO(errno.EPERM), "fcntl", pyseccomp.Arg(1, pyseccomp.EQ, hint))
    for option in BUFFERS:
        level, which = pyseccomp.Arg(1, pyseccomp.EQ, socket.SOL_SOCKET), pyseccomp.Arg(2, pyseccomp.EQ, option)
        refused.add_rule(pyseccomp.ERRNO(errno.EPERM), "setsockopt", level, which)
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as file:
            refused.export_bpf(file)
        return os.read(reader, 2**16)
    finally:
        os.close(reader)
