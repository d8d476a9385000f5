"""Links: those within the pages lead somewhere, and the command for those that leave says which do not answer."""

import http.server
import os
import threading

import pytest

from tools import links
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@built
def test_every_link_within_the_pages_leads_to_a_place():
    assert links.broken(HTML, skipped=("downloads",)) == []  # those are made and checked by `make reader`


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b.html").write_text('<p id="here">b</p><a name="old"></a>', encoding="utf-8")
    (tmp_path / "a" / "index.html").write_text(
        '<a href="../b.html#here">1</a><a href="../b.html#old">2</a><a href="#">3</a><a href="../a/">4</a>'
        '<a href="../b.html#gone">5</a><a href="c.html">6</a><img src="d%20e.png"><a href="../../f.html">7</a>'
        '<a href="../downloads/g.pdf">8</a><a href="https://example.org/h">9</a><a href="#j">11</a>'
        '<a href="mailto:i">10</a>',
        encoding="utf-8",
    )
    broken = [line.split(": ")[1] for line in links.broken(tmp_path, skipped=("downloads",))]
    assert broken == ["#j", "../../f.html", "../b.html#gone", "c.html", "d%20e.png"]
    assert links.leaving(tmp_path) == ["https://example.org/h"]


class Site(http.server.BaseHTTPRequestHandler):
    """Answers with the number in the path; 301 leads to 200."""

    def do_GET(self):
        code = int(self.path[1:])
        self.send_response(code)
        if code == 301:
            self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_each_address_has_a_line_and_what_does_not_answer_is_counted(site, capsys):
    nowhere = "http://no-such-host.invalid/"
    assert links.check([f"{site}/{code}" for code in (200, 301, 403, 404)] + [nowhere]) == 2
    ok, moved, refused, gone, unknown, last = capsys.readouterr().out.splitlines()
    assert ok.split() == ["ok", "200", f"{site}/200"]
    assert moved.startswith(f"ok 200, now {site}/200") and moved.endswith(f"{site}/301")
    assert refused.startswith("look 403") and gone.startswith("FAILED 404") and unknown.startswith("FAILED")
    assert last == "5 addresses, 2 failed"
