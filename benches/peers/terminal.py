"""A shell on a terminal, over a WebSocket: terminado, as Jupyter serves its terminals.

The first line on standard output is the port.
"""
import asyncio
import sys

import terminado
import tornado.httpserver
import tornado.netutil
import tornado.web


async def main():
    manager = terminado.UniqueTermManager(shell_command=sys.argv[1:])
    handlers = [(r"/", terminado.TermSocket, {"term_manager": manager})]
    server = tornado.httpserver.HTTPServer(tornado.web.Application(handlers))
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
