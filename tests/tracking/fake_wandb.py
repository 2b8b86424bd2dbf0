"""The part of W&B's server that `wandb sync` needs: it keeps runs by id, and their history by line."""

from __future__ import annotations

import gzip
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = {"id": "entity", "name": "me"}


@dataclass
class Run:
    project: str
    values: dict[str, Any] = field(default_factory=dict)  # the latest values
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """A server, used as a context manager, with the address ``url``. With ``refuses`` it accepts no key."""

    daemon_threads = True

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuses = refuses
        self.runs: dict[str, Run] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        super().__exit__(*error)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:  # an uploaded file
        self._body()
        self._reply({})

    def do_POST(self) -> None:
        body = self._body()
        if self.server.refuses:
            self._reply({"errors": [{"message": "permission denied"}]}, status=403)
        elif self.path == "/graphql":
            question = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", question["query"])
            assert operation
            answer = self._answer(operation[1], question.get("variables") or {})
            self._reply({"data": answer} if answer else {"errors": [{"message": f"no {operation[1]}"}]})
        elif self.path.endswith("/file_stream"):
            self._stream(self.server.runs[self.path.split("/")[-2]], json.loads(body))
            self._reply({"limits": {}})
        else:
            self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, value: object, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self, run: Run, message: dict[str, Any]) -> None:
        lines = message.get("files", {}).get("wandb-history.jsonl")
        if lines:  # written at the given offset, as by the real server: a wrong one would overwrite lines
            rows = [json.loads(line) for line in lines["content"]]
            run.history[lines["offset"] : lines["offset"] + len(rows)] = rows
        if message.get("complete"):
            run.exit_codes.append(message["exitcode"])

    def _answer(self, name: str, values: dict[str, Any]) -> dict[str, Any] | None:
        runs = self.server.runs
        if name == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if name == "Viewer":
            viewer = {"id": "u", "entity": "me", "username": "me", "email": "", "flags": "{}", "admin": False}
            return {"viewer": viewer | {"teams": {"edges": []}}}
        if name == "RunResumeStatus":
            run = runs.get(values["name"])
            bucket = run and {
                "id": values["name"], "name": values["name"], "displayName": "", "tags": [], "config": "{}",
                "historyLineCount": len(run.history), "eventsLineCount": 0, "logLineCount": 0,
                "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]), "eventsTail": "[]",
                "summaryMetrics": "{}", "wandbConfig": '{"t": 1}',
            }  # fmt: skip
            return {"model": {"id": "p", "name": values["project"], "entity": ENTITY, "bucket": bucket}}
        if name == "UpsertBucket":
            new = values["name"] not in runs
            run = runs.setdefault(values["name"], Run(values["project"]))
            run.values |= {key: value for key, value in values.items() if value is not None}
            project = {"id": "p", "name": values["project"], "entity": ENTITY}
            bucket = {"id": values["name"], "name": values["name"], "displayName": "", "project": project}
            bucket |= {"historyLineCount": len(run.history), "sweepName": None}
            return {"upsertBucket": {"bucket": bucket, "inserted": new}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.server.url}/upload"} for file in values["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifact":  # the server claims to have it, so that no file follows
            about = values["input"]
            runs[about["runName"]].artifacts.append(about["artifactCollectionName"])
            sequence = {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}}
            artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
            return {"createArtifact": {"artifact": artifact}}
        return None
