"""Shows the pages of the catalog on this machine: `lawful catalog serve`."""

from __future__ import annotations

import functools
import http.server
import tempfile
import webbrowser
from pathlib import Path

from .bad_input import BadInput


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing for every page."""


def serve(port: int, browser: bool) -> None:
    """Serves the pages on the loopback address until Ctrl-C.

    Args:
        port: the port; 0 takes a free one.
        browser: whether to open them.
    """
    from lawful.catalog.site import write

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        handler = functools.partial(_Quiet, directory=folder)
        try:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise BadInput(
                f"cannot listen on port {port}: {error.strerror}; leave out --port for a free one"
            ) from error
        with server:
            address = f"http://127.0.0.1:{server.server_address[1]}/"
            print(f"the catalog is at {address}; Ctrl-C ends it", flush=True)
            if browser:
                webbrowser.open(address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("ended")
