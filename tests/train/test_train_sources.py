"""Sources: full coverage, exact state, loss masks."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from small import Row

from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, UsageError
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import build_pairs
from seedbed.corpus.questions import read_questions
from seedbed.nn.loss import IGNORE
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer
from seedbed.train.contracts import Feeding
from seedbed.train.settings import TrainSettings
from seedbed.train.sources.chat import ChatSource, ConversationSource, TokenizedConversation, collate, encode
from seedbed.train.sources.packed import Mixture, PackedTokens


@pytest.mark.parametrize(("count", "context", "batch"), [(64, 8, 2), (67, 8, 1), (61, 16, 3)])
def test_an_epoch_predicts_every_token_exactly_once(count: int, context: int, batch: int) -> None:
    source = PackedTokens(Row(range(count)), context, 1, seed=5)
    for _ in range(3):
        seen: Counter[int] = Counter()
        for _ in range(source.windows):
            labels = source.next()["labels"]
            seen.update(labels[labels != IGNORE].tolist())
        assert seen == Counter(range(count))


def test_labels_are_the_next_tokens() -> None:
    batch = PackedTokens(Row(range(100)), 8, 4, seed=1).next()
    counted = batch["labels"] != IGNORE
    assert ((batch["ids"] + 1) % 100)[counted].equal(batch["labels"][counted])


def test_state_goes_on_exactly() -> None:
    first, second = (PackedTokens(Row(range(200)), 8, 4, seed=1) for _ in range(2))
    for _ in range(17):  # past the end of two epochs
        first.next()
    second.load_state_dict(first.state_dict())
    for _ in range(9):
        assert torch.equal(first.next()["ids"], second.next()["ids"])


def test_a_corpus_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match="smaller than one batch") as caught:
        PackedTokens(Row(range(63)), 16, 4, seed=0)
    assert "63" in caught.value.why
    assert "64" in caught.value.why


def test_a_mixture_draws_by_its_shares_and_resumes() -> None:
    def make() -> Mixture:
        parts = [PackedTokens(Row([value] * 100), 10, 1, seed=0) for value in (1, 2)]
        return Mixture(parts, [3, 1], batch=8, seed=4)

    mixture = make()
    firsts = torch.cat([mixture.next()["ids"][:, 0] for _ in range(250)])
    assert float((firsts == 1).float().mean()) == pytest.approx(0.75, abs=0.03)
    again = make()
    again.load_state_dict(mixture.state_dict())
    assert torch.equal(mixture.next()["ids"], again.next()["ids"])


def test_only_the_assistants_tokens_are_labels() -> None:
    rows = [
        TokenizedConversation([1, 2, 3, 4, 5], [False, False, True, True, False]),
        TokenizedConversation([6, 7], [False, True]),
    ]
    batch = collate(rows, context=8, pad=0)
    assert batch["ids"].tolist() == [[1, 2, 3, 4], [6, 0, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORE, 3, 4, IGNORE], [7, IGNORE, IGNORE, IGNORE]]


def test_conversations_without_an_answer_in_the_context_are_left_out() -> None:
    late = TokenizedConversation([1] * 9, [False] * 8 + [True])
    early = TokenizedConversation([1] * 9, [False] * 2 + [True] * 7)
    source = ChatSource([late, early, early], context=6, batch=2, pad=0, seed=0)
    assert (source.left_out, source.shortened) == (1, 2)
    with pytest.raises(DataError, match="fewer conversations"):
        ChatSource([late, late, early], context=6, batch=2, pad=0, seed=0)


def test_chat_epochs_hold_every_conversation_once_and_count_what_is_cut() -> None:
    rows = [
        TokenizedConversation([index, *([1] * (index % 9)), 2], [False] + [True] * (index % 9 + 1))
        for index in range(50)
    ]
    source = ChatSource(rows, context=6, batch=7, pad=0, seed=0)
    assert source.shortened == sum(len(row.ids) > 7 for row in rows)
    for _ in range(2):
        firsts = [int(i) for _ in range(8) for i in source.next()["ids"][:, 0]]
        assert sorted(firsts) == list(range(50))
    other = ChatSource(rows, context=6, batch=7, pad=0, seed=0)
    source.next()
    other.load_state_dict(source.state_dict())
    assert torch.equal(source.next()["ids"], other.next()["ids"])


PICKY = (
    "{% for m in messages %}{% if m.role == 'user' and loop.nextitem and loop.nextitem.role == 'user' %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
)


def test_conversations_that_the_template_refuses_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = train_tokenizer(["a b c d"], TokenizerSettings(kind="byte"))
    tokenizer.chat_template = PICKY
    end = {"role": "assistant", "content": "b"}
    one, two = ([{"role": "user", "content": name}] * count for name, count in (("plain", 1), ("twice", 2)))
    rows = [
        (f"f#{n}", {"messages": [{**turn, "content": f"{turn['content']} {n}"} for turn in asked] + [end]})
        for asked in (one, two, two)
        for n in range(20)
    ]
    stored = build_pairs(rows, Columns(messages="messages"), Library(tmp_path))
    kept, all_rows = encode(stored, "train", tokenizer, "finetune"), list(read_questions(stored, "train"))
    plain = [row for row in all_rows if len(row["messages"]) == 2]
    assert len(kept) == len(plain) < len(all_rows)
    told = capsys.readouterr().err
    assert f"finetune, train: {len(all_rows) - len(plain)} conversations are left out" in told
    assert "Roles must alternate" in told
    only = build_pairs(rows[20:], Columns(messages="messages"), Library(tmp_path))
    with pytest.raises(UsageError, match="template") as caught:
        encode(only, "train", tokenizer)
    assert "Roles must alternate" in caught.value.why


NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
)


def test_a_system_is_learned_from_where_its_template_shows_it(tmp_path: Path) -> None:
    """In the first user's turn, as a request to the model has it."""
    tokenizer = train_tokenizer(["a b c d"], TokenizerSettings(kind="byte"))
    tokenizer.chat_template = NO_SYSTEM
    rows = [(f"f#{n}", {"prompt": f"q {n}", "reply": "b", "system": "Be brief."}) for n in range(20)]
    stored = build_pairs(rows, Columns(prompt="prompt", reply="reply", system="system"), Library(tmp_path))
    texts = {tokenizer.decode(row.ids) for row in encode(stored, "train", tokenizer)}
    asked = [row["messages"][1]["content"] for row in read_questions(stored, "train")]
    assert texts == {f"user: Be brief.\n\n{question}assistant: b" for question in asked}


def test_live_samples_are_asked_with_the_system_before_the_question(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a b c d"], TokenizerSettings(kind="byte"))
    rows = [(f"f#{n}", {"prompt": f"q {n}", "reply": "b", "system": "Be brief."}) for n in range(20)]
    stored = build_pairs(rows, Columns(prompt="prompt", reply="reply", system="system"), Library(tmp_path))
    given = Feeding("finetune", lambda kind: stored, tokenizer, 200, TrainSettings(steps=1, batch=1))
    prompts = ConversationSource(replay=0.0).open(given).prompts
    assert prompts
    assert all([message["role"] for message in prompt] == ["system", "user"] for prompt in prompts)
