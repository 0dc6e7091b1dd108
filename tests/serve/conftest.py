import pytest

from volumekit import serve


@pytest.fixture
def running():
    """Return a function that starts a server; all end with the test."""
    servers = []

    def start(*sources, **how):
        servers.append(serve(*sources, **how))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
