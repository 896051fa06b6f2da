"""Calls the server with `cent`, whichever version is on the path: `python cent_calls.py URL KEY < calls`.

Each call is `[method, class of the request, its fields]`, as JSON. Prints the version, and what each call gave to the sync and the async
client: the fields of the result, or the error.
"""

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

import cent


def request_of(name: str, fields: dict[str, Any]) -> Any:
    requests = fields.pop("requests", None)
    if requests is not None:
        fields = {"requests": [request_of(*request) for request in requests]} | fields
    return getattr(cent, name)(**fields)


def fields_of(result: Any) -> Any:
    # A batch gives results of many classes, of which its own dump knows only the base.
    return {"replies": [reply.model_dump() for reply in result.replies]} if hasattr(result, "replies") else result.model_dump()


def told(error: Exception) -> Any:
    return [type(error).__name__, getattr(error, "code", None), getattr(error, "status_code", None)]


def sync_calls(url: str, key: str, calls: list[Any]) -> list[Any]:
    client = cent.Client(url, key)
    answers = []
    for method, name, fields in calls:
        try:
            answers.append(fields_of(getattr(client, method)(request_of(name, dict(fields)))))
        except cent.CentError as error:
            answers.append(told(error))
    client.close()
    return answers


async def async_calls(url: str, key: str, calls: list[Any]) -> list[Any]:
    client = cent.AsyncClient(url, key)
    answers = []
    for method, name, fields in calls:
        try:
            answers.append(fields_of(await getattr(client, method)(request_of(name, dict(fields)))))
        except cent.CentError as error:
            answers.append(told(error))
    await client.close()
    return answers


if __name__ == "__main__":
    _, address, secret = sys.argv
    wanted = json.load(sys.stdin)
    result = {"sync": sync_calls(address, secret, wanted), "async": asyncio.run(async_calls(address, secret, wanted))}
    sys.stdout.write(json.dumps({"version": version("cent")} | result))
