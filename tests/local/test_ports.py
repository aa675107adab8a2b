"""Which ports a stack listens on."""

import json
import socket
from pathlib import Path

from ittybatch_local.ports import HIGHEST, HOST, LOWEST, choose_ports, is_free


def test_ports_are_free_distinct_and_beyond_reach_of_clients(tmp_path: Path) -> None:
    """No outgoing connection may take the port of a service."""
    ports = choose_ports(["a", "b", "c"], tmp_path / "ports.json")
    assert len(set(ports.values())) == 3
    assert all(LOWEST <= port <= HIGHEST and is_free(port) for port in ports.values())


def test_ports_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    """A bookmark of the Prefect UI keeps working."""
    memory = tmp_path / "ports.json"
    assert choose_ports(["a", "b"], memory) == choose_ports(["a", "b"], memory)


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    """A port that another program uses is not chosen."""
    memory = tmp_path / "ports.json"
    earlier = choose_ports(["a"], memory)["a"]
    with socket.create_server((HOST, earlier)):
        assert choose_ports(["a"], memory)["a"] != earlier


def test_a_damaged_memory_is_made_anew(tmp_path: Path) -> None:
    """An unusable file of ports does not prevent a start."""
    memory = tmp_path / "ports.json"
    for content in ("{", "[]", '{"a": "x", "b": 80}'):
        memory.write_text(content)
        ports = choose_ports(["a", "b"], memory)
        assert ports["b"] != 80
        assert json.loads(memory.read_text()) == ports
