"""python_server.py - the Python `websockets` server of the benchmark: python_server.py PORT echo|room [CERTIFICATE KEY]"""
import asyncio
import ssl
import sys

import websockets

members = set()


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def room(socket):
    members.add(socket)
    try:
        async for message in socket:
            websockets.broadcast(members, message)
    finally:
        members.remove(socket)


def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def main(port, mode, *pair):
    tls = tls_context(*pair) if pair else None
    handler = echo if mode == "echo" else room
    async with websockets.serve(handler, "127.0.0.1", int(port), ssl=tls, compression=None, backlog=4096):
        await asyncio.Future()


asyncio.run(main(*sys.argv[1:]))
