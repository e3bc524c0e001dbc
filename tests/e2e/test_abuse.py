"""200 hostile connections against a chat of 100 people: nothing that these say is lost, and the server is as it was afterwards."""
import json
import os

from support import abuse
from support.control import Control, control
from support.server import sanitized

COUNT = 40 if os.environ.get("MOONTIDE_SLOW") == "1" else 12  # messages of each person, two a second


def test_a_chat_goes_on_beside_hostile_clients(authority, until, capsys):
    chain, key = authority.issue("abuse", "127.0.0.1")
    with abuse.start(chain, key) as server:
        sockets, memory = server.sockets(), server.rss()
        alone, beside, done = abuse.measure(server, authority.root[0], COUNT)
        with capsys.disabled():
            print("", *(f"{name}: {json.dumps(result)}" for name, result in
                        (("alone", alone), ("beside", beside), ("hostile", done))), sep="\n")
        assert done["clients"] == 200
        for kind in ("slow_head", "slow_body", "slow_tls", "slow_message", "flood", "bombs", "never_reads", "garbage", "storm"):
            assert done["done"][kind] >= 20, f"{kind} was not at work: {done}"
        for name, crowd in (("alone", alone), ("beside", beside)):
            assert crowd["sent"] == 100 * COUNT and crowd["lost"] == 0 and not crowd["trouble"], f"{name}: {crowd}"
            assert crowd["again"] <= 5, f"{name}: {crowd}"  # a busy machine; more would be people who are kept out
        until(lambda: server.sockets() <= sockets, 15, "the end of all sockets")
        if not sanitized():
            assert server.rss() - memory < 200 << 20
        status = Control(control(server)).ask("status")
        assert status["handlers"]["errors"] == 0, status
