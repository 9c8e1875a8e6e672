"""A made-up TPM as `/dev/tpmrm0` shows one: each write is a whole command, and what is read next its answer."""

import errno
import struct
from dataclasses import dataclass, field

from tests.doubles.tsm_kernel import fault

from cloister.formats.event_log import SHA256
from cloister.testing.azure_hardware import AZURE_TPM
from cloister.testing.tpm_hardware import MadeTpm, sized

READABLE = 1 << 17 | 1 << 18 | 1 << 25 | 1 << 29  # OWNERREAD, AUTHREAD, NO_DA, WRITTEN
RC_HANDLE = 0x18B
PASSWORD = bytes.fromhex("00000009400000090000000000")
QUOTED, WITHOUT = 0x8002, 0x8001


@dataclass
class TpmDevice:
    tpm: MadeTpm = AZURE_TPM
    nv: dict[int, bytes] = field(default_factory=dict)
    keys: tuple[int, ...] = (0x81000003,)
    attributes: int = READABLE
    faults: dict[int, list[int]] = field(default_factory=dict)  # by command code: codes to answer with
    changed: dict[int, list[bytes]] = field(default_factory=dict)  # PCRs' values to take at each quote
    piece: int = 4096
    commands: list[int] = field(default_factory=list)
    answer: bytes = b""

    def write(self, command):
        tag, size, code = struct.unpack(">HII", command[:10])
        if size != len(command):
            raise fault(errno.EINVAL)
        self.commands.append(code)
        body = command[10:]
        if codes := self.faults.get(code):
            self.answer = _answer(codes.pop(0))
        else:
            self.answer = self._do(tag, code, body)
        return len(command)

    def read(self, size):
        piece, self.answer = self.answer[: min(size, self.piece)], self.answer[min(size, self.piece) :]
        return piece

    def close(self):
        self.answer = b""

    def _do(self, tag, code, body):
        match code:
            case 0x169:
                return self._read_public_of_index(body)
            case 0x14E:
                return self._read_index(tag, body)
            case 0x173:
                (key,) = struct.unpack(">I", body)
                if key not in self.keys:
                    return _answer(RC_HANDLE)
                return _answer(0, sized(self.tpm.public) + sized(self.tpm.name) * 2)
            case 0x17E:
                return self._read_pcrs(body)
            case 0x158:
                return self._quote(tag, body)
        return _answer(0x143)

    def _read_public_of_index(self, body):
        (index,) = struct.unpack(">I", body)
        if index not in self.nv:
            return _answer(RC_HANDLE)
        public = struct.pack(">IHIHH", index, 0x000B, self.attributes, 0, len(self.nv[index]))
        return _answer(0, sized(public) + sized(bytes(34)))

    def _read_index(self, tag, body):
        reader, index = struct.unpack(">II", body[:8])
        if tag != QUOTED or body[8:21] != PASSWORD or reader not in (0x40000001, index):
            return _answer(0x9A2)
        size, offset = struct.unpack(">HH", body[21:])
        if offset + size > len(self.nv[index]):
            return _answer(0x146)
        return _answer(0, sized(self.nv[index][offset : offset + size]), sessions=True)

    def _read_pcrs(self, body):
        count, bank, size = struct.unpack(">IHB", body[:7])
        bits = int.from_bytes(body[7:], "little")
        values = self.tpm.pcrs.get(bank, {})
        chosen = [index for index in range(24) if bits >> index & 1 and index in values][:8]
        shown = sum(1 << index for index in chosen)
        selection = struct.pack(">IIHB", 7, count, bank, size) + shown.to_bytes(3, "little")
        digests = b"".join(sized(values[index]) for index in chosen)
        return _answer(0, selection + len(chosen).to_bytes(4, "big") + digests)

    def _quote(self, tag, body):
        (key,) = struct.unpack(">I", body[:4])
        if key not in self.keys or tag != QUOTED or body[4:17] != PASSWORD:
            return _answer(RC_HANDLE)
        size = int.from_bytes(body[17:19], "big")
        for index, values in self.changed.items():
            if values:
                pcrs = dict(self.tpm.pcrs[SHA256]) | {index: values.pop(0)}
                self.tpm = MadeTpm({SHA256: pcrs}, seed=self.tpm.seed, scheme=self.tpm.scheme)
        quote = self.tpm.quote(body[19 : 19 + size])
        return _answer(0, sized(quote) + self.tpm.sign(quote), sessions=True)


def _answer(code, parameters=b"", *, sessions=False):
    if sessions:
        parameters = len(parameters).to_bytes(4, "big") + parameters + bytes.fromhex("0000010000")
    return struct.pack(">HII", QUOTED if sessions else WITHOUT, 10 + len(parameters), code) + parameters
