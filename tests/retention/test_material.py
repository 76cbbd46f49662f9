from userllm.retention.material import passages, questions


def test_there_is_enough_text_to_measure_a_perplexity_on():
    words = [len(passage.split()) for passage in passages()]
    assert len(words) >= 12
    assert 1400 <= sum(words) <= 1600


def test_every_question_is_asked_once_and_has_four_different_answers():
    asked = questions()
    assert len(asked) >= 60
    assert len({one.question for one in asked}) == len(asked)
    assert all(len(set(one.options)) == 4 for one in asked)
    assert all(one.question.endswith("?") for one in asked)


def test_the_right_answer_is_not_given_away_by_its_length():
    right = [len(one.answer) for one in questions()]
    wrong = [len(other) for one in questions() for other in one.others]
    assert abs(sum(right) / len(right) - sum(wrong) / len(wrong)) < 1
