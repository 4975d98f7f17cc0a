"""Run a command in which opening an internet socket kills the process that does it: ``offline.py COMMAND ...``

A seccomp filter, inherited by all children, so it binds compiled libraries as well as Python. Linux on x86-64 only.
"""

import ctypes
import os
import struct
import sys

SOCKET_CALL = 41
AF_INET, AF_INET6 = 2, 10
ARCHITECTURE_X86_64 = 0xC000003E
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2

# Offsets into struct seccomp_data: system call number 0, architecture 4, first argument 16.
FILTER = [
    (LOAD, 0, 0, 4),
    (JUMP_IF_EQUAL, 0, 6, ARCHITECTURE_X86_64),
    (LOAD, 0, 0, 0),
    (JUMP_IF_EQUAL, 0, 4, SOCKET_CALL),
    (LOAD, 0, 0, 16),
    (JUMP_IF_EQUAL, 1, 0, AF_INET),
    (JUMP_IF_EQUAL, 0, 1, AF_INET6),
    (RETURN, 0, 0, KILL_PROCESS),
    (RETURN, 0, 0, ALLOW),
]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def forbid_internet() -> None:
    """Install the filter in this process.

    Raises
    ------
    OSError
        If the kernel refuses it.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in FILTER))
    program = _Program(len(FILTER), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "the kernel does not let this process give up the network")


if __name__ == "__main__":
    forbid_internet()
    os.execvp(sys.argv[1], sys.argv[1:])
