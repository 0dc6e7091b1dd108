"""What servers answered, read out of TensorStore's errors, and what that means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from volumekit.errors import (
    ConflictError,
    CorruptChunkError,
    PermissionDeniedError,
    StorageError,
    UnsupportedError,
    VolumekitError,
)

_HTTP = re.compile(r"\[(?:HTTP code |http_response_code=')(\d{3})")
_CURL = re.compile(r"CURL error (.*?) \[curl_code='(\d+)'\]", re.DOTALL)
_ATTEMPTS = re.compile(r"All (\d+) retry attempts failed: ")
_BODY = re.compile(r"\[http_response_body='(.*?)'\](?= \[|$)", re.DOTALL)
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>|\"message\\?\": ?\\?\"(.*?)\\?\"", re.DOTALL)
_OBJECT = re.compile(r'Error (?:reading|writing) (?:"((?:[^"\\]|\\.)*)"|(\S+)):')

_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_CLOCK = "RequestTimeTooSkewed"
_GARBLED = (23, 61)
_CONNECTION = {
    6: "there is no host of this name; check the URL, and the network",
    7: "nobody accepts connections there; check the URL, and whether the server runs",
    28: "the server did not answer in time",
    35: "no secure connection to the server; is it https?",
    60: "the server's certificate is not trusted",
}
_BROKEN = "the connection broke off before the answer was complete"


@dataclass(frozen=True)
class Answer:
    """How a request to a server failed.

    Attributes
    ----------
    status : int, optional
        The HTTP status, if there was one.
    attempts : int
        How often it was asked.
    code : str
        S3's name of the error.
    curl : int, optional
        libcurl's number of the error.
    said : str
        What the server, or libcurl, said.
    key : str, optional
        The object, as the storage knows it.
    """

    status: int | None
    attempts: int
    code: str
    curl: int | None
    said: str
    key: str | None

    @property
    def garbled(self) -> bool:
        """Whether the body did not decompress: part of an object that is stored compressed."""
        return self.curl in _GARBLED

    @property
    def redirected(self) -> bool:
        """Whether the server says that the object is elsewhere."""
        return self.status is not None and 300 <= self.status < 400 and self.status != HTTPStatus.NOT_MODIFIED


def parse_answer(text: str) -> Answer | None:
    """Return the answer that the text of a TensorStore error tells of; None if it is none of a server."""
    body = _BODY.search(text)
    bare = text[: body.start()] + text[body.end() :] if body else text
    http, curl = _HTTP.search(bare), _CURL.search(bare)
    if http is None and curl is None:
        return None
    attempts = _ATTEMPTS.search(bare)
    code = _CODE.search(body[1]) if body else None
    return Answer(
        int(http[1]) if http else None,
        int(attempts[1]) + 1 if attempts else 1,
        code[1] if code else "",
        int(curl[2]) if curl and not http else None,
        _said(body[1] if body else "") if http else (curl[1] if curl else ""),
        named_object(bare),
    )


def named_object(text: str) -> str | None:
    """Return the object that the text of a TensorStore error names, as the storage knows it."""
    match = _OBJECT.search(text)
    return (match[1] or match[2]) if match else None


def _said(body: str) -> str:
    """Return the message in the body of an answer, or the beginning of the body."""
    match = _MESSAGE.search(body)
    text = (match[1] or match[2] or "") if match else re.sub(r"<[^>]*>", " ", body)
    return " ".join(text.replace("\\n", " ").split())[:200]


def meaning(answer: Answer) -> tuple[type[VolumekitError], str]:
    """Return the error that an answer is, and what to say."""
    asked = f" (asked {answer.attempts} times)" if answer.attempts > 1 else ""
    said = f": {answer.said}" if answer.said else ""
    if answer.garbled:
        return CorruptChunkError, f"an object does not fit its Content-Encoding; write it again{said}"
    if answer.status is None:
        told = _CONNECTION.get(answer.curl or 0, _BROKEN)
        return StorageError, f"{told}{asked}{said}"
    kind, told = _of_status(answer)
    code = f", {answer.code}" if answer.code and answer.code != answer.said else ""
    return kind, f"{told}; HTTP status {answer.status} {_phrase(answer.status)}{code}{asked}{said}"


def _of_status(answer: Answer) -> tuple[type[VolumekitError], str]:
    status = answer.status or 0
    if answer.code in _EXPIRED:
        return PermissionDeniedError, "the credentials are wrong or have expired; renew them"
    if answer.code == _CLOCK:
        return PermissionDeniedError, "the clock of this machine is wrong, so the storage refuses its requests"
    if answer.code == "NoSuchBucket" or status == HTTPStatus.NOT_FOUND:
        return StorageError, "there is no such bucket; check its name"
    if status in (401, 403, 407) or "invalid_grant" in answer.said:
        return PermissionDeniedError, "the storage refused access; check permissions or credentials"
    if answer.redirected or answer.code == "AuthorizationHeaderMalformed":
        return StorageError, "what is asked for is elsewhere; check the URL, or for S3 the region"
    if status in (409, 412):
        return ConflictError, "somebody else keeps changing the same object; try again"
    if status in (405, 501):
        return UnsupportedError, "the server cannot do this"
    if status in (429, 503):
        return StorageError, "the server is overloaded; try again later, or with fewer requests at a time"
    return StorageError, "the server failed; try again later" if status >= 500 else "the server refused the request"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
