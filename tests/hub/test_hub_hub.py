"""Pulling from a real server on this machine that speaks the hub's API: whole, cut, wrong, refused, killed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_limits import file_size_limit
from hub_server import Hub as Server
from hub_server import Repo, running_hub

from seedbed.core.errors import CapacityError, CorruptError, DataError, NotFoundError, SeedbedError, UsageError
from seedbed.hub.datasets import choose_data
from seedbed.hub.downloading import RetryPolicy
from seedbed.hub.hub import Hub
from seedbed.hub.hub_errors import HubError
from seedbed.hub.model_files import choose_model_files, shards_of
from seedbed.hub.pulling import Pulled, discard, pull, pulled_before, staging
from seedbed.hub.repository import Address, Listing, RemoteFile, read_address

NAME = "team/tiny"
WEIGHTS = random.Random(1).randbytes(300_000)
FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b"{}",
    "a.bin": b"x",
}
AT_ONCE = RetryPolicy(tries=2, wait=0, timeout=20)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with running_hub() as found:
        found.repos[NAME] = Repo(dict(FILES), card={"license": "mit"})
        yield found


def bring(server: Server, root: Path, token: str = "", retries: RetryPolicy = AT_ONCE) -> Pulled:
    hub = Hub(server.url, token)
    listing = hub.listing(Address(NAME))
    with staging(root, listing) as folder:
        return pull(hub, listing, choose_model_files(listing).files, folder, retries=retries)


def parts(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in root.rglob("*.part")}


def assert_once(server: Server, path: str, size: int) -> None:
    """Every byte of a file was sent, and none twice."""
    at = 0
    for start, stop in server.served[path]:
        assert start == at
        at = stop
    assert at == size


# Whole


def test_the_files_of_a_model_come_and_nothing_else(server: Server, tmp_path: Path) -> None:
    pulled = bring(server, tmp_path)
    found = {path.name: path.read_bytes() for path in pulled.folder.iterdir()}
    assert found == {name: data for name, data in FILES.items() if name != "a.bin"}
    source = pulled.source
    assert (source["repository"], source["revision"]) == (f"hf:{NAME}", "main")
    assert source["commit"] == server.repos[NAME].commit
    assert source["files"]["model.safetensors"] == {"bytes": 300_000, "sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    git = subprocess.run(["git", "hash-object", "--stdin"], input=FILES["config.json"], capture_output=True, check=True)
    assert source["files"]["config.json"]["git-sha1"] == git.stdout.decode().strip()
    assert pulled.licence == "mit"
    discard(pulled)
    assert list((tmp_path / "pulls").iterdir()) == []


def test_a_second_pull_fetches_nothing(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path)
    before = len(server.asked("/resolve/"))
    assert bring(server, tmp_path).folder.joinpath("model.safetensors").read_bytes() == WEIGHTS
    assert len(server.asked("/resolve/")) == before == 3


def test_files_are_asked_for_by_commit_so_that_a_moving_branch_cannot_mix_them(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path)
    paths = [path for _, path, _ in server.requests if "/resolve/" in path]
    assert paths
    assert all(f"/resolve/{server.repos[NAME].commit}/" in path for path in paths)


def test_no_request_goes_anywhere_else_than_what_was_asked(server: Server, tmp_path: Path) -> None:
    """No lists of programs to report, no counters."""
    bring(server, tmp_path)
    assert {path.split("?")[0].split("/")[1] for _, path, _ in server.requests} == {"api", "team"}
    assert len([path for _, path, _ in server.requests if path.startswith("/api/")]) == 1
    assert all("torch" not in headers["user-agent"] for _, _, headers in server.requests)


# Cut


def test_a_cut_connection_goes_on_at_the_byte(server: Server, tmp_path: Path) -> None:
    server.cut_after["model.safetensors"] = [100_001, 7, 64_000]
    pulled = bring(server, tmp_path)
    assert (pulled.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(server.served["model.safetensors"]) == 4
    assert_once(server, "model.safetensors", len(WEIGHTS))
    ranges = [headers.get("range") for headers in server.asked("model.safetensors")]
    assert ranges == [None, "bytes=100001-", "bytes=100008-", "bytes=164008-"]


def test_a_server_that_is_gone_leaves_what_came_for_the_next_time(server: Server, tmp_path: Path) -> None:
    server.cut_after["model.safetensors"] = [150_000, 0, 0]
    with pytest.raises(HubError, match="no answer") as caught:
        bring(server, tmp_path)
    assert "the part received is kept" in caught.value.fix
    assert parts(tmp_path) == {"model.safetensors.part": 150_000}
    assert (bring(server, tmp_path).folder / "model.safetensors").read_bytes() == WEIGHTS
    sent = [stop - start for start, stop in server.served["model.safetensors"]]
    assert sum(sent) == len(WEIGHTS)


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after["model.safetensors"] = [1000]
    assert (bring(server, tmp_path).folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_part_that_is_too_long_is_begun_again(server: Server, tmp_path: Path) -> None:
    server.cut_after["model.safetensors"] = [10, 0, 0]
    with pytest.raises(HubError):
        bring(server, tmp_path)
    [part] = tmp_path.rglob("*.part")
    part.write_bytes(bytes(len(WEIGHTS) + 1))
    assert (bring(server, tmp_path).folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_killed_process_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    """SIGKILL while half of a file is here; the next process asks for the other half."""
    server.hold_after["model.safetensors"] = 131_072
    script = (
        "import sys; from pathlib import Path; from seedbed.hub.hub import Hub; "
        "from seedbed.hub.repository import Address; "
        "from seedbed.hub.pulling import *; from seedbed.hub.model_files import choose_model_files; "
        "hub = Hub(sys.argv[1], ''); "
        f"listing = hub.listing(Address({NAME!r}))\n"
        "files = choose_model_files(listing).files\n"
        "with staging(Path(sys.argv[2]), listing) as folder: pull(hub, listing, files, folder)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, server.url, str(tmp_path)], env=os.environ)
    assert server.holding.wait(60)
    while parts(tmp_path).get("model.safetensors.part", 0) < 131_072:  # until the last of it is on the disk
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (bring(server, tmp_path).folder / "model.safetensors").read_bytes() == WEIGHTS
    assert_once(server, "model.safetensors", len(WEIGHTS))


# Wrong


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_wrong_bytes_are_thrown_away_and_fetched_anew(server: Server, tmp_path: Path, path: str) -> None:
    right = FILES[path]
    server.wrong[path] = bytes([right[0] ^ 1]) + right[1:]
    with pytest.raises(CorruptError, match=path.replace(".", r"\.")) as caught:
        bring(server, tmp_path)
    assert "deleted" in caught.value.why
    assert not list(tmp_path.rglob(f"{path}*"))
    del server.wrong[path]
    assert (bring(server, tmp_path).folder / path).read_bytes() == right


def test_bytes_beyond_the_stated_length_are_not_kept(server: Server, tmp_path: Path) -> None:
    server.wrong["model.safetensors"] = WEIGHTS + bytes(50_000)
    assert (bring(server, tmp_path).folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "name", ["../evil.gguf", "/etc/evil", "a/../../evil", "a\\b", "a//b", ".git/config", "C:evil", ""]
)
def test_names_that_lead_elsewhere_are_refused(server: Server, tmp_path: Path, name: str) -> None:
    server.repos[NAME].listed.append(name)
    with pytest.raises(DataError, match="names a file"):
        bring(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_came(server: Server, tmp_path: Path) -> None:
    with file_size_limit(200_000), pytest.raises(CapacityError, match="disk is full"):
        bring(server, tmp_path)
    assert parts(tmp_path) == {"model.safetensors.part": 200_000}
    assert (bring(server, tmp_path).folder / "model.safetensors").read_bytes() == WEIGHTS
    assert server.served["model.safetensors"][-1] == (200_000, 300_000)


def test_a_small_file_system(server: Server, tmp_path: Path) -> None:
    """A real one that is too small: nothing is fetched."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("only root can mount one")
    try:
        with pytest.raises(CapacityError, match="too little room") as caught:
            bring(server, small)
        assert "0.00 GB are free" in caught.value.why
        assert server.asked("/resolve/") == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


