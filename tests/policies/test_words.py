"""Words as numbers: the same in every process, whatever the case, and untouched by padding."""

import subprocess
import sys

import torch
from hypothesis import given
from hypothesis import strategies as st

from fleetloop.policies.vocabulary import MAX_WORDS, VOCABULARY, word_ids
from fleetloop.policies.words import Words, padded_ids


def test_every_process_hashes_alike():
    code = "from fleetloop.policies.words import word_ids; print(word_ids('put the milk away'))"
    said = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == str(word_ids("put the milk away"))


def test_the_hash_is_part_of_the_format():
    """Other numbers would make every release that was ever published read other words."""
    assert word_ids("milk") == (387,)


def test_case_and_punctuation_do_not_matter_but_words_do():
    assert word_ids("Put the MILK, please!") == word_ids("put the milk please")
    assert len(set(word_ids("put the milk please"))) == 4


@given(st.text())
def test_ids_are_within_the_vocabulary_and_padding_is_apart(text):
    ids = word_ids(text)
    assert len(ids) <= MAX_WORDS
    assert all(0 < id < VOCABULARY for id in ids)


@given(st.lists(st.text(alphabet="abc ", max_size=30), min_size=1, max_size=5))
def test_a_sentence_means_the_same_beside_longer_ones(texts):
    torch.manual_seed(0)
    words = Words(8)
    together = words(padded_ids(tuple(texts)))
    alone = torch.cat([words(padded_ids((text,))) for text in texts])
    torch.testing.assert_close(together, alone)


def test_nothing_said_is_nothing():
    assert not Words(8)(padded_ids(("", "!"))).any()
