"""The hub's client: list a repository at a commit, search, upload; its errors say what to do.

Metadata goes through ``huggingface_hub``; the bytes of files do not (see ``downloading``). ``HF_ENDPOINT`` names a
mirror, ``HF_TOKEN`` (or the token that `hf auth login` stored) opens private and gated repositories, ``HF_HUB_OFFLINE``
forbids the network; all three are read when they are needed. Every file is named with its hash here, so whatever a
mirror, proxy or cache delivers later is compared with what the repository says. Spaces, discussions and the library's
own cache are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.core.errors import SeedbedError
from seedbed.hub.hub_errors import HubError, refusal
from seedbed.hub.repository import Address, Listing, RemoteFile, RepoKind, check_path

if TYPE_CHECKING:
    import httpx
    from huggingface_hub import HfApi

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT = 30.0
"""Seconds without an answer after which the hub counts as out of reach."""
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_TRUE = ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True)
class SearchHit:
    """A hit of a search."""

    repo: str
    task: str
    licence: str
    downloads: int
    likes: int
    updated: str
    formats: tuple[str, ...]


class Hub:
    """A hub: list, search, read and upload repositories.

    Args:
        endpoint: its address; ``HF_ENDPOINT``, else huggingface.co.
        token: sent to this address only; ``HF_TOKEN``, else the one that is stored for `hf`.
        offline: ask nothing of the network; also with ``HF_HUB_OFFLINE``.
    """

    def __init__(self, endpoint: str | None = None, token: str | None = None, *, offline: bool = False) -> None:
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        self.offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE
        self._token = token

    @property
    def token(self) -> str | None:
        """Return the authorization token, if any."""
        if self._token is None:
            import huggingface_hub

            return huggingface_hub.get_token()
        return self._token

    def listing(self, address: Address, revision: str | None = None) -> Listing:
        """List a repository's files; ``revision`` is a branch, a tag or a commit, "main" unless given.

        Raises:
            NotFoundError: there is no such repository or revision, or none that is open without a token.
            HubError: access refused, no answer, or one that is not understood.
        """
        wanted = revision or "main"
        with self._asking(address, wanted) as api:
            ask = api.model_info if address.kind == "model" else api.dataset_info
            info: Any = ask(address.repo, revision=wanted, files_metadata=True, timeout=TIMEOUT)
            card = info.card_data.to_dict() if info.card_data is not None else {}
            siblings = list(info.siblings or ())
        if not _COMMIT.fullmatch(str(info.sha)):
            raise self._nonsense(f"it names {info.sha!r} as the commit of {address}")
        files = tuple(self._remote_file(address, sibling) for sibling in siblings)
        return Listing(address, wanted, info.sha, files, _licence(card, info.tags or ()), card)

    def search(self, text: str, limit: int, task: str | None = None, kind: RepoKind = "model") -> list[SearchHit]:
        """Search repositories whose name contains ``text``, most downloaded first.

        Raises:
            HubError: no answer.
        """
        with self._asking(None, "") as api:
            if kind == "model":
                hits: list[Any] = list(
                    api.list_models(search=text, limit=limit, pipeline_tag=task, sort="downloads", full=True)
                )
            else:
                hits = list(api.list_datasets(search=text, limit=limit, filter=task, sort="downloads"))
        return [_found(hit) for hit in hits]

    def client(self, timeout: float) -> httpx.Client:
        """Return a client for the bytes of files."""
        import httpx

        return httpx.Client(follow_redirects=True, timeout=timeout)

    def url(self, listing: Listing, path: str) -> str:
        """Return the address of a file's bytes."""
        from huggingface_hub import hf_hub_url

        address = listing.address
        return hf_hub_url(address.repo, path, repo_type=address.kind, revision=listing.commit, endpoint=self.endpoint)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request for a file; encodings that would change the bytes are excluded."""
        from seedbed.core.version import __version__

        token = self.token
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        return {"user-agent": f"seedbed/{__version__}", "accept-encoding": "identity", **authorization}

    def push(self, folder: Path, address: Address, *, private: bool, message: str) -> str:
        """Make a repository if there is none and upload a folder into it. Returns the commit's address.

        Raises:
            HubError: access refused, or no answer.
        """
        self.require_token(address)
        with self._asking(address, "main") as api:
            api.create_repo(address.repo, repo_type=address.kind, private=private or None, exist_ok=True)
            done: Any = api.upload_folder(
                repo_id=address.repo, folder_path=folder, repo_type=address.kind, commit_message=message
            )
        return str(done.commit_url)

    def unreachable(self, timeout: float = 5.0) -> str | None:
        """Return the reason why the hub does not answer; None where it does."""
        import httpx

        try:
            found = httpx.get(f"{self.endpoint}/api/models", params={"limit": 1}, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return str(error) or type(error).__name__
        return None if found.status_code < 500 else f"status {found.status_code}"

    def refusal(self, address: Address | None, status: int, code: str = "", revision: str = "") -> SeedbedError:
        """Return the error that a status of the hub means for the user."""
        return refusal(self.endpoint, bool(self.token), address, status, code, revision)

    def require_online(self, address: Address | None = None) -> None:
        """Stop before the network.

        Raises:
            HubError: the network is not to be used.
        """
        if self.offline:
            raise HubError(
                f"cannot reach {address or 'the hub'} offline",
                why="--offline or HF_HUB_OFFLINE forbids the network",
                fix="leave it out, or `seedbed import PATH` a copy from another machine",
            )

    def require_token(self, address: Address) -> None:
        """Stop before an upload that would be refused.

        Raises:
            HubError: there is no token.
        """
        if not self.token:
            raise HubError(
                f"nothing is sent to {address}",
                why="uploading needs a token, and neither HF_TOKEN nor a stored one is there",
                fix=f"make a token with write access at {self.endpoint}/settings/tokens and set HF_TOKEN",
            )

    @contextmanager
    def _asking(self, address: Address | None, revision: str) -> Iterator[HfApi]:
        """Open the library's client; whatever it raises becomes an error of ours."""
        self.require_online(address)
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError

        from seedbed.core.version import __version__

        # Else the library sends names of installed packages, and asks the hub for lists of programs to report.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        try:
            yield HfApi(
                endpoint=self.endpoint, token=self.token or False, library_name="seedbed", library_version=__version__
            )
        except HfHubHTTPError as error:
            headers = error.response.headers if error.response is not None else {}
            status = error.response.status_code if error.response is not None else 0
            raise self.refusal(address, status, str(headers.get("X-Error-Code", "")), revision) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._nonsense(str(error)) from error
        except Exception as error:  # the library changes its HTTP client, and so its errors, from version to version
            raise self.no_answer(error) from error

    def no_answer(self, error: Exception) -> HubError:
        """Return the error of a hub that does not answer."""
        return HubError(
            f"no answer from {self.endpoint}",
            why=f"{type(error).__name__}: {error}",
            fix="check the network or HF_ENDPOINT and run the command again: the part received is kept",
        )

    def _nonsense(self, why: str) -> HubError:
        return HubError(
            f"{self.endpoint} does not answer as a hub",
            why=why,
            fix="check HF_ENDPOINT; a proxy's login page may stand in the way",
        )

    def _remote_file(self, address: Address, sibling: Any) -> RemoteFile:
        """Return a listed file whose name is safe and whose hash is known.

        Raises:
            DataError: its name leads out of the repository, or there is no hash to compare it with.
        """
        path = check_path(str(sibling.rfilename), f"{address}")
        sha256 = str(sibling.lfs["sha256"]) if sibling.lfs else ""
        size = sibling.lfs["size"] if sibling.lfs else sibling.size
        blob = str(sibling.blob_id or "")
        known = _SHA256.fullmatch(sha256) if sibling.lfs else _COMMIT.fullmatch(blob)
        if not isinstance(size, int) or size < 0 or not known:
            raise self._nonsense(f"it gives no size or no hash of {path}, so a download could not be checked")
        return RemoteFile(path, size, sha256, "" if sha256 else blob)


def _licence(card: Mapping[str, Any], tags: Any) -> str:
    """Return the licence by the card (several with AND), else by a tag; "" where none is stated."""
    stated = card.get("license")
    if stated == "other" and card.get("license_name"):
        return str(card["license_name"])
    if isinstance(stated, list):
        return " AND ".join(map(str, stated))
    return str(stated) if stated else next((tag[8:] for tag in map(str, tags) if tag.startswith("license:")), "")


def _found(hit: Any) -> SearchHit:
    tags = list(map(str, hit.tags or ()))
    formats = tuple(name for name in ("safetensors", "gguf") if name in tags)
    updated = hit.last_modified.date().isoformat() if hit.last_modified else ""
    task = getattr(hit, "pipeline_tag", None) or ""
    return SearchHit(hit.id, task, _licence({}, tags), hit.downloads or 0, hit.likes or 0, updated, formats)
