"""A loopback stand-in for the part of W&B's server that `wandb sweep`, `wandb agent` and `wandb.init` call."""

import gzip
import itertools
import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

OWNER = "someone"


class Server:
    """Sweeps, agents and runs in memory; `with Server() as server` serves them at `server.url`.

    A run that was marked as preempting and then ended with an error goes to the next agent that asks, as W&B does.

    Attributes:
        sweeps: id -> `config`, `state`, `runs`.
        runs: id -> `config`, `sweep`, `history`, `summary`, `exitcode`, `starts`.
        stop_after: id of a run -> epochs after which it is ended early.
        unknown: operations that nobody here answers.
    """

    def __init__(self) -> None:
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.agents: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.stop_after: dict[str, int] = {}
        self.unknown: list[str] = []
        self.uploaded: list[bytes] = []
        self.lock = threading.RLock()
        self.http = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"server_of_runs": self}))
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def environment(self) -> dict[str, str]:
        """What makes the client talk to this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, "WANDB_CONSOLE": "off"}

    def answer(self, operation: str, variables: dict[str, Any]) -> Any:
        """The data of one GraphQL operation."""
        method = getattr(self, f"_{operation}", None)
        if method is None:
            self.unknown.append(operation)
            return None
        return method(variables)

    def stream(self, run_id: str, sent: dict[str, Any]) -> None:
        """What a run says of itself while it goes on."""
        run = self.runs.setdefault(run_id, _new_run(run_id))
        for name, content in (sent.get("files") or {}).items():
            if "history" in name:
                run["history"].extend(json.loads(line) for line in content["content"])
            if "summary" in name:
                run["summary"] = json.loads(content["content"][-1])
        if sent.get("preempting"):
            run["preempting"] = True
        if "exitcode" in sent:
            run["exitcode"] = sent["exitcode"]

    def _Viewer(self, _: Any) -> Any:  # noqa: N802  # operations have W&B's own names
        teams = {"edges": [{"node": {"name": OWNER}}]}
        return {"viewer": {"id": "u", "entity": OWNER, "username": OWNER, "email": "", "admin": False, "flags": "{}",
                           "teams": teams, "apiKeys": {"edges": []}}}  # fmt: skip

    def _ServerFeaturesQuery(self, _: Any) -> Any:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, _: Any) -> Any:  # noqa: N802
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _UpsertSweep(self, given: Any) -> Any:  # noqa: N802
        name = next((name for name in self.sweeps if given.get("id") in {name, f"id-{name}"}), None)
        name = name or f"sweep{len(self.sweeps)}"
        sweep = self.sweeps.setdefault(name, {"state": "PENDING", "runs": [], "project": given.get("projectName")})
        if given.get("config"):
            sweep["text"], sweep["config"] = given["config"], yaml.safe_load(given["config"])
            sweep["values"] = _values_of(sweep["config"])
        sweep["state"] = given.get("state") or sweep["state"]
        node = {"name": name, "project": _project(sweep["project"])}
        return {"upsertSweep": {"sweep": node, "configValidationWarnings": []}}

    def _SweepWithRuns(self, given: Any) -> Any:  # noqa: N802
        sweep = self.sweeps.get(given["sweep"])
        if sweep is None:
            return {"project": {"sweep": None}}
        empty = dict.fromkeys(
            ["description", "createdAt", "heartbeatAt", "updatedAt", "bestLoss", "controller", "scheduler"]
        )
        node = {"id": f"id-{given['sweep']}", "name": given["sweep"], "method": sweep["config"]["method"],
                "state": sweep["state"], "config": sweep["text"], "earlyStopJobRunning": False,
                "runs": {"edges": [{"node": _node(self.runs[run])} for run in sweep["runs"]]}}  # fmt: skip
        return {"project": {"sweep": empty | node}}

    def _GetSweepState(self, given: Any) -> Any:  # noqa: N802
        return {"project": {"sweep": {"state": self.sweeps[given["sweep"]]["state"]}}}

    def _CreateAgent(self, given: Any) -> Any:  # noqa: N802
        name = f"agent{len(self.agents)}"
        self.agents[name] = given["sweep"]
        self.sweeps[given["sweep"]]["state"] = "RUNNING"
        return {"createAgent": {"agent": {"id": name}}}

    def _Heartbeat(self, given: Any) -> Any:  # noqa: N802
        name = self.agents[given["id"]]
        busy = json.loads(given.get("runState") or "{}")
        commands = [{"type": "stop", "run_id": run} for run in busy if self._is_to_stop(self.runs[run])]
        commands = commands if busy else [self._command(name, self.sweeps[name])]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    def _is_to_stop(self, run: dict[str, Any]) -> bool:
        epochs = len([step for step in run["history"] if "val/auroc" in step])
        run["shouldStop"] = epochs >= self.stop_after.get(run["name"], 10**6)
        return run["shouldStop"]

    def _StopRequests(self, given: Any) -> Any:  # noqa: N802
        runs = self.sweeps[given["sweep"]]["runs"]
        return {"project": {"sweep": {"runs": {"edges": [{"node": _node(self.runs[run])} for run in runs]}}}}

    def _command(self, name: str, sweep: dict[str, Any]) -> dict[str, Any]:
        stopped = [run for run in map(self.runs.__getitem__, sweep["runs"]) if run["preempting"] and run["exitcode"]]
        if stopped:
            run, kind = stopped[0], "resume"
            run.update(preempting=False, exitcode=None)
        else:
            full = len(sweep["runs"]) >= sweep["config"].get("run_cap", 10**6)
            values = None if full else next(sweep["values"], None)
            if values is None:
                sweep["state"] = "FINISHED"
                return {"type": "exit"}
            run, kind = _new_run(f"{name}run{len(sweep['runs'])}"), "run"
            run.update(sweep=name, values={key: {"value": value} for key, value in values.items()})
            sweep["runs"].append(run["name"])
            self.runs[run["name"]] = run
        return {
            "type": kind,
            "run_id": run["name"],
            "program": sweep["config"].get("program"),
            "args": run["values"],
            "logs": [],
        }

    def _UpsertBucket(self, given: Any) -> Any:  # noqa: N802
        name = given.get("name") or given.get("id")
        new = name not in self.runs or not self.runs[name]["starts"]
        run = self.runs.setdefault(name, _new_run(name))
        if given.get("config"):
            run["config"] = json.loads(given["config"])
        if given.get("summaryMetrics"):
            run["summary"] = json.loads(given["summaryMetrics"])
        if given.get("program") or given.get("host") or given.get("displayName") or given.get("config"):
            run["starts"] += new
        return {"upsertBucket": {"bucket": _node(run), "inserted": new, "success": True}}

    def _RunResumeStatus(self, given: Any) -> Any:  # noqa: N802
        run = self.runs.get(given["name"])
        if run is None or not run["starts"]:
            return {"model": {**_project(given.get("project")), "bucket": None}}
        tail = json.dumps([json.dumps(run["history"][-1])] if run["history"] else [])
        more = {"historyLineCount": len(run["history"]), "eventsLineCount": 0, "logLineCount": 0, "historyTail": tail,
                "eventsTail": "[]", "wandbConfig": json.dumps({"t": 1})}  # fmt: skip
        return {"model": {**_project(given.get("project")), "bucket": _node(run) | more}}

    def _CreateRunFiles(self, given: Any) -> Any:  # noqa: N802
        files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in given.get("files", [])]
        return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}


class Quiet(ThreadingHTTPServer):
    """A client that ends hangs up; that is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


