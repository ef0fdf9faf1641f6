"""More than one Redis: a primary with a replica under three Sentinels, and a cluster of three."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from convmemory.embedded.account import OWNER
from convmemory.embedded.binaries import find_redis
from convmemory.embedded.processes import ServerProcess
from torture.clients import SERVICE
from torture.servers import READY, Hot, Server, free_port, wait_for

SLOTS = 16384
BUS = 55535
"""The highest port whose cluster bus, 10,000 above it, is a port as well."""


class Sentinel(Server):
    """One of those who watch the primary and agree on its heir."""

    def __init__(self, directory: Path, primary: int) -> None:
        self.port = free_port()
        self.client = Redis(port=self.port, socket_timeout=2, decode_responses=True)
        directory.mkdir(mode=0o700)
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 600\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        super().__init__(
            ServerProcess(
                tier="Redis",
                command=[str(find_redis().path), str(config), "--sentinel"],
                log=directory / "sentinel.log",
                goodbye=signal.SIGTERM,
                answers=lambda _pid: self.primary() is not None,
                account=OWNER,
            )
        )

    def primary(self) -> int | None:
        """The port of the primary, as this one knows it."""
        with suppress(RedisError):
            found = self.client.execute_command("SENTINEL", "get-master-addr-by-name", SERVICE)
            return int(found[1]) if found else None
        return None


class SentinelSet:
    """Primary, replica and three Sentinels."""

    def __init__(self, directory: Path) -> None:
        self._pair = [Hot(directory / f"redis{n}", "--appendonly", "yes") for n in range(2)]
        self._sentinels: list[Sentinel] = []
        self._directory = directory

    @property
    def address(self) -> str:
        return "sentinel://" + ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self._sentinels)

    @contextmanager
    def running(self) -> Iterator[SentinelSet]:
        with ExitStack() as stack:
            for server in self._pair:
                server.start()
                stack.callback(server.end)
            primary, replica = self._pair
            replica.client.replicaof("127.0.0.1", str(primary.port))
            wait_for(lambda: _follows(replica), READY, "the replica does not follow")
            for number in range(3):
                sentinel = Sentinel(self._directory / f"sentinel{number}", primary.port)
                sentinel.start()
                stack.callback(sentinel.end)
                self._sentinels.append(sentinel)
            wait_for(self._agree, READY, "the Sentinels do not know each other")
            yield self

    def primary(self) -> Hot:
        """The server the Sentinels say is the primary."""
        port = self._sentinels[0].primary()
        return next(server for server in self._pair if server.port == port)

    def fail_over(self) -> None:
        """Kill the primary; returns when its replica has taken over and it has come back as a replica itself."""
        fallen = self.primary()
        heir = next(server for server in self._pair if server is not fallen)
        fallen.kill()
        wait_for(lambda: _role(heir) == "master", READY, "nobody took over")
        wait_for(lambda: self.primary() is heir, READY, "the first Sentinel does not know of the heir")
        self._back = fallen, heir

    def mend(self) -> None:
        """Have the one that was killed come back as a replica, and wait until it is fit to take over again."""
        fallen, heir = self._back
        fallen.start()
        wait_for(lambda: _sent_to(fallen, heir), READY, "the former primary does not listen")
        wait_for(lambda: _follows(fallen), READY, "the former primary does not follow")
        wait_for(self._agree, READY, "the Sentinels do not know the replica")
        time.sleep(0.5)

    def _agree(self) -> bool:
        for sentinel in self._sentinels:
            state = sentinel.client.execute_command("SENTINEL", "master", SERVICE)
            if (
                int(state["num-other-sentinels"]) < 2
                or int(state["num-slaves"]) < 1
                or "down" in str(state["flags"])
            ):
                return False
        return True


def _role(server: Hot) -> str:
    with suppress(RedisError):  # a Sentinel cuts everybody's connections when roles change
        return str(server.client.info("replication")["role"])
    return ""


def _sent_to(replica: Hot, primary: Hot) -> bool:
    with suppress(RedisError):
        return bool(replica.client.replicaof("127.0.0.1", str(primary.port)))
    return False


def _follows(server: Hot) -> bool:
    with suppress(RedisError):
        state = server.client.info("replication")
        return state["role"] == "slave" and state["master_link_status"] == "up"
    return False


@contextmanager
def cluster(directory: Path) -> Iterator[list[Hot]]:
    """Three servers that share the slots between them."""
    with ExitStack() as stack:
        nodes = [
            Hot(
                directory / f"node{n}",
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
                port=free_port(BUS),
            )
            for n in range(3)
        ]
        for node in nodes:
            node.start()
            stack.callback(node.end)
        for number, node in enumerate(nodes):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        wait_for(lambda: all(map(_whole, nodes)), READY, "the cluster did not come together")
        yield nodes


def _whole(node: Hot) -> bool:
    state = node.client.execute_command("CLUSTER INFO")
    return state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == 3
