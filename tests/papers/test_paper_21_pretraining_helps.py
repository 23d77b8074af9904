"""Paper 21, pre-training: at few labels the error falls with unlabelled examples, and beats labels alone."""

from tests.papers.examples import example


def test_unlabelled_examples_help():
    found = example("pretrain_helps").main(seeds=4)
    assert found[1000] < found[50] < found[0]
    assert found[1000] < 0.5 * found[0]