# Refused


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, NotFoundError, "no token was sent"),
        (403, HubError, "accept the terms"),
        (404, NotFoundError, "does not exist"),
        (429, HubError, "further requests"),
        (500, HubError, "fails with status 500"),
        (503, HubError, "HF_ENDPOINT"),
    ],
)
@pytest.mark.parametrize("place", ["/api/", f"/{NAME}/resolve"])
def test_refusals_say_what_to_do(
    server: Server, tmp_path: Path, status: int, kind: type[SeedbedError], words: str, place: str
) -> None:
    server.status[place] = status
    with pytest.raises(kind) as caught:
        bring(server, tmp_path)
    assert words in str(caught.value)


def test_a_private_and_a_gated_repository_open_with_a_token(server: Server, tmp_path: Path) -> None:
    server.repos[NAME].private = True
    with pytest.raises(NotFoundError, match=f"no hf:{NAME}"):
        bring(server, tmp_path)
    server.repos[NAME].private, server.repos[NAME].gated = False, True
    for token in ("", "hf_wrong"):
        with pytest.raises(HubError, match="not open to you") as caught:
            bring(server, tmp_path, token)
        assert f"{server.url}/{NAME}" in caught.value.fix
    assert bring(server, tmp_path, "hf_right").licence == "mit"
    assert all(headers["authorization"] == "Bearer hf_right" for headers in server.asked("/resolve/"))


