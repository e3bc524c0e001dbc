"""A real HTTP server in a process of its own, which can be killed and started again on the same port: `Backend`."""
import socket
import subprocess
import sys

PROGRAM = r'''
import asyncio, sys
from aiohttp import web

async def plain(request):
    return web.Response(text="x" * (int(request.query_string or 0) % 5000))

async def stream(request):
    res = web.StreamResponse()
    await res.prepare(request)
    for n in range(20):
        await res.write(b"line %d\n" % n)
        await asyncio.sleep(0.001)  # a stream in pieces
    return res

app = web.Application()
app.add_routes([web.get("/plain", plain), web.get("/stream", stream)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, reuse_address=True, handle_signals=False,
            access_log=None)
'''


class Backend:
    def __enter__(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(self.port)], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        while True:  # until it listens
            assert self.process.poll() is None, "the backend did not start"
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return

    def restart(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
