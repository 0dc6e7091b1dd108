from tests.serve.conftest import running

__all__ = ["running"]