def test_a_token_is_not_sent_to_where_a_file_is_redirected(server: Server, tmp_path: Path) -> None:
    """The hub sends large files from elsewhere; that place must not learn the token."""
    with running_hub() as elsewhere:
        elsewhere.repos[NAME] = server.repos[NAME]
        commit = server.repos[NAME].commit
        server.redirect[f"/{NAME}/resolve/{commit}/model.safetensors"] = elsewhere.url
        server.cut_after["model.safetensors"] = []
        elsewhere.cut_after["model.safetensors"] = [1000]
        pulled = bring(server, tmp_path, "hf_right")
        assert (pulled.folder / "model.safetensors").read_bytes() == WEIGHTS
        assert_once(elsewhere, "model.safetensors", len(WEIGHTS))
        assert all("authorization" not in headers for _, _, headers in elsewhere.requests)


def test_a_revision_that_is_not_there(server: Server) -> None:
    with pytest.raises(NotFoundError, match="no revision 'v9'"):
        Hub(server.url, "").listing(Address(NAME), "v9")


def test_nobody_there_and_no_hub(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"no answer from http://127\.0\.0\.1:9"):
        Hub("http://127.0.0.1:9", "").listing(Address(NAME))
    with running_hub() as server:
        server.repos[NAME] = Repo({})
        server.nonsense = b"<html>Please log in</html>"
        with pytest.raises(HubError, match="does not answer as a hub"):
            Hub(server.url, "").listing(Address(NAME))