class Handler(BaseHTTPRequestHandler):
    """HTTP around a Server."""

    protocol_version = "HTTP/1.1"
    server_of_runs: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """GraphQL, or the stream of a run."""
        content = self._body()
        with self.server_of_runs.lock:
            if self.path.startswith("/graphql"):
                asked = json.loads(content)
                named = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                data = self.server_of_runs.answer(named[1] if named else "", asked.get("variables") or {})
                self._send({"data": data} if data is not None else {"data": None, "errors": [{"message": "unknown"}]})
                return
            self.server_of_runs.uploaded.append(content)
            if self.path.endswith("file_stream"):
                self.server_of_runs.stream(self.path.split("/")[-2], json.loads(content or b"{}"))
                self._send({"exitcode": None, "limits": {}})
                return
        self._send({})

    def do_PUT(self) -> None:
        """An uploaded file."""
        content = self._body()
        with self.server_of_runs.lock:
            self.server_of_runs.uploaded.append(content)
        self._send({})

    def do_GET(self) -> None:
        """Nothing is asked for by GET that matters."""
        self._send({})

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
        else:
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return gzip.decompress(content) if self.headers.get("content-encoding") == "gzip" else content

    def _send(self, content: Any) -> None:
        sent = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)


def _project(name: Any) -> dict[str, Any]:
    return {"id": f"project-{name}", "name": name or "p", "entityName": OWNER, "entity": {"id": "e", "name": OWNER}}


def _new_run(name: str) -> dict[str, Any]:
    return {"name": name, "sweep": None, "config": {}, "summary": {}, "history": [], "values": {}, "exitcode": None,
            "preempting": False, "shouldStop": False, "starts": 0}  # fmt: skip


def _node(run: dict[str, Any]) -> dict[str, Any]:
    plain = {"id": f"run-{run['name']}", "name": run["name"], "displayName": run["name"], "state": "running",
             "description": "", "config": json.dumps(run["config"]), "summaryMetrics": json.dumps(run["summary"]),
             "sweepName": run["sweep"], "project": _project("p"), "historyLineCount": len(run["history"]),
             "createdAt": "2026-01-01T00:00:00", "sampledHistory": [], "tags": [], "files": {"edges": []}}  # fmt: skip
    flags = {"shouldStop": run["shouldStop"], "failed": False, "stopped": False, "running": True}
    return {**plain, **flags, "exitcode": None, "heartbeatAt": None}


def _values_of(config: dict[str, Any]) -> Any:
    """What the trials of a sweep are: every combination of a grid, else draws (the real server models bayes)."""
    parameters = config["parameters"]
    if config["method"] == "grid":
        listed = [reported.get("values", [reported.get("value")]) for reported in parameters.values()]
        return (dict(zip(parameters, values, strict=True)) for values in itertools.product(*listed))
    generator = random.Random(0)
    return ({key: _draw(reported, generator) for key, reported in parameters.items()} for _ in itertools.count())


def _draw(reported: dict[str, Any], generator: random.Random) -> Any:
    if "values" in reported or "value" in reported:
        return generator.choice(reported.get("values", [reported.get("value")]))
    if reported.get("distribution") == "int_uniform":
        return generator.randint(reported["min"], reported["max"])
    return generator.uniform(reported["min"], reported["max"])
