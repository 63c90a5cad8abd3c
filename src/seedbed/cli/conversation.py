"""The conversation of `seedbed chat`: its messages, the part that the model sees, and where it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from seedbed.app.ask import say_loop
from seedbed.chat.conversations import ConversationEntry, Conversations
from seedbed.chat.memory import Memory, View, fit_window
from seedbed.chat.messages import Message, Reply
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.summary import Summary, SummaryMemory
from seedbed.chat.tracing import Trace, fan_out, span
from seedbed.cli.common import print_json
from seedbed.cli.draft import draft_view, say_read
from seedbed.cli.run import TimedReply, show
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say, track
from seedbed.core.terminal import echo
from seedbed.inference.parameters import Sampling
from seedbed.rag.answer import stream_answer
from seedbed.rag.collection import Collection
from seedbed.rag.record import Answer, answer_lines

HELP = """\
/help           this list
/reset          forget the conversation; the system message stays
/system TEXT    set the system message and start again; without TEXT, remove it
/save NAME      save the conversation, and go on saving it
/continue NAME  go on with a saved one; /list lists them
/rename NAME    give this one, which is saved, another name
/delete NAME    delete a saved one
/quit           leave (also Ctrl-D)
Ctrl-C stops an answer; the part written so far stays in the conversation."""


@dataclass
class Conversation:
    """The messages so far, and the way to answer the next question.

    Attributes:
        name: empty where it is not saved.
        documents: that answer; None where the model answers alone.
    """

    model: ChatModel
    memory: Memory
    options: ReplyOptions
    sampling: Sampling
    as_json: bool = False
    system: str = ""
    trace: Trace | None = None
    name: str = ""
    documents: Collection | None = None
    entries: list[ConversationEntry] = field(init=False)
    _written: bool = field(default=False, init=False)  # whether anything is saved under its name

    def __post_init__(self) -> None:
        self.reset(self.system)

    @cached_property
    def saved(self) -> Conversations:
        """Open the library's conversations; the file is made when it is needed."""
        return Conversations.of(Library())

    def close(self) -> None:
        """Let go of the file of conversations, if it was opened."""
        if "saved" in self.__dict__:
            self.saved.close()

    def reset(self, system: str) -> None:
        """Start again with that system message, or with none where it is empty."""
        self.entries = [ConversationEntry(Message("system", system))] if system else []
        self._remember(Summary())

    def begin(self, name: str) -> None:
        """Save from the first turn on. Raises UsageError where the name is taken."""
        self.saved.check_free(name)
        self.name, self._written = name, False

    def resume(self, name: str) -> None:
        """Go on with a saved one. Raises NotFoundError where there is none."""
        self.entries = self.saved.read(name)
        self.name, self._written = name, True
        self._remember(self.saved.summary(name))
        say(f"(going on with {name}: {len(self.entries)} messages)")

    def command(self, line: str) -> None:
        """Run a command: a line that begins with a slash."""
        name, _, text = line.partition(" ")
        actions = {"/save": self._save, "/continue": self.resume, "/rename": self._rename, "/delete": self._delete}
        if name == "/reset":
            first = self.entries[0].message if self.entries else None
            self._start_again(first.text if first and first.role == "system" else "")
            say("(the conversation is cleared)")
        elif name == "/system":
            self._start_again(text.strip())
            say("(the system message is set; the conversation starts again)")
        elif name == "/list":
            say(", ".join(one.name for one in self.saved.all()) or "(none is saved)")
        elif name in actions:
            actions[name](text.strip())
        else:
            say(HELP if name == "/help" else f"there is no command {name}\n{HELP}")

    def turn(self, question: str) -> None:
        """Ask, print the answer, save both where that is wanted, and remember them.

        Raises:
            CapacityError: the question alone does not fit in the window; it is not remembered.
            SeedbedError: the model does not answer, or the turn cannot be saved.
        """
        asked = ConversationEntry(Message("user", question))
        messages = [entry.message for entry in (*self.entries, asked)]
        with span(self.trace, "chain", "chat", conversation=self.name) as work:
            if self.documents is not None:
                reply = self._from_documents(question, messages[:-1], self.documents)
            else:
                view = self.memory.view(messages, self.model, self.trace)
                shown = fit_window(view.messages, self.model, self.sampling.max_tokens).messages
                kept = set(map(id, shown))
                left_out = sum(id(one) not in kept for one in messages)
                work.data["messages_left_out"] = left_out
                self._say_left_out(left_out, view)
                reply = self._answer(shown, left_out)
        answered = ConversationEntry(reply.message, reply.model, reply.usage)
        self._keep([asked, answered])
        self.entries += [asked, answered]

    def _say_left_out(self, count: int, view: View) -> None:
        if not count:
            return
        if count > view.left_out:
            why = f"no longer fit in the window of {self.model.context_window} tokens and were left out"
        else:
            why = "are summarized" if view.summary else "were left out"
        say(f"(the oldest {count} messages {why})")

    def _answer(self, messages: Sequence[Message], left_out: int) -> Reply:
        """Print an answer: as it comes, where Ctrl-C ends it early, or as JSON."""
        answer, options = TimedReply(), self.options.copy()
        options["trace"] = self.trace
        with closing(answer.read(self.model.stream(messages, **options))) as pieces:
            if self.as_json:
                for _ in track(pieces, "answering", self.sampling.max_tokens, "pieces"):
                    pass
            else:
                try:
                    show(pieces)
                except KeyboardInterrupt:
                    say("(stopped)")
        whole = answer.pieces[-1].reply if answer.pieces else None
        reply = whole.trimmed() if whole else None  # what the model sees again would make it go on
        if self.as_json and reply:
            print_json(_report(answer, reply) | {"seed": self.sampling.seed, "messages_left_out": left_out})
        if reply and reply.repetition:
            say(f"({reply.repetition}; the conversation keeps the first)")
        return reply or Reply(answer.text, model=self.model.name)

    def _from_documents(self, question: str, history: Sequence[Message], documents: Collection) -> Reply:
        """Answer from documents and print it; of the conversation before it a follow-up is understood.

        Ctrl-C ends the answer with the quotation.
        """
        answer: Answer | None = None
        with draft_view(shown=not self.as_json) as watch:
            options = self.options.copy()
            options["max_tokens"], options["trace"] = self.sampling.max_tokens, fan_out(self.trace, say_loop)
            options["logprobs"] = False  # an answer from documents has none
            parts = stream_answer(
                question,
                documents.search,
                self.model,
                embedder=documents.sentence_embedder,
                standing=documents.standing,
                history=history,
                **options,
            )
            with closing(parts), suppress(KeyboardInterrupt):
                for part in parts:
                    answer = part.answer or part.found or answer
                    watch(part)
        if answer is None:
            return Reply("", model=self.model.name)
        if self.as_json:
            print_json(answer.to_json())
        else:
            echo("\n".join(answer_lines(answer)))
        say_read(answer)
        return Reply(answer.text, usage=answer.usage, model=answer.model)

    def _keep(self, turn: Sequence[ConversationEntry]) -> None:
        """Save a turn; the first one with what stands before it."""
        if not self.name:
            return
        if self._written:
            self.saved.append(self.name, turn)
        else:
            self.saved.create(self.name, [*self.entries, *turn])
            self._written = True
        if isinstance(self.memory, SummaryMemory):
            self.saved.keep_summary(self.name, self.memory.summary)

    def _save(self, name: str) -> None:
        self.saved.create(name, self.entries)
        self.name, self._written = name, True
        say(f"(saved as {name}; further turns are saved too)")

    def _rename(self, name: str) -> None:
        if not self._written:
            raise UsageError("this conversation is not saved", why="only a saved one has a name", fix="/save NAME")
        self.saved.rename(self.name, name)
        self.name = name
        say(f"(renamed to {name})")

    def _delete(self, name: str) -> None:
        self.saved.delete(name)
        if name == self.name:
            self.name, self._written = "", False
        say(f"({name} is deleted)")

    def _start_again(self, system: str) -> None:
        """Begin another conversation; the saved one stays as it is."""
        if self.name:
            say(f"({self.name} stays saved; further turns are not: /save NAME saves them)")
        self.name, self._written = "", False
        self.reset(system)

    def _remember(self, summary: Summary) -> None:
        if isinstance(self.memory, SummaryMemory):
            self.memory = replace(self.memory, summary=summary)


def _report(answer: TimedReply, reply: Reply) -> dict[str, object]:
    return {
        "model": reply.model,
        "text": reply.text,
        "finish": reply.finish,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
        "logprobs": reply.logprobs,
        "repetition": reply.repetition and reply.repetition.to_wire(),
        **answer.times(reply.usage.completion_tokens),
    }