def test_offline_asks_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(server, tmp_path)
    before = len(server.requests)
    hub = Hub(server.url, "", offline=True)
    with pytest.raises(HubError, match="cannot reach"):
        hub.listing(Address(NAME))
    pulled = pulled_before(tmp_path, Address(NAME), None)
    assert (pulled.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert pulled.source["commit"] == server.repos[NAME].commit
    (pulled.folder / "config.json").unlink()
    with pytest.raises(NotFoundError, match="not on this machine"):
        pulled_before(tmp_path, Address(NAME), None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Hub(server.url).offline
    assert len(server.requests) == before


def test_two_pulls_of_one_repository_do_not_meet(server: Server, tmp_path: Path) -> None:
    hub = Hub(server.url, "")
    listing = hub.listing(Address(NAME))
    with staging(tmp_path, listing), pytest.raises(UsageError, match="another process"), staging(tmp_path, listing):
        pass


# Addresses and searching


@pytest.mark.parametrize(
    ("text", "repo", "kind"),
    [
        ("gpt2", "gpt2", "model"),
        ("hf:team/Model-1.5_b", "team/Model-1.5_b", "model"),
        ("hf://team/x", "team/x", "model"),
        ("https://huggingface.co/team/x/", "team/x", "model"),
        ("hf:datasets/team/x", "team/x", "dataset"),
        ("https://huggingface.co/datasets/team/x", "team/x", "dataset"),
    ],
)
def test_addresses(text: str, repo: str, kind: str) -> None:
    address = read_address(text)
    assert (address.repo, address.kind) == (repo, kind)
    assert read_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "a/b/c", "../x", "a/..", "hf:a b", "a--b/c", "/etc/passwd/x", "a/b;rm"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is no repository"):
        read_address(text)


def test_search(server: Server) -> None:
    server.repos["team/other"] = Repo({})
    server.repos["team/data"] = Repo({}, kind="dataset")
    [hit] = Hub(server.url, "").search("TINY", 5)
    assert (hit.repo, hit.downloads, hit.licence, hit.formats) == (NAME, 7, "mit", ("safetensors",))
    assert [hit.repo for hit in Hub(server.url, "").search("data", 5, kind="dataset")] == ["team/data"]


# Which files


def listing(*paths: str, card: dict[str, object] | None = None, **sizes: int) -> Listing:
    files = tuple(RemoteFile(path, sizes.get(path, 10), "a" * 64) for path in paths)
    return Listing(Address("t/r"), "main", "c" * 40, files, card=card or {})


def chosen(*paths: str, gguf: str | None = None) -> set[str]:
    shards = [path for path in paths if path.startswith("model") and "-of-" in path]
    return {file.path for file in choose_model_files(listing(*paths), gguf, shards).files}


def test_shards_come_with_their_index_and_without_other_forms() -> None:
    """Whatever the index calls them; one that it names and that is not there is an error."""
    shards = [f"model.safetensors-0000{n}-of-00002.safetensors" for n in (1, 2)]
    more = ["consolidated.safetensors", "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "original/params.json"]
    wanted = {"config.json", "model.safetensors.index.json", "LICENSE.txt", "chat_template.jinja", *shards}
    assert chosen(*wanted, *more) == wanted
    with pytest.raises(NotFoundError, match="no file b"):
        choose_model_files(
            listing("config.json", "model.safetensors.index.json"), None, shards_of({"weight_map": {"a": "b"}})
        )


def test_one_file_is_preferred_to_shards() -> None:
    found = chosen(
        "config.json", "model.safetensors", "model.safetensors.index.json", "model-00001-of-00001.safetensors"
    )
    assert found == {"config.json", "model.safetensors"}


def test_the_parts_of_a_sentence_transformer_come_too() -> None:
    wanted = {"config.json", "model.safetensors", "modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors"}
    assert chosen(*wanted, "openvino/model.bin", "onnx/config.json") == wanted


def test_one_gguf_file_is_taken_and_of_several_one_must_be_named() -> None:
    assert chosen("a.gguf", "README.md") == {"a.gguf", "README.md"}
    assert chosen("a.gguf", "sub/b.gguf", gguf="b.gguf") == {"sub/b.gguf"}
    with pytest.raises(UsageError, match="2 GGUF files") as caught:
        choose_model_files(listing("big.gguf", "small.gguf", **{"big.gguf": 2 * 10**9}))
    assert "small.gguf (0.00 GB); big.gguf (2.00 GB)" in caught.value.why
    with pytest.raises(NotFoundError, match=r"no GGUF file 'c\.gguf'"):
        choose_model_files(listing("a.gguf"), "c.gguf")
    parts = {"x-00001-of-00002.gguf", "x-00002-of-00002.gguf"}
    assert chosen(*parts) == chosen(*parts, "y.gguf", gguf="x-00002-of-00002.gguf") == parts
    with pytest.raises(NotFoundError, match="no file x-00002"):
        choose_model_files(listing("x-00001-of-00002.gguf"), "x-00001-of-00002.gguf")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["config.json", "pytorch_model.bin"], "runs whatever code"),
        (["adapter_config.json", "adapter_model.safetensors"], "only an adapter"),
        (["model.safetensors"], "no config.json"),
        (["README.md"], "no weights that can be read"),
        ([], "no weights that can be read"),
    ],
)
def test_repositories_that_cannot_be_used(paths: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_model_files(listing(*paths))
    assert words in str(caught.value)


def data_paths(found: Listing, config: str | None = None, split: str | None = None) -> list[str]:
    return [file.path for file in choose_data(found, config, split).files]


def test_the_files_of_a_data_set_by_its_card() -> None:
    configs = [
        {
            "config_name": "en",
            "data_files": [{"split": "train", "path": "en/tr*"}, {"split": "test", "path": ["en/te.csv"]}],
        },
        {"config_name": "de", "data_files": "de/*.csv"},
    ]
    found = listing("README.md", "en/tr1.csv", "en/tr2.csv", "en/te.csv", "de/x.csv", card={"configs": configs})
    assert data_paths(found, "en") == ["en/tr1.csv", "en/tr2.csv"]
    assert data_paths(found, "en", "test") == ["en/te.csv"]
    assert data_paths(found, "de") == ["de/x.csv"]
    with pytest.raises(UsageError, match="2 configurations"):
        choose_data(found)
    with pytest.raises(NotFoundError, match="no configuration 'fr'"):
        choose_data(found, "fr")


def test_the_files_of_a_data_set_by_their_names() -> None:
    found = listing(
        "train-00000-of-00001.jsonl", "data/validation.jsonl.gz", "notes.md", "run.py", "dataset_infos.json"
    )
    assert data_paths(found) == ["train-00000-of-00001.jsonl"]
    assert data_paths(found, split="dev") == ["data/validation.jsonl.gz"]
    with pytest.raises(NotFoundError, match="no split 'test'"):
        choose_data(found, split="test")
    assert data_paths(listing("a.parquet", "a.jsonl")) == ["a.jsonl"]
    assert data_paths(listing("fr/train.csv", "it/train.csv"), "it") == ["it/train.csv"]
    with pytest.raises(UsageError, match="no data that can be read"):
        choose_data(listing("x.py"))
