from userllm.report.settings import differing_settings, identity


def run_of(*overrides, choices=None, **config):
    return {
        "verb": "contextualize",
        "choices": {"context": "hybrid", "lm": "tiny", **(choices or {})},
        "config": {"seed": 0, **config},
        "overrides": list(overrides),
    }


def test_runs_that_differ_in_their_seed_only_are_the_same_cell():
    one = run_of(seed=0, training={"sampler": {"seed": 0}, "steps": 10})
    other = run_of(seed=1, training={"sampler": {"seed": 1}, "steps": 10})
    assert identity(one) == identity(other)


def test_runs_that_differ_in_a_value_are_different_cells():
    assert identity(run_of(history=10)) != identity(run_of(history=50))


def test_labels_and_places_do_not_make_another_cell():
    one = run_of(name="a", group="x", threads=1, paths={"runs": "a"}, logger={"wandb": None})
    assert identity(one) == identity(run_of())


def test_equal_runs_need_no_settings():
    assert differing_settings([run_of(), run_of()], ["hybrid", "hybrid"]) == ["", ""]


def test_a_choice_that_differs_is_said():
    runs = [run_of(choices={"lm": "tiny"}), run_of(choices={"lm": "smollm2_135m"})]
    assert differing_settings(runs, ["hybrid"] * 2) == ["lm=tiny", "lm=smollm2_135m"]


def test_a_choice_that_one_row_of_a_method_alone_made_is_said():
    runs = [run_of(), run_of(choices={"transitions@encoder.transitions": "counted"})]
    assert differing_settings(runs, ["hybrid"] * 2) == ["", "transitions=counted"]
    assert differing_settings(runs, ["soft_prompt", "hybrid"]) == ["", ""]


def test_a_model_of_several_tasks_stands_apart_from_one_of_the_tables_own():
    runs = [
        run_of(choices={"task": task}, task={"metric": task}) for task in ("next_item", "multi")
    ]
    assert differing_settings(runs, ["hybrid"] * 2) == ["task=next_item", "task=multi"]
    assert differing_settings(runs[:1] * 2, ["hybrid"] * 2) == ["", ""]


def test_the_method_itself_is_no_setting():
    runs = [run_of(choices={"context": "none"}), run_of(choices={"context": "hybrid"})]
    assert differing_settings(runs, ["none", "hybrid"]) == ["", ""]


def test_that_an_encoder_is_trained_in_its_own_way_is_no_setting():
    reader, encoder = (run_of(choices={"training": v}) for v in ("contextualize", "pretrain"))
    encoder["verb"] = "pretrain"
    assert differing_settings([reader, encoder], ["hybrid", "encoder"]) == ["", ""]


def test_values_that_only_follow_another_are_said_once():
    runs = [
        run_of(f"history={n}", history=n, task={"window": n}, context={"events": n})
        for n in (10, 50)
    ]
    assert differing_settings(runs, ["hybrid"] * 2) == ["history=10", "history=50"]


def test_values_of_other_methods_do_not_count_as_differences():
    runs = [
        run_of(choices={"context": "none"}, context={}),
        run_of(choices={"context": "hybrid"}, context={"events": 10}),
    ]
    assert differing_settings(runs, ["none", "hybrid"]) == ["", ""]


def test_a_large_number_is_said_as_it_is_typed():
    runs = [run_of(training={"flops": value}) for value in (1.6e14, 2.5e12, 123456789.0)]
    said = differing_settings(runs, ["hybrid"] * 3)
    assert said == ["flops=1.6e+14", "flops=2.5e+12", "flops=123456789.0"]


def test_keys_that_end_alike_stay_apart():
    runs = [
        run_of(lm={"width": a}, encoder={"width": b}) for a, b in ((1, 8), (2, 8), (2, 9), (3, 7))
    ]
    said = differing_settings(runs, ["hybrid"] * 4)
    assert said[0] == "encoder.width=8, lm.width=1"


def test_a_method_s_name_stands_for_its_context_and_not_for_its_tuning():
    runs = [
        run_of(choices={"method": name, "context": context, "tuning": tuning})
        for name, context, tuning in (
            ("tp", "text_prompt", "full"),
            ("xattn", "cross_attention", "full"),
            ("xattn", "cross_attention", "lora"),
        )
    ]
    said = differing_settings(runs, ["tp", "xattn", "xattn"])
    assert said == ["tuning=full", "tuning=full", "tuning=lora"]


def test_what_sets_runs_of_a_method_apart_is_said_of_all_of_them():
    runs = [
        run_of("training.flops=", choices={"trainer": where}, training={"flops": budget})
        for where, budget in (("cpu", 1e13), ("cpu", 4e13), ("gpu", 4e13))
    ]
    said = differing_settings([*runs, run_of(choices={"trainer": "cpu"})], ["hybrid"] * 3 + ["x"])
    assert said == [
        "trainer=cpu, flops=1e+13",
        "trainer=cpu, flops=4e+13",
        "trainer=gpu, flops=4e+13",
        "trainer=cpu",
    ]
