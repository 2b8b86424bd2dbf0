"""``zoo watch``: what it reads, what it sends, and to whom."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import threading
import time

import pytest
from fake_records import nine, save, write
from rich.console import Console

import zoo.comparison.watch
from zoo.cli import main
from zoo.comparison.watch import HOST, Server, Snapshot, job_of, watch
from zoo.errors import ZooError
from zoo.record.plan import write_plan

HEADINGS = "updates,images_seen,wall_seconds,device_seconds,train/loss,val/loss"


def running(root, name="job", rows=("10,10,2,2,0.5,0.6", "20,20,4,4,0.4,0.5"), total=100, tail="\n"):
    """Write the files of a run in training."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(f"training: {{updates: {total}}}\n", encoding="utf-8")
    (folder / "curves.csv").write_text("\n".join([HEADINGS, *rows]) + tail, encoding="utf-8")
    return folder


def test_a_job_in_training_has_its_progress_and_the_time_left(tmp_path):
    job = job_of(running(tmp_path), time.time())
    assert (job.state, job.updates, job.total) == ("training", 20, 100)
    assert job.left == pytest.approx(16.0), "80 updates at 0.2 seconds"
    assert (job.curve, job.value, job.points) == ("val/loss", 0.5, [0.6, 0.5])


def test_an_incomplete_last_line_is_not_read(tmp_path):
    job = job_of(running(tmp_path, tail="\n30,3"), time.time())
    assert job.updates == 20


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"rows": ()}, "waiting"),
        ({"rows": ("10,10,2,2,nan,",)}, "not finite"),
        ({"rows": ("100,10,2,2,0.1,0.2",)}, "evaluating"),
    ],
)
def test_the_state_of_a_job_follows_from_its_curves(tmp_path, change, state):
    assert job_of(running(tmp_path, **change), time.time()).state == state


def test_a_job_without_news_for_long_is_stalled(tmp_path):
    folder = running(tmp_path)
    os.utime(folder / "curves.csv", (1, time.time() - 600))
    assert job_of(folder, time.time()).state == "stalled"


def test_a_directory_without_configuration_has_no_total(tmp_path):
    folder = running(tmp_path)
    (folder / "config.yaml").unlink()
    job = job_of(folder, time.time())
    assert (job.total, job.left, job.updates) == (None, None, 20)


def test_a_half_written_record_is_read_when_it_is_complete(tmp_path):
    record = write(tmp_path, "maf", "flow")
    file = tmp_path / record.run_id / "record.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    snapshot = Snapshot(tmp_path)
    snapshot.look()
    assert snapshot.facts["studies"] == []
    file.write_bytes(whole)
    assert snapshot.look()
    assert snapshot.facts["runs"]["id"] == [record.run_id]


def test_a_record_that_cannot_be_read_is_being_written_until_it_stays_so(tmp_path, monkeypatch):
    write(tmp_path, "glow", "flow")
    name = write(tmp_path, "maf", "flow").run_id
    file = tmp_path / name / "record.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    snapshot = Snapshot(tmp_path)
    snapshot.look()
    assert snapshot.facts["warnings"] == []
    assert snapshot.jobs[name]["state"] == "being written"
    monkeypatch.setattr(zoo.comparison.watch, "SETTLED", 0.0)
    cursor = snapshot.version
    snapshot.look()
    assert snapshot.jobs[name]["state"] == "broken record"
    (warning,) = snapshot.delta(cursor)["warnings"]
    assert "cannot be read" in warning
    assert not snapshot.look()
    file.write_bytes(whole)
    snapshot.look()
    assert (snapshot.jobs, snapshot.facts["warnings"]) == ({}, [])
    assert len(snapshot.facts["runs"]["id"]) == 2


def test_the_jobs_of_a_sweep_that_have_not_begun_are_counted(tmp_path):
    sweep, search = tmp_path / "sweep", tmp_path / "search"
    record = write(sweep, "maf", "flow")
    running(sweep, "glow-digits-s0")
    write_plan(sweep, [record.run_id, "glow-digits-s0", "vae-digits-s0", "gan-digits-s0"], 4)
    running(search, "trial-1")
    write_plan(search, [], 10)
    snapshot = Snapshot(tmp_path)
    snapshot.look()
    assert snapshot.delta(0)["unstarted"] == 2 + 9
    cursor = snapshot.version
    running(sweep, "vae-digits-s0")
    assert snapshot.look()
    assert snapshot.delta(cursor)["unstarted"] == 10
    (search / "plan.json").write_text("{", encoding="utf-8")
    snapshot.look()
    assert snapshot.delta(cursor)["unstarted"] == 1


def test_a_change_is_sent_alone_and_nothing_in_few_bytes(tmp_path):
    nine(tmp_path)
    write(tmp_path, "maf", "flow", data="moons")
    snapshot = Snapshot(tmp_path)
    snapshot.look()
    before = snapshot.version
    assert not snapshot.look()
    assert json.dumps(snapshot.delta(before, patience=0.0)) == json.dumps({"cursor": before})
    write(tmp_path, "glow", "flow", data="moons")
    snapshot.look()
    delta = snapshot.delta(before)
    assert [study["label"] for study in delta["studies"]] == ["moons"]
    assert [facts["id"] for facts in delta["runs"].values()] == ["glow-moons-s0"]
    assert list(delta["series"]) == list(delta["runs"])
    whole = snapshot.delta(0)
    assert len(whole["runs"]) == 11


