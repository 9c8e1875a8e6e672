"""A kernel with devices, in memory: what is at a path is opened, read, written and controlled; all else is absent."""

import errno
import socket

from tests.doubles.tsm_kernel import ROOT, fault


class DeviceKernel:
    """`devices` by path, each a function that opens one; `tsm` is its configfs; `denied` paths are root's."""

    def __init__(self, devices=None, *, tsm=None, denied=()):
        self.devices = devices or {}
        self.tsm = tsm
        self.denied = denied
        self.opened = {}

    def mkdir(self, path):
        if self.tsm is None:
            raise fault(errno.ENOENT, path)
        self.tsm.mkdir(path)

    def rmdir(self, path):
        self.tsm.rmdir(path)

    def open(self, path, flags):
        if path in self.denied:
            raise fault(errno.EACCES, path)
        if path.startswith(ROOT) and self.tsm is not None:
            return self._kept(TsmFile(self.tsm, self.tsm.open(path, flags)))
        if path not in self.devices:
            raise fault(errno.ENOENT, path)
        return self._kept(self.devices[path]())

    def read(self, descriptor, size):
        return self.opened[descriptor].read(size)

    def write(self, descriptor, data):
        return self.opened[descriptor].write(data)

    def close(self, descriptor):
        self.opened.pop(descriptor).close()

    def ioctl(self, descriptor, request, argument):
        return self.opened[descriptor].ioctl(request, argument)

    def _kept(self, device):
        descriptor = 2000 + len(self.opened)
        self.opened[descriptor] = device
        return descriptor


class TsmFile:
    def __init__(self, tsm, descriptor):
        self.tsm = tsm
        self.descriptor = descriptor

    def read(self, size):
        return self.tsm.read(self.descriptor, size)

    def write(self, data):
        return self.tsm.write(self.descriptor, data)

    def close(self):
        self.tsm.close(self.descriptor)


class SocketDevice:
    """A device that stands at a loopback port: a software TPM's."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def read(self, size):
        return self.socket.recv(size)

    def write(self, data):
        return self.socket.send(data)

    def close(self):
        self.socket.close()


class Told:
    """A file that is read once."""

    def __init__(self, text):
        self.text = text

    def read(self, size):
        piece, self.text = self.text[:size], self.text[size:]
        return piece

    def close(self):
        pass


def loopback(port):
    return lambda: SocketDevice(port)
