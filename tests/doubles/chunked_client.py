"""A client of the gateway that seals a request chunk by chunk, and opens the answer as it comes."""

import asyncio

from cloister.formats.binary_http import Framing, encode_head
from cloister.formats.binary_http_stream import ResponseDecoder, content, finish
from cloister.ohttp.chunked import REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE, encapsulate

HEAD = (
    f"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: {REQUEST_MEDIA_TYPE}\r\n"
    "transfer-encoding: chunked\r\n\r\n"
).encode()


class ChunkedClient:
    """One exchange over a connection of its own."""

    def __init__(self, origin, config, records=None):
        """`records` takes the answer out of them, where it was asked for so."""
        self.origin = origin
        self.records = records
        self.sizes: list[int] = []  # of the pieces that came
        self.sealer, self.opener = encapsulate(config)
        self.decoder = ResponseDecoder()
        self.body = b""

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.origin.host, self.origin.port)
        self.writer.write(HEAD)
        self.send(self.sealer.head)
        return self

    async def __aexit__(self, *_raised):
        self.writer.transport.abort()

    def send(self, data):
        """Bytes of the encapsulated request."""
        if data:
            self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def begin(self, request):
        self.send(self.sealer.seal(encode_head(request, framing=Framing.INDETERMINATE_LENGTH)))

    async def more(self, data):
        self.send(self.sealer.seal(content(data)))
        await self.writer.drain()

    def end(self):
        self.send(self.sealer.finish(finish()))
        self.cut()

    def cut(self):
        """The HTTP body ends here, whatever is sealed in it."""
        self.writer.write(b"0\r\n\r\n")

    async def head(self):
        """The status and the media type of the HTTP answer."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode()
        self.streamed = "transfer-encoding: chunked" in head
        self.length = 0 if self.streamed else int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), head.split("content-type: ")[1].split("\r\n")[0]

    async def piece(self):
        """More of the sealed answer; nothing at its end."""
        if not self.streamed:
            data, self.length = await self.reader.readexactly(self.length), 0
            return data
        size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 10), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data

    async def read(self):
        """What one piece brings of the answer's body; at its end everything has to hold."""
        data = await self.piece()
        self.sizes.append(len(data))
        opened = self.opener.feed(data) if data else self.opener.end()
        pieces = self.decoder.feed(self.records.feed(opened) if self.records else opened)
        if not data:
            if self.records:
                self.records.end()
            self.decoder.end()
        return b"".join(pieces)

    async def rest(self):
        """All that comes, to its end."""
        while not self.decoder.ended:
            self.body += await self.read()

    async def answer(self):
        """The whole answer: status, headers, body, trailers."""
        assert await self.head() == (200, RESPONSE_MEDIA_TYPE)
        await self.rest()
        head = self.decoder.head
        assert head is not None
        return head.status, dict(head.headers), self.body, dict(self.decoder.trailers)