def test_places_of_runs_and_texts_stay_when_others_come(tmp_path):
    write(tmp_path, "realnvp", "flow")
    snapshot = Snapshot(tmp_path)
    snapshot.look()
    texts = list(snapshot.strings)
    write(tmp_path, "glow", "flow")
    snapshot.look()
    assert snapshot.facts["runs"]["id"] == ["realnvp-digits-s0", "glow-digits-s0"]
    assert snapshot.strings[: len(texts)] == texts


def test_jobs_are_sent_until_they_have_a_record(tmp_path):
    snapshot = Snapshot(tmp_path)
    running(tmp_path, "maf-digits-s0")
    snapshot.look()
    assert snapshot.delta(0)["jobs"]["maf-digits-s0"]["updates"] == 20
    cursor = snapshot.version
    write(tmp_path, "maf", "flow")
    snapshot.look()
    assert snapshot.delta(cursor)["jobs"] == {"maf-digits-s0": None}


@pytest.fixture
def server(tmp_path):
    write(tmp_path, "maf", "flow")
    running = Server(tmp_path)
    running.start()
    yield running
    running.stop()


def ask(server, path="/", method="GET", host=None):
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_only_this_machine_is_answered_and_only_by_get(server):
    assert ask(server)[0] == 200
    assert ask(server, host=f"localhost:{server.port}")[0] == 200
    assert ask(server, host="evil.example")[0] == 403
    assert ask(server, host=f"evil.example:{server.port}")[0] == 403
    assert ask(server, method="POST")[0] == 501
    assert server.address == f"http://127.0.0.1:{server.port}/"


@pytest.mark.parametrize("path", ["/etc/passwd", "/../record.json", "/index.html", "//evil.example/"])
def test_no_path_of_a_request_leads_to_a_file(server, path):
    assert ask(server, path)[0] == 404


def test_a_request_waits_for_a_change(server, tmp_path):
    cursor = json.loads(ask(server, "/delta?cursor=0")[1])["cursor"]
    threading.Timer(0.3, lambda: write(tmp_path, "glow", "flow")).start()
    status, text = ask(server, f"/delta?cursor={cursor}")
    assert status == 200
    assert "glow-digits-s0" in text


class Interrupted(io.StringIO):
    """A terminal whose user presses Ctrl-C once the address is on it."""

    def write(self, text):
        if "Ctrl-C" in text:
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        return super().write(text)


def test_an_interrupt_leaves_a_finished_page(tmp_path, monkeypatch):
    write(tmp_path, "maf", "flow")
    called = []
    monkeypatch.setattr(zoo.comparison.watch, "compare", lambda *a, **k: called.append(a) or 0)
    text = Interrupted()
    assert watch(tmp_path, console=Console(file=text, width=120)) == 0
    assert called == [([tmp_path], tmp_path / "comparison")]
    assert "http://127.0.0.1:" in text.getvalue()


def test_the_page_that_an_interrupt_leaves_has_every_run_that_came(tmp_path, monkeypatch):
    write(tmp_path, "maf", "flow")
    start = Server.start

    def start_before_another_run(server):
        start(server)
        write(tmp_path, "glow", "flow")

    monkeypatch.setattr(Server, "start", start_before_another_run)
    assert watch(tmp_path, console=Console(file=Interrupted(), width=120)) == 0
    page = (tmp_path / "comparison" / "index.html").read_text(encoding="utf-8")
    assert "connect-src" not in page, "a finished page asks no server"
    for model in ("maf", "glow"):
        assert re.search(rf"<t[hd][^>]*>\s*{model}\s*</t[hd]>", page), "the tables without scripts have it"


def test_a_directory_that_is_not_there_is_an_error_of_one_sentence(tmp_path):
    with pytest.raises(ZooError, match="There is no directory"):
        Server(tmp_path / "nowhere")


def test_a_port_that_is_taken_is_an_error_of_one_sentence(server, tmp_path):
    with pytest.raises(ZooError, match=f"Port {server.port} cannot be used"):
        Server(tmp_path, server.port)


@pytest.mark.parametrize("port", [-1, 65536, 80000])
def test_a_port_that_does_not_exist_is_an_error_of_one_sentence(tmp_path, capsys, port):
    assert main(["watch", str(tmp_path), "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"zoo: A port is a number from 1 to 65535, or 0 for a free one; got {port}.\n"
    )


def test_a_port_in_words_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["watch", str(tmp_path), "--port", "http"])
    assert "argument --port: invalid int value: 'http'" in capsys.readouterr().err


def test_a_record_that_is_written_again_takes_the_place_of_the_first(tmp_path):
    record = write(tmp_path, "maf", "flow", value=1.5)
    snapshot = Snapshot(tmp_path)
    snapshot.look()
    record.metrics["bits_per_dim"].value = 1.25
    save(tmp_path, record)
    snapshot.look()
    (bits,) = (c for c in snapshot.facts["studies"][0]["columns"] if c["key"] == "bits_per_dim")
    assert bits["value"] == [1.25]
    assert len(snapshot.facts["runs"]["id"]) == 1
